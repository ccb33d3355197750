"""Assisted decoding: the result of plain decoding, by fewer steps."""

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, GPTNeoModel, Tokenizer
from gptneo_onnx.runtime.engine.fused_decoder import FusedDecoder
from gptneo_onnx.runtime.generation.strategies.candidates import AdaptiveLength, PromptLookup

VOCAB = 301
LOOKUP = {"prompt_lookup_num_tokens": 5}


@pytest.fixture(params=[1, 2, 5, 64], ids=lambda window: f"window {window}")
def model(request, export_shape):
    shape = Shape(
        layers=("global", "local"), window_size=request.param, max_position_embeddings=128
    )
    return GPTNeoForCausalLM.from_pretrained(export_shape(shape))


@pytest.fixture
def draft(tmp_path, random):
    shape = Shape(layers=("local",), window_size=4, max_position_embeddings=100)
    checkpoint = write_checkpoint(tmp_path / "draft", shape, random)
    return GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, tmp_path / "drafting"))


@pytest.fixture
def twin(model, tmp_path):
    """The model again: it guesses everything."""
    return GPTNeoForCausalLM.from_pretrained(tmp_path / "export")


WAYS = [
    {},
    {"do_sample": True, "seed": 5, "top_k": 4},
    {"do_sample": True, "seed": 6, "top_k": 0, "temperature": 1.5},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
    {"do_sample": True, "seed": 7, "watermarking_config": {"ngram_len": 3, "keys": [5, 9]}},
    {"eos_token_id": list(range(40)), "min_new_tokens": 9},
]


@pytest.mark.parametrize("arguments", WAYS, ids=str)
@pytest.mark.parametrize("help_by", ["the text", "a draft model", "a twin"])
def test_not_a_token_is_different(model, draft, twin, random, arguments, help_by):
    assistance = {
        "the text": LOOKUP,
        "a draft model": {"assistant_model": draft, "assistant_confidence_threshold": 0.0},
        "a twin": {"assistant_model": twin},
    }[help_by]
    prompts = random.integers(0, VOCAB, (3, 6))
    prompts[:, 3:] = prompts[:, :3]  # something to look up
    arguments = {"max_new_tokens": 60, "eos_token_id": None, **arguments}
    plain = model.generate(prompts, **arguments)
    assert model.generate(prompts, **arguments, **assistance).tolist() == plain.tolist()


def count_steps(monkeypatch):
    steps = []
    for name in ("verify", "decode"):
        original = getattr(FusedDecoder, name)

        def counted(decoder, *arguments, _name=name, _original=original):
            steps.append((decoder, _name))
            return _original(decoder, *arguments)

        monkeypatch.setattr(FusedDecoder, name, counted)
    return steps


def test_a_twin_saves_most_steps(embedded_export, monkeypatch):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    twin = GPTNeoForCausalLM.from_pretrained(embedded_export)
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    ids = tokenizer("She was", return_tensors="np").input_ids
    steps = count_steps(monkeypatch)
    for arguments in ({}, {"do_sample": True, "seed": 1}):
        steps.clear()
        model.generate(
            ids,
            max_new_tokens=120,
            eos_token_id=None,
            assistant_model=twin,
            assistant_confidence_threshold=0.0,
            **arguments,
        )
        own = [name for decoder, name in steps if decoder is model.engine.decoder(1)]
        assert len(own) <= 120 / 3  # a draft step costs as much as one of the model's
        assert "decode" not in own


def test_repetition_is_looked_up(embedded_export, monkeypatch):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export)
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    ids = tokenizer("It is a truth universally", return_tensors="np")["input_ids"]
    arguments = {"max_new_tokens": 200, "eos_token_id": None}  # greedy text repeats itself
    plain = model.generate(ids, **arguments)
    steps = count_steps(monkeypatch)
    assisted = model.generate(ids, **arguments, prompt_lookup_num_tokens=10)
    assert assisted.tolist() == plain.tolist()
    assert len(steps) < 120


class TestPromptLookup:
    def propose(self, text, most=4, **config):
        lookup = PromptLookup(GenerationConfig(prompt_lookup_num_tokens=9, **config))
        return lookup.propose(np.array(text), most)

    def test_what_followed_the_last_tokens_before(self):
        assert self.propose([1, 2, 3, 4, 5, 1, 2], most=2) == [3, 4]

    def test_the_longest_run_counts_and_of_these_the_latest(self):
        assert self.propose([7, 1, 8, 9, 1, 5, 7, 1], most=1) == [8]
        assert self.propose([7, 1, 8, 7, 1, 9, 7, 1], most=1) == [9]

    def test_a_repetition_goes_on_with_itself(self):
        assert self.propose([1, 2, 1, 2, 1], most=5) == [2, 1, 2, 1, 2]

    def test_nothing_where_nothing_recurs(self):
        assert self.propose([1, 2, 3]) == []
        assert self.propose([1]) == []

    def test_it_ends_before_an_end_token(self):
        assert self.propose([1, 2, 3, 0, 4, 1, 2], eos_token_id=0) == [3]

    def test_a_longer_run_can_be_asked_for(self):
        text = [1, 2, 3, 8, 9, 2, 3, 7, 1, 2, 3]
        assert self.propose(text, most=1, max_matching_ngram_size=3) == [8]
        assert self.propose(text, most=1) == [7]

    def test_a_growing_text_is_indexed_as_a_whole_one_is(self, random):
        text = random.integers(0, 4, 60).tolist()
        growing = PromptLookup(GenerationConfig(prompt_lookup_num_tokens=5))
        for length in range(1, 60):
            found = growing.propose(np.array(text[:length]), 5)
            assert found == self.propose(text[:length], most=5)


class TestPace:
    def test_it_grows_with_success_up_to_the_most(self):
        pace = AdaptiveLength(8)
        pace.learn(8, 1)
        assert pace.next_length() == 3
        pace.learn(3, 3)
        assert pace.next_length() == 6
        pace.learn(6, 6)
        assert pace.next_length() == 8

    def test_it_pauses_longer_and_longer_after_failures(self):
        pace = AdaptiveLength(8)
        pauses = []
        for _ in range(7):
            waited = 0
            while not (length := pace.next_length()):
                waited += 1
            pauses.append(waited)
            pace.learn(length, 0)
        assert pauses == [0, 1, 3, 7, 15, 16, 16]

    def test_a_success_ends_the_pauses(self):
        pace = AdaptiveLength(8)
        for _ in range(5):
            pace.learn(2, 0)
        pace.learn(2, 1)
        assert pace.next_length() == 3


def test_the_model_itself_as_its_assistant_changes_no_token(model):
    alone = model.generate([[1, 2, 3]], max_new_tokens=9)
    assert np.array_equal(
        model.generate([[1, 2, 3]], max_new_tokens=9, assistant_model=model), alone
    )


class TestRefusals:
    def test_another_vocabulary(self, model, embedded_export):
        other = GPTNeoForCausalLM.from_pretrained(embedded_export)
        with pytest.raises(InputError, match="vocabulary of 4096 tokens and the model one of 301"):
            model.generate([[1]], assistant_model=other)

    def test_a_model_without_a_head(self, model):
        with pytest.raises(InputError, match="is a GPTNeoModel, which gives no logits"):
            model.generate([[1]], assistant_model=GPTNeoModel(model))

    def test_both_kinds(self, model, draft):
        with pytest.raises(InputError, match="exclude each other; pass one of them"):
            model.generate([[1]], assistant_model=draft, **LOOKUP)

    @pytest.mark.parametrize(
        "arguments",
        [{"num_return_sequences": 2, "do_sample": True}, {"guidance_scale": 2}],
        ids=str,
    )
    def test_what_it_does_not_go_with(self, model, arguments):
        with pytest.raises(InputError, match=f"{next(iter(arguments))} is 2; with assistant_model"):
            model.generate([[1]], **LOOKUP, **arguments)

    def test_beams_are_not_looked_up(self, model):
        beams = {"num_beams": 2, "max_new_tokens": 9}
        expected = model.generate([[1]], **beams).tolist()
        assert model.generate([[1]], **LOOKUP, **beams).tolist() == expected

    def test_a_draft_model_at_work_elsewhere(self, model, draft):
        class Nested:
            def put(self, ids):
                model.generate([[1]], assistant_model=draft)

            def end(self):
                pass

        with pytest.raises(InputError, match="at work in another call"):
            draft.generate([[1, 2]], streamer=Nested())
