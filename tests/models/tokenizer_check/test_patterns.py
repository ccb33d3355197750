"""Regular expressions: those of real tokenizers are accepted, those that may take long are not."""

import random as random_module

import pytest
import tokenizers
from small_tokenizers import WORD_PATTERN

from gptneo_onnx.models.tokenizer_check.pattern_cost import check_pattern
from gptneo_onnx.models.tokenizer_check.pattern_parser import PatternError

# As they are in tokenizer.json files of GPT-2 and its kin, and of others that people train with.
REAL = [
    WORD_PATTERN,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{M}&&[^\p{Han}]]+(?i:'s|'t)?|[\p{Han}]+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"(?=(\d{3})+(?!\d))",
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))",
    r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
    r"[[:punct:]]|[[:space:]]+",
    r"(?<=\d)(?=\d)",
    r"\w+('\w+)?|[^\w\s]+",
    r"(?:\r?\n)+ ?",
    r"(.)\1{2,}",
    r"^\s+|\s+$",
    r"https?://\S+",
    r"[\u0300-\u036f]",
    r"\x{1F600}|\p{^L}",
    r"(?i)hello",
    "[一-龥ࠀ-一가-퟿]+",
    " {2,}",
    "{",
    "",
]
LONG = [
    ("(a+)+b", "a repetition within a repetition"),
    ("(a|a)*b", "a repetition within a repetition"),
    ("(a|ab)*c", "a repetition within a repetition"),
    (r"(\p{L}+\s?)*$", "a repetition within a repetition"),
    ("(a{1,9})+b", "a repetition within a repetition"),
    ("(?=(a+)+b)", "a repetition within a repetition"),
    (r"\s*\s*$", "repetitions that take the same characters"),
    (".*.*=.*", "repetitions that take the same characters"),
    (r"[ab]+?\w++c", "repetitions that take the same characters"),
    ("a+(?=.*b)", "repetitions that take the same characters"),
    (r"(\w+)\s+\1", "repetitions that take the same characters"),
    ("a*?a{3000}b", "repetitions that take the same characters"),
    ("a?" * 30 + "a" * 30, "more than 64 ways to match one text"),
    ("(a|b)" * 10 + "c", "more than 500 alternatives"),
]
UNKNOWN = [
    (r"(?<n>a)\g<n>", r"the escape \\g"),
    (r"\Xa", r"the escape \\X"),
    ("(?~a)", "the group"),
    ("(?(1)a|b)", "the group"),
    ("(?x)a b", "the flag x"),
    ("a*(?i)b", "flags in the middle"),
    ("(*FAIL)", "a callout"),
    ("(" * 40 + ")" * 40, "groups nested too deeply"),
    ("[" * 40 + "a" + "]" * 40, "sets nested too deeply"),
    ("a" * 10_001, "10001 characters; at most 10000 are read"),
    ("[a", "ends too early"),
    ("(a", "an opening bracket without a closing one"),
    ("a)", "a closing bracket without an opening one"),
    ("*a", "a repetition of nothing"),
    ("a{3,2}", "the repetition"),
    ("^*", "a repetition of a place"),
    (r"\x{110000}", "the character"),
]


@pytest.mark.parametrize("pattern", REAL)
def test_what_real_tokenizers_have_is_accepted(pattern: str) -> None:
    check_pattern(pattern)
    tokenizers.Regex(pattern)


@pytest.mark.parametrize(("pattern", "reason"), [*LONG, *UNKNOWN])
def test_what_may_take_long_or_is_not_understood_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "least"), [("ab?c", 2), ("a|bc", 1), ("(?:ab){3}", 6), ("(?=a)b*", 0), ("x{,3}", 0)]
)
def test_the_least_length_of_a_match(pattern: str, least: int) -> None:
    assert check_pattern(pattern).least == least


def drawn_pattern(random: random_module.Random, depth: int = 3) -> str:
    """Draw a pattern over a few letters, in which much is ambiguous."""
    times = random.choice(("", "", "*", "+", "?", "{1,3}", "*?", "+?", "++", "{2}", "{0,20}"))
    kind = random.random()
    if depth == 0 or kind < 0.45:
        letters = ("a", "b", "[ab]", "[^a]", ".", r"\s", r"\w", r"\p{L}", "(?:a|b)", "c", "[a-c]")
        return random.choice(letters) + times
    first, second = (drawn_pattern(random, depth - 1) for _ in range(2))
    forms = (f"(?:{first}){times}", first + second, f"(?:{first}|{second}){times}",
             f"(?={first})", f"(?!{first})", f"(?>{first}){times}")  # fmt: skip
    return random.choice(forms)


def test_no_accepted_pattern_backtracks_for_long() -> None:
    """Against the engine itself, which panics after ten million tries at one place."""
    random, accepted = random_module.Random(5), 0
    texts = ["a" * 1000, "ab" * 500, "aab" * 300, "a b " * 250, "b" * 1000]
    for _ in range(300):
        pattern = "".join(drawn_pattern(random) for _ in range(random.randint(1, 4)))
        pattern += random.choice(("", "x", "$", "(?!a)"))
        try:
            check_pattern(pattern)
        except PatternError:
            continue
        try:
            split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        except Exception:  # bare: the engine does not take a repetition of a place, for one
            continue
        accepted += 1
        for text in texts:
            assert split.pre_tokenize_str(text)
    assert accepted > 60
