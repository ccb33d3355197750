"""Token healing: the prompt's last token gives way to its likeliest extension."""

from types import SimpleNamespace

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.generation.token_healing import heal_prompt, heal_prompts


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)


class Chooses:
    """In the model's place: takes the token of these bytes, and remembers what it was asked."""

    def __init__(self, tokenizer, chosen):
        (self.chosen,) = [t for t, text in tokenizer.vocabulary_bytes.items() if text == chosen]
        self.calls = []

    def __call__(self, ids, bias):
        self.calls.append((ids, bias))
        return self.chosen


def healed_text(tokenizer, text, chosen):
    return tokenizer.decode(
        heal_prompt(tokenizer.encode(text), tokenizer, Chooses(tokenizer, chosen))
    )


def never(ids, bias):
    raise AssertionError("there is nothing to choose from")


def test_the_tail_is_chosen_anew_among_the_tokens_that_begin_with_it(tokenizer):
    model = Chooses(tokenizer, b"vers")
    ids = tokenizer.encode("It is a truth univer")
    assert tokenizer.decode(ids[-1:]) == "ver"
    healed = heal_prompt(ids, tokenizer, model)
    assert tokenizer.decode(healed) == "It is a truth univers"
    assert healed[:-1] == ids[:-1]
    ((context, bias),) = model.calls
    assert context == ids[:-1]
    texts = {tokenizer.decode(token): value for token, value in bias.items()}
    assert texts == {
        "ver": 11.0, "vers": 10.0, "versation": 10.0, "very": 10.0, "vering": 10.0, "vere": 10.0,
    }  # fmt: skip


def test_a_tail_with_a_space_in_front_is_extended_too(tokenizer):
    assert healed_text(tokenizer, "I do not th", b" think") == "I do not think"


def test_the_tail_itself_may_win(tokenizer):
    ids = tokenizer.encode("I do not th")
    assert heal_prompt(ids, tokenizer, Chooses(tokenizer, b" th")) == ids


def test_text_of_the_prompt_is_never_lost(tokenizer):
    """A model that finds something else much likelier does not get its way."""
    ids = tokenizer.encode("I do not th")
    model = Chooses(tokenizer, b" know")
    assert heal_prompt(ids, tokenizer, model) == ids
    assert len(model.calls) == 1


def test_a_tail_that_begins_within_a_character_is_extended():
    pieces = {0: b"a", 1: b"\xe2\x82", 2: b"\xac", 3: b"\xac.", 4: b"\xad"}
    tokenizer = SimpleNamespace(
        vocabulary_bytes=pieces,
        token_bytes=pieces.__getitem__,
        special_token_ids=frozenset(),
        decode=lambda ids, skip_special_tokens: "a€",
        encode=lambda text: [0, 1, 2],
    )
    asked = []
    healed = heal_prompt([0, 1, 2], tokenizer, lambda *call: asked.append(call) or 3)
    assert healed == [0, 1, 3]
    assert asked == [([0, 1], {(2,): 11.0, (3,): 10.0})]


def test_a_tail_without_extensions_stays(tokenizer):
    ids = tokenizer.encode("a conversation")
    assert [t for t in tokenizer.vocabulary_bytes.values() if t.startswith(b" conversation")] == [
        b" conversation"
    ]
    assert heal_prompt(ids, tokenizer, never) == ids


def test_white_space_at_both_ends_and_special_tokens_are_dropped(tokenizer):
    expected = heal_prompt(tokenizer.encode("She was"), tokenizer, Chooses(tokenizer, b" was"))
    assert expected == tokenizer.encode("She was")
    for text in ("She was ", "\n\nShe was\n", "<|endoftext|>She was", " She<|endoftext|> was "):
        model = Chooses(tokenizer, b" was")
        assert heal_prompt(tokenizer.encode(text), tokenizer, model) == expected


@pytest.mark.parametrize("text", ["", " \n", "<|endoftext|>"])
def test_a_prompt_without_text_is_empty(tokenizer, text):
    assert heal_prompt(tokenizer.encode(text), tokenizer, never) == []


def test_a_single_token_has_no_context_and_stays(tokenizer):
    ids = tokenizer.encode("e")
    assert len(ids) == 1
    assert heal_prompt(ids, tokenizer, never) == ids


def test_a_special_token_extends_no_text(tokenizer):
    ids = tokenizer.encode("a <")
    assert tokenizer.decode(ids[-1:]) == "<"
    assert heal_prompt(ids, tokenizer, never) == ids


def test_the_embedded_model_finds_its_words_again(tokenizer, embedded_export):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    prompts = ["It is a truth univer", "said Mr. Dar", "I am sorr"]
    healed = heal_prompts(model.engine, [tokenizer.encode(text) for text in prompts], tokenizer)
    assert [tokenizer.decode(ids) for ids in healed] == [
        "It is a truth univers",
        "said Mr. Dar",
        "I am sorry",
    ]


def test_the_models_own_config_does_not_reach_into_it(tokenizer, embedded_export):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    model.generation_config = model.generation_config.updated(
        return_dict_in_generate=True, token_healing=True, stop_strings=["."], num_beams=2
    )
    tokenizer.pad_token = tokenizer.eos_token
    texts = ["It is a truth univer", "I am sorr"]
    inputs = tokenizer(texts, padding=True, padding_side="left", return_tensors="np")
    result = model.generate(**inputs, max_new_tokens=1, tokenizer=tokenizer)
    assert tokenizer.decode(result.sequences[0], True).startswith("It is a truth univers")
    assert tokenizer.decode(result.sequences[1], True).startswith("I am sorry")
