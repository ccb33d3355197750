"""Writing a text in turns gives the same text as all at once, and only new tokens are prefilled."""

import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.cli.conversation import Conversation, check_call
from gptneo_onnx.runtime.engine.decoder import Decoder


@pytest.fixture(scope="module")
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export)


@pytest.fixture(scope="module")
def tokenizer(embedded_export):
    return Tokenizer.from_pretrained(embedded_export)


@pytest.fixture
def conversation(model, tokenizer):
    return Conversation(model, tokenizer, GenerationConfig(max_new_tokens=12))


@pytest.fixture
def prefilled(monkeypatch):
    """The number of tokens of each prefill."""
    counts = []
    original = Decoder.prefill

    def counted(decoder, slot, ids, *arguments):
        counts.append(len(ids))
        return original(decoder, slot, ids, *arguments)

    monkeypatch.setattr(Decoder, "prefill", counted)
    return counts


def said(conversation, *lines):
    written = []
    for line in lines:
        conversation.turn(line, written.append)
    return "".join(written)


def test_turns_make_one_text_and_only_new_tokens_are_prefilled(
    conversation, model, tokenizer, prefilled
):
    text = said(conversation, "She was", "very fond of", "", "him")
    ids = conversation.ids
    new = [len(tokenizer.encode(line)) for line in ("She was", "\nvery fond of", "", "\nhim")]
    # Each turn but the first also takes the token that the turn before it ended with.
    assert prefilled == [new[0], 1 + new[1], 1, 1 + new[3]]

    written = tokenizer.encode("She was")
    for line in ("\nvery fond of", "", "\nhim", None):
        written = model.generate([written], max_new_tokens=12, eos_token_id=None)[0].tolist()
        written += [] if line is None else tokenizer.encode(line)
    assert ids == written
    assert text.count("\n") >= 4


def test_a_long_text_past_the_window(conversation, model, tokenizer, prefilled):
    conversation.config = conversation.config.updated(max_new_tokens=80)
    said(conversation, "She was", "", "", "")
    whole = model.generate(
        tokenizer("She was", return_tensors="np")["input_ids"],
        max_new_tokens=320,
        eos_token_id=None,
    )
    assert conversation.ids == whole[0].tolist()
    assert prefilled[1:4] == [1, 1, 1]


def test_what_was_written_before_an_interruption_stays(conversation, prefilled):
    class InterruptionError(Exception):
        pass

    pieces = []

    def write(text):
        pieces.append(text)
        if len(pieces) == 5:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        conversation.turn("She was", write)
    assert conversation.tokenizer.decode(conversation.ids) == "She was" + "".join(pieces[:5])
    said(conversation, "and")


def test_an_end_token_does_not_end_the_text(model, tokenizer):
    conversation = Conversation(
        model, tokenizer, GenerationConfig(max_new_tokens=5, forced_eos_token_id=0)
    )
    said(conversation, "She", "and")
    assert tokenizer.eos_token_id == 0
    assert 0 not in conversation.ids


def test_the_context_ends_the_text(conversation):
    conversation.config = conversation.config.updated(max_new_tokens=1000)
    said(conversation, "She was")
    assert len(conversation.ids) == 512
    with pytest.raises(InputError, match="tokens and fills the model's context of 512; /reset beg"):
        said(conversation, "and")


def test_the_first_line_may_not_be_empty(conversation):
    with pytest.raises(InputError, match="the text is still empty; type how it begins"):
        said(conversation, "")


def test_max_length_bounds_the_whole_text(model, tokenizer):
    conversation = Conversation(model, tokenizer, GenerationConfig(max_length=21))
    said(conversation, "She was")
    assert len(conversation.ids) == 21
    with pytest.raises(InputError, match="has 21 tokens and fills max_length, 21; /reset begins"):
        conversation.turn("", print)


def test_a_model_whose_config_asks_for_beams_writes_a_single_text(model, tokenizer):
    config = GenerationConfig(
        max_new_tokens=12, num_beams=4, num_beam_groups=2, diversity_penalty=1.0
    )
    plain = Conversation(model, tokenizer, GenerationConfig(max_new_tokens=12))
    assert said(Conversation(model, tokenizer, config), "She was") == said(plain, "She was")


class TestTakingBack:
    def test_the_last_turns(self, conversation):
        said(conversation, "She was")
        first = conversation.ids
        said(conversation, "very fond of", "")
        conversation.undo()
        conversation.undo()
        assert conversation.ids == first
        conversation.undo()
        assert conversation.ids == []
        with pytest.raises(InputError, match="there is nothing to take back"):
            conversation.undo()

    def test_what_replaced_the_text(self, conversation):
        said(conversation, "She was")
        first = conversation.text
        conversation.load("Emma")
        assert conversation.text == "Emma"
        conversation.clear()
        conversation.undo()
        assert conversation.text == "Emma"
        conversation.undo()
        assert conversation.text == first

    def test_a_turn_that_a_setting_refuses(self, conversation):
        said(conversation, "She was")
        first = conversation.ids
        conversation.configure(conversation.config.updated(stop_strings=""), {})
        with pytest.raises(InputError, match="stop_strings"):
            said(conversation, "and")
        assert conversation.ids == first


class TestWritingAgain:
    def test_the_same_seed_gives_the_same(self, model, tokenizer):
        config = GenerationConfig(max_new_tokens=12, do_sample=True, seed=4)
        conversation = Conversation(model, tokenizer, config)
        said(conversation, "She was", "and")
        ids, written = conversation.ids, []
        conversation.retry(written.append)
        assert conversation.ids == ids
        assert conversation.text.endswith("".join(written).removesuffix("\n"))

    def test_another_seed_gives_another_text_of_the_same_beginning(self, model, tokenizer):
        config = GenerationConfig(max_new_tokens=12, do_sample=True, seed=4)
        conversation = Conversation(model, tokenizer, config)
        said(conversation, "She was")
        ids = conversation.ids
        conversation.configure(config.updated(seed=5), {})
        conversation.retry(print)
        assert conversation.ids != ids
        assert conversation.text.startswith("She was")
        conversation.undo()
        assert conversation.ids == []

    def test_only_what_was_written(self, conversation):
        with pytest.raises(InputError, match="has written nothing that could be written again"):
            conversation.retry(print)
        conversation.load("Emma")
        with pytest.raises(InputError, match="has written nothing that could be written again"):
            conversation.check_retry()


def test_a_text_that_cannot_be_loaded(conversation):
    with pytest.raises(InputError, match="the text to load is empty"):
        conversation.load("")
    with pytest.raises(InputError, match="fills the model's context of 512"):
        conversation.load("She was very fond of him. " * 200)
    assert conversation.ids == []


def test_what_generate_refuses_is_known_before_a_turn(model, tokenizer):
    with pytest.raises(InputError, match="temperature is -1; a number above 0 is allowed"):
        check_call(model, tokenizer, GenerationConfig(do_sample=True, temperature=-1), {})
    check_call(model, tokenizer, GenerationConfig(num_beams=4, max_new_tokens=10_000), {})
