"""A model that another precision of itself drafts for: float32's text, by fewer of its steps."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from heads import with_head
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import (
    GPTNeoForCausalLM,
    GPTNeoForSequenceClassification,
    GPTNeoModel,
    Tokenizer,
    pipeline,
)
from gptneo_onnx.runtime.engine.fused_decoder import FusedDecoder
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessor
from gptneo_onnx.runtime.generation.stopping_criteria import StopStringCriteria

VOCAB = 301
WAYS = [
    {},
    {"do_sample": True, "seed": 5, "top_k": 4},
    {"do_sample": True, "seed": 6, "top_k": 0, "temperature": 1.5},
    {"do_sample": True, "seed": 8, "top_p": 0.8, "repetition_penalty": 1.3},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
    {"do_sample": True, "seed": 7, "watermarking_config": {"ngram_len": 3, "keys": [5, 9]}},
    {"eos_token_id": list(range(40)), "min_new_tokens": 9},
    {"num_assistant_tokens": 2},
    {"assistant_confidence_threshold": 0.5},
]


@pytest.fixture(params=[2, 7, 64], ids=lambda window: f"window {window}")
def directory(request, export_shape):
    shape = Shape(
        layers=("global", "local"), window_size=request.param, max_position_embeddings=128
    )
    return export_shape(shape, "fp32,int4")


@pytest.fixture
def model(directory):
    return GPTNeoForCausalLM.from_pretrained(directory)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The embedded model in float32 and 4 bits; never to be changed."""
    out = tmp_path_factory.mktemp("pair") / "export"
    return export_model(EMBEDDED_CHECKPOINT, out, precision="fp32,int4")


class TestExactness:
    @pytest.mark.parametrize("arguments", WAYS, ids=str)
    def test_not_a_token_is_different(self, model, random, arguments):
        """Past the window, with peaked attention, in ragged rows."""
        prompts = random.integers(1, VOCAB, (3, 8))
        mask = np.ones_like(prompts)
        mask[0, :5] = mask[1, :2] = 0
        arguments = {
            "attention_mask": mask, "max_new_tokens": 60, "eos_token_id": None, **arguments,
        }  # fmt: skip
        plain = model.generate(prompts, **arguments)
        for assistance in ({"assistant_model": "int4"}, {"self_draft": True}):
            assert model.generate(prompts, **arguments, **assistance).tolist() == plain.tolist()

    def test_with_processors_and_criteria_of_the_caller(self, pair):
        class Forbid(LogitsProcessor):
            def __call__(self, ids, scores):
                scores = scores.copy()
                scores[:, ids[0, -1]] = -np.inf
                return scores

        model, tokenizer = (
            GPTNeoForCausalLM.from_pretrained(pair),
            Tokenizer.from_pretrained(pair),
        )
        ids = tokenizer("She was", return_tensors="np").input_ids
        arguments = {
            "max_new_tokens": 80,
            "do_sample": True,
            "seed": 4,
            "logits_processor": [Forbid()],
            "stopping_criteria": [StopStringCriteria(tokenizer, ["Elizabeth", "."])],
        }
        plain = model.generate(ids, **arguments)
        assert model.generate(ids, **arguments, self_draft=True).tolist() == plain.tolist()

    def test_scores_are_those_of_the_large_model(self, pair):
        model = GPTNeoForCausalLM.from_pretrained(pair)
        arguments = {
            "max_new_tokens": 40, "return_dict_in_generate": True, "output_logits": True,
            "eos_token_id": None,
        }  # fmt: skip
        plain = model.generate([[5, 6, 7]], **arguments)
        drafted = model.generate([[5, 6, 7]], **arguments, self_draft=True)
        assert drafted.sequences.tolist() == plain.sequences.tolist()
        for mine, theirs in zip(drafted.logits, plain.logits, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)

    def test_portable_graphs_draft_too(self, export_shape, random):
        out = export_shape(Shape(), "fp32,int4", graph="fused,portable")
        model = GPTNeoForCausalLM.from_pretrained(out, file_name="portable.onnx")
        prompts = random.integers(1, VOCAB, (2, 6))
        arguments = {"max_new_tokens": 30, "eos_token_id": None}
        plain = model.generate(prompts, **arguments)
        assert model.generate(prompts, **arguments, self_draft=True).tolist() == plain.tolist()
        assert model.engine.twin("int4")._model.graphs[0].name == "portable.int4.onnx"


@pytest.mark.parametrize("arguments", [{}, {"do_sample": True, "seed": 1, "top_k": 0}], ids=str)
def test_it_saves_most_of_the_large_models_steps(pair, monkeypatch, arguments):
    model, tokenizer = GPTNeoForCausalLM.from_pretrained(pair), Tokenizer.from_pretrained(pair)
    ids = tokenizer("It is a truth universally", return_tensors="np").input_ids
    steps = {"own": 0, "drafted": 0}
    for name in ("verify", "decode"):
        original = getattr(FusedDecoder, name)

        def counted(decoder, *rest, _original=original):
            steps["own" if decoder is model.engine.decoder(1) else "drafted"] += 1
            return _original(decoder, *rest)

        monkeypatch.setattr(FusedDecoder, name, counted)
    model.generate(ids, max_new_tokens=240, eos_token_id=None, self_draft=True, **arguments)
    assert steps["own"] < 240 / 4
    assert steps["drafted"] < 1.5 * 240


class TestLoading:
    def test_the_first_precision_is_loaded_unless_another_is_named(self, pair):
        first = GPTNeoForCausalLM.from_pretrained(pair)
        named = GPTNeoForCausalLM.from_pretrained(pair, precision="fp32")
        other = GPTNeoForCausalLM.from_pretrained(pair, precision="int4")
        by_file = GPTNeoForCausalLM.from_pretrained(pair, file_name="model.int4.onnx")
        assert first.engine.fingerprint == named.engine.fingerprint
        assert other.engine.fingerprint == by_file.engine.fingerprint != first.engine.fingerprint

    def test_results_of_each_are_those_of_a_single_export(self, pair, tmp_path):
        for precision in ("fp32", "int4"):
            alone = export_model(EMBEDDED_CHECKPOINT, tmp_path / precision, precision=precision)
            logits = [
                GPTNeoForCausalLM.from_pretrained(*where)([[1, 2, 3]]).logits
                for where in ((alone,), (pair, "cpu", 1, None, None, None, False, precision))
            ]
            assert np.array_equal(*logits)

    def test_the_twin_is_loaded_once(self, pair):
        model = GPTNeoForCausalLM.from_pretrained(pair, num_threads=1)
        twin = model.engine.twin("int4")
        model.generate([[1, 2]], max_new_tokens=3, self_draft=True)
        assert model.engine.twin() is twin
        assert model.engine.twin("fp32") is model.engine

    @pytest.mark.parametrize("way", ["pickled", "copied"])
    def test_a_copy_has_its_own_twin(self, pair, way):
        model = GPTNeoForCausalLM.from_pretrained(pair)
        arguments = {"max_new_tokens": 9, "self_draft": True}
        plain = model.generate([[5, 6]], **arguments)
        another = copy.deepcopy(model) if way == "copied" else pickle.loads(pickle.dumps(model))
        assert another.generate([[5, 6]], **arguments).tolist() == plain.tolist()
        assert another.engine.twin() is not model.engine.twin()

    def test_from_where_the_program_goes_meanwhile(self, pair, monkeypatch, tmp_path):
        monkeypatch.chdir(pair.parent)
        model = GPTNeoForCausalLM.from_pretrained(pair.name)
        monkeypatch.chdir(tmp_path)
        assert model.generate([[5, 6]], max_new_tokens=3, self_draft=True).shape == (1, 5)

    def test_beside_mapped_weights(self, pair):
        model = GPTNeoForCausalLM.from_pretrained(pair, mmap=True)
        arguments = {"max_new_tokens": 30, "eos_token_id": None}
        plain = model.generate([[5, 6]], **arguments)
        assert model.generate([[5, 6]], **arguments, self_draft=True).tolist() == plain.tolist()

    @pytest.mark.parametrize("task", ["text-classification", "feature-extraction-with-past"])
    def test_models_for_other_tasks_have_precisions_too(self, tmp_path, random, task):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
        model_class: Any = GPTNeoModel
        result = "last_hidden_state"
        if task == "text-classification":
            checkpoint = with_head(checkpoint, Head.SEQUENCE_CLASSIFICATION, random)
            model_class, result = GPTNeoForSequenceClassification, "logits"
        out = export_model(checkpoint, tmp_path / "out", task=task, precision="fp32,int4")
        results = [
            getattr(model_class.from_pretrained(out, precision=precision)([[1, 2, 3]]), result)
            for precision in (None, "fp32", "int4")
        ]
        assert np.array_equal(results[0], results[1])
        assert not np.array_equal(results[0], results[2])
        np.testing.assert_allclose(results[0], results[2], atol=0.3 * results[0].std() + 0.3)

    def test_a_pipeline_takes_a_precision_for_its_assistant(self, pair):
        arguments = {"max_new_tokens": 20, "do_sample": False}
        plain = pipeline("text-generation", pair)("She was", **arguments)
        drafting = pipeline("text-generation", pair, assistant_model="int4")
        assert drafting("She was", **arguments) == plain
        assert pipeline("text-generation", pair)("She was", self_draft=True, **arguments) == plain


class TestRefusals:
    def test_a_precision_that_is_not_there(self, pair):
        model = GPTNeoForCausalLM.from_pretrained(pair)
        has = "has fp32, int4; name one of these"
        with refused(InputError, f"assistant_model is 'int8', and .* {has}, or .* fp32,int4,int8$"):
            model.generate([[1]], assistant_model="int8")
        with refused(InputError, f"assistant_model is 'tiny', and .* {has}$"):
            model.generate([[1]], assistant_model="tiny")
        with refused(InputError, f"precision is 'w8a8', and .* {has}, or export the checkpoint"):
            GPTNeoForCausalLM.from_pretrained(pair, precision="w8a8")
        with refused(InputError, f"assistant_model is 'w8a8', and .* {has}"):
            pipeline("text-generation", pair, assistant_model="w8a8")

    def test_no_smaller_precision(self, pair, embedded_export):
        small = GPTNeoForCausalLM.from_pretrained(pair, precision="int4")
        with refused(
            InputError, "self_draft needs a smaller precision to draft, and .* none smaller than i"
        ):
            small.generate([[1]], self_draft=True)
        single = GPTNeoForCausalLM.from_pretrained(embedded_export)
        with refused(InputError, "has fp32, none smaller than fp32; export the checkpoint with"):
            single.generate([[1]], self_draft=True)
        with refused(InputError, "assistant_model is 'int4', and .* has fp32; name one of these"):
            single.generate([[1]], assistant_model="int4")

    def test_both_ways_of_asking(self, pair):
        model = GPTNeoForCausalLM.from_pretrained(pair)
        with refused(InputError, "self_draft and assistant_model exclude each other"):
            model.generate([[1]], self_draft=True, assistant_model="int4")
        with refused(InputError, "self_draft is 'int4'; True or False is allowed"):
            model.generate([[1]], self_draft="int4")

    @pytest.mark.parametrize(
        "arguments",
        [
            {"num_beams": 2}, {"num_return_sequences": 2, "do_sample": True},
            {"guidance_scale": 2}, {"prompt_lookup_num_tokens": 3},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_draft_models_do_not_go_with(self, pair, arguments):
        model = GPTNeoForCausalLM.from_pretrained(pair)
        with refused(InputError, "assistant_model"):
            model.generate([[1]], self_draft=True, **arguments)

    def test_a_directory_that_says_nothing_of_precisions(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
        out = export_model(checkpoint, tmp_path / "out", layout="transformers.js", precision="int4")
        model = GPTNeoForCausalLM.from_pretrained(out, file_name="onnx/model_q4.onnx")
        with refused(InputError, "has no gptneo_onnx.json, which names precisions"):
            model.generate([[1]], assistant_model="fp32")
        with refused(InputError, "precision is 'fp32', and .* has no gptneo_onnx.json"):
            GPTNeoForCausalLM.from_pretrained(out, precision="fp32")


def test_the_other_way_round_is_allowed(pair):
    """Nobody needs it, and it is exact too."""
    small = GPTNeoForCausalLM.from_pretrained(pair, precision="int4")
    assert small.generate([[5, 6]], max_new_tokens=9, assistant_model="fp32").shape == (1, 11)
