"""Token healing against transformers' GenerationMixin.heal_tokens, where that one works."""

import pytest

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.generation.token_healing import heal_prompts

TEXT = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife. However little known the feelings or views of such a man may be."
)


@pytest.fixture(scope="module")
def peer_tokenizer():
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    tokenizer.pad_token = tokenizer.eos_token  # without one heal_tokens refuses to work
    return tokenizer


@pytest.fixture
def healers(embedded_export, transformers_model, peer_tokenizer):
    """Return our tokenizer, and two functions from a prompt to its healed ids: ours and theirs."""
    original = transformers_model(EMBEDDED_CHECKPOINT)
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    tokenizer = Tokenizer.from_pretrained(embedded_export)

    def ours(prompt):
        return heal_prompts(model.engine, [tokenizer.encode(prompt)], tokenizer)[0]

    def theirs(prompt):
        ids = peer_tokenizer(prompt, return_tensors="pt").input_ids
        return original.heal_tokens(ids, peer_tokenizer)[0].tolist()

    return tokenizer, ours, theirs


def test_every_beginning_of_a_text(healers):
    tokenizer, heal, peer_heal = healers
    healed = spaced = 0
    for length in range(1, len(TEXT) + 1):
        prompt = tokenizer.encode(TEXT[:length].strip())
        ours, theirs = heal(TEXT[:length]), peer_heal(TEXT[:length])
        tail = tokenizer.token_bytes(prompt[-1])
        assert ours[:-1] == prompt[:-1]
        assert tokenizer.token_bytes(ours[-1]).startswith(tail)
        if tail.startswith(b" "):
            # transformers looks for "<th" in place of "Ġth", and never heals such a tail.
            assert theirs == prompt
            spaced += ours != prompt
        else:
            assert ours == theirs
            healed += ours != prompt
    assert healed > 20
    assert spaced > 10


def test_transformers_may_replace_text_of_the_prompt_and_ours_does_not(healers):
    tokenizer, heal, peer_heal = healers
    prompt = "It is a truth universally acknowledged, thatqk"
    assert tokenizer.decode(peer_heal(prompt)) == (
        "It is a truth universally acknowledged, thatqual"
    )
    assert tokenizer.decode(heal(prompt)) == prompt
