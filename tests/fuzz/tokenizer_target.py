"""tokenizer.json: reading it, encoding texts with it, and decoding ids."""

import copy
import json
import random as random_module
from pathlib import Path

import tokenizers
from fuzzing import Target, mutate_json
from small_tokenizers import LISTS, PARTS, WORD_PATTERN, every_part, sequence

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import Tokenizer

TEXTS = [
    "The cat sat.  It's 12,345 o'clock\r\n\n\tcafé!",
    "é\u0301\u00a0\ufdfa\u1e9b \U0001f469\u200d\U0001f4bb 中文 \u202e x<|end|>xx ##",
    " " * 700,
    "a" * 900,
    "a b. " * 400,
    "",
]
_CONTENTS = ("", "a", ".", "xx", "." * 70, "." * 1000, "$0$0", "\ufdfa", "é" * 20)
_PIECES = (".", "a", "b", r"\s", r"\w", r"\p{L}", "[^a]", "(?:a|b)", "(?:a|aa)", " ", "(?=a)", "x")
_TIMES = ("", "", "*", "+", "?", "{2,5}", "*?", "++", "{300}")


def seeds() -> list[bytes]:
    gpt2 = Path(__file__).parent.parent / "gpt2_tokenizer"
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE.from_file(str(gpt2 / "vocab.json"), str(gpt2 / "merges.txt"))
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    embedded = (EMBEDDED_CHECKPOINT / "tokenizer.json").read_bytes()
    small = [json.dumps(each).encode() for each in every_part()]
    # Most inputs are small, so that most of what is drawn changes a part, and not a vocabulary.
    return [embedded, made.to_str().encode(), *small]


def run(data: bytes, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(data)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    tokenizer = Tokenizer.from_pretrained(folder)
    for text in TEXTS:
        tokenizer.decode(tokenizer.encode(text))
    tokenizer(TEXTS[0], TEXTS[1], max_length=9, truncation=True)
    tokenizer.decode([*range(70), 2**31], skip_special_tokens=True)


def _pattern(random: random_module.Random) -> str:
    pieces = (random.choice(_PIECES) + random.choice(_TIMES) for _ in range(random.randint(1, 4)))
    text = "".join(pieces)
    return random.choice((text, f"({text}){random.choice(_TIMES)}x", WORD_PATTERN, "^", ""))


def mutate(random: random_module.Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change a document as any other, or its parts: other ones, several, and other patterns."""
    if random.random() < 0.4:
        return mutate_json(random, data, seeds)
    try:
        document = json.loads(data)
        assert isinstance(document, dict)
    except (ValueError, AssertionError):
        return mutate_json(random, data, seeds)
    for _ in range(random.randint(1, 3)):
        kind = random.choice([*PARTS])
        parts = [copy.deepcopy(random.choice(PARTS[kind])) for _ in range(random.choice((1, 2, 8)))]
        for part in parts:
            if "pattern" in part:
                part["pattern"] = {random.choice(("String", "Regex")): _pattern(random)}
            if "content" in part:
                part["content"] = random.choice(_CONTENTS)
        document[kind] = sequence(kind, parts) if kind in LISTS and len(parts) > 1 else parts[0]
    changed = json.dumps(document).encode()
    return mutate_json(random, changed, seeds) if random.random() < 0.3 else changed


TARGET = Target(seeds, run, mutate)
