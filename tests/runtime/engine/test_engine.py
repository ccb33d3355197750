"""Engine: usable alone, shared by the classes that have it, and stepped by one call at a time."""

import copy
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from checkpoints import Shape
from refusals import refused

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, GPTNeoModel
from gptneo_onnx.runtime.engine.decoder import PREFILL_CHUNK, check_finite
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.several_engines import exclusive

PROMPTS = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10]]


@pytest.fixture
def directory(export_shape):
    return export_shape(Shape())


@pytest.fixture
def engine(directory):
    return Engine.load(directory, device="cpu")


def test_an_engine_steps_without_a_model_class(engine):
    ids = np.array([3, 1, 4, 1, 5])
    with engine.exclusive():
        decoder = engine.decoder(slots=1)
        decoder.cache.clear(0)
        logits = decoder.prefill(0, ids)
    assert (logits == GPTNeoForCausalLM(engine)([ids]).logits[0, -1]).all()


def test_model_classes_share_an_engine(engine):
    causal_lm = GPTNeoForCausalLM(engine)
    assert GPTNeoModel(causal_lm).engine is GPTNeoModel(engine).engine is causal_lm.engine


def test_of_takes_an_engine_or_a_model_that_has_one(engine):
    assert Engine.of(engine) is Engine.of(GPTNeoForCausalLM(engine)) is engine
    with refused(InputError, "first is 3; a model loaded with GPTNeoForCausalLM.from_pretrained"):
        Engine.of(3, "first")


@pytest.mark.parametrize("slots", [2**31, 2**63, 2**64, 10**400])
def test_more_slots_than_there_can_be_are_refused(directory, slots):
    with refused(InputError, "slots is [0-9]+.*; at most 65536 are allowed"):
        Engine.load(directory, slots=slots)


@pytest.mark.parametrize("slots", [0, -1, True, 1.5, "2"])
def test_slots_that_are_no_number_of_sequences_are_refused(directory, slots):
    with refused(InputError, f"slots is {slots!r}; a whole number of at least 1 is allowed"):
        Engine.load(directory, slots=slots)


def test_a_prefill_chunk_lasts_for_one_call(engine):
    assert engine.decoder(1, prefill_chunk=3).prefill_chunk == 3
    assert engine.decoder(1).prefill_chunk == PREFILL_CHUNK


def test_a_models_prefill_chunk_is_its_engines(engine):
    GPTNeoForCausalLM(engine).prefill_chunk = 5
    assert engine.prefill_chunk == engine.decoder(1).prefill_chunk == 5


def test_room_for_more_sequences_is_made_when_they_come(engine):
    assert engine.decoder(1).cache.slots == 1
    assert engine.decoder(4).cache.slots == 4
    assert engine.decoder(2).cache.slots == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_in_the_rows_that_count(value):
    logits = np.zeros((2, 5), np.float32)
    logits[1, 3] = value
    with refused(ModelFileError, "the model's logits are not finite numbers; export it in another"):
        check_finite(logits)
    with refused(ModelFileError, "the model's logits are not finite numbers; export it in another"):
        check_finite(logits, np.array([False, True]))
    check_finite(logits, np.array([True, False]))


def test_finite_logits_whose_sum_overflows_are_taken():
    check_finite(np.full((1, 5), 3e38, np.float32))
    check_finite(np.array([[3e38, 3e38, -3e38, -3e38]], np.float32), np.array([True]))


class TestExclusive:
    def test_the_same_thread_is_refused_with_the_reason(self, engine):
        reason = "a streamer or a processor cannot call the model that is calling it"
        with engine.exclusive(), refused(InputError, reason), engine.exclusive():
            pass
        with engine.exclusive():  # the refusal has released nothing and kept nothing
            pass

    def test_another_thread_waits(self, engine):
        order = []

        def enter():
            with engine.exclusive():
                order.append("second")

        with engine.exclusive():
            thread = threading.Thread(target=enter)
            thread.start()
            time.sleep(0.1)
            order.append("first")
        thread.join(timeout=30)
        assert order == ["first", "second"]

    def test_an_error_releases_the_engine(self, engine):
        with pytest.raises(ZeroDivisionError), engine.exclusive():
            1 / 0  # noqa: B018
        with engine.exclusive():
            pass

    def test_two_engines_in_either_order_never_wait_for_each_other(self, directory):
        engines = [Engine.load(directory, device="cpu") for _ in range(2)]
        rounds = []

        def enter(pair):
            for _ in range(200):
                with exclusive(*pair):
                    rounds.append(1)

        threads = [threading.Thread(target=enter, args=[p]) for p in (engines, engines[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert len(rounds) == 400


def test_eight_threads_get_the_results_of_one(engine):
    model = GPTNeoForCausalLM(engine)
    arguments = {"max_new_tokens": 6, "do_sample": True, "seed": 3, "eos_token_id": None}
    expected = [model.generate([ids], **arguments).tolist() for ids in PROMPTS]
    results = []

    def call(number):
        for turn in range(10):
            index = (number + turn) % len(PROMPTS)
            ids = model.generate([PROMPTS[index]], **arguments)
            results.append(ids.tolist() == expected[index])

    threads = [threading.Thread(target=call, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert results == [True] * 80


class TestCopies:
    """Models pickle and copy by their directory, as worker processes need it."""

    ARGUMENTS = {"max_new_tokens": 8, "eos_token_id": None}  # noqa: RUF012

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    @pytest.mark.parametrize("kind", [GPTNeoForCausalLM, GPTNeoModel])
    def test_a_copy_has_an_engine_of_its_own(self, engine, copied, kind):
        model = kind(engine)
        twin = copied(model)
        assert twin.engine is not engine
        assert twin.engine.fingerprint == engine.fingerprint
        assert type(twin) is kind

    def test_a_copy_generates_the_same_by_its_own_config(self, engine):
        model = GPTNeoForCausalLM(engine, GenerationConfig(repetition_penalty=1.5))
        twin = pickle.loads(pickle.dumps(model))
        assert twin.generation_config == model.generation_config
        expected = model.generate([[1, 2]], **self.ARGUMENTS)
        assert (twin.generate([[1, 2]], **self.ARGUMENTS) == expected).all()

    def test_a_worker_process_generates_the_same(self, engine):
        model = GPTNeoForCausalLM(engine)
        with ProcessPoolExecutor(1, get_context("spawn")) as workers:
            result = workers.submit(model.generate, [[1, 2]], **self.ARGUMENTS).result(timeout=120)
        assert (result == model.generate([[1, 2]], **self.ARGUMENTS)).all()

    def test_what_load_did_not_make_cannot_be_copied(self, engine):
        made = Engine(engine._model, engine._make_decoder)
        with pytest.raises(TypeError, match="only an Engine that load"):
            pickle.dumps(made)


def test_mapped_weights_give_the_same_logits(embedded_export):
    ids = np.random.default_rng(5).integers(0, 4000, (2, 300))
    packed = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu")
    mapped = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu", mmap=True)
    expected = packed(ids).logits
    np.testing.assert_allclose(mapped(ids).logits, expected, atol=1e-5 * float(expected.std()))
    for arguments in ({}, {"num_beams": 3}, {"prompt_lookup_num_tokens": 4}):
        texts = [
            model.generate(ids[:1, :40], max_new_tokens=30, do_sample=False, **arguments).tolist()
            for model in (packed, mapped)
        ]
        assert texts[0] == texts[1]


def test_a_pickled_engine_is_mapped_again(embedded_export):
    mapped = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu", mmap=True)
    engine = pickle.loads(pickle.dumps(mapped)).engine
    options = engine.decoder(1).session.inference.get_session_options()
    assert options.get_session_config_entry("session.disable_prepacking") == "1"


@pytest.mark.parametrize("precision", ["int8", "int4", "w8a8"])
def test_a_batch_invariant_model_gives_the_same_bits_in_any_batch(export_shape, precision):
    shape = Shape(hidden_size=64, layers=("global", "local") * 3)
    model = GPTNeoForCausalLM.from_pretrained(export_shape(shape, precision), batch_invariant=True)
    arguments = {"max_new_tokens": 20, "eos_token_id": None, "return_dict_in_generate": True}
    padded = [[0] * (4 - len(prompt)) + prompt for prompt in PROMPTS]
    mask = [[0] * (4 - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS]
    together = model.generate(padded, mask, output_logits=True, **arguments)
    for row, prompt in enumerate(PROMPTS):
        alone = model.generate([prompt], output_logits=True, **arguments)
        for ours, batch in zip(alone.logits, together.logits, strict=True):
            assert np.array_equal(ours[0], batch[row])


def test_a_copy_is_batch_invariant_too(directory):
    engine = Engine.load(directory, device="cpu", spin=False, batch_invariant=True)
    copied = pickle.loads(pickle.dumps(engine))
    assert copied.decoder(1).least_rows == engine.decoder(1).least_rows == 2
    assert copied.decoder(1).cache.slots == 2


def test_batch_invariant_is_for_fused_graphs(export_shape):
    with refused(InputError, "batch_invariant is 1; True or False is allowed"):
        Engine.load(export_shape(), batch_invariant=1)
    portable = export_shape(graph="portable")
    with refused(InputError, "batch_invariant is for fused graphs, and this is a portable one"):
        Engine.load(portable, batch_invariant=True)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4", "w8a8"])
def test_a_batch_invariant_model_reads_a_single_token_as_one_of_several(
    export_shape, precision, random
):
    shape = Shape(hidden_size=64, layers=("global", "local") * 3)
    engine = Engine.load(export_shape(shape, precision), "cpu", batch_invariant=True)
    ids = random.integers(1, shape.vocab_size, 33)
    with engine.exclusive():
        decoder = engine.decoder(slots=3)
        for slot in range(3):
            decoder.cache.clear(slot)
        [several] = decoder.prefill_chunks(1, ids)
        others = decoder.cache.read(1)
        for slot in (0, 2):
            assert np.array_equal(decoder.prefill(slot, ids[:1]), several.logits[0])
        assert all(map(np.array_equal, decoder.cache.read(1), others))
