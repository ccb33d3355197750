"""generate_tokens(): the tokens of generate(), each as soon as it is chosen."""

import re
import threading
import time

import numpy as np
import pytest
from checkpoints import Shape
from refusals import refused

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, StructuredOutput, Tokenizer
from gptneo_onnx.runtime.generation.call import prepare_call
from gptneo_onnx.runtime.generation.generate import generate

PROMPTS = {"input_ids": [[0, 0, 5], [7, 8, 9]], "attention_mask": [[0, 0, 1], [1, 1, 1]]}
WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 4, "temperature": 0.7, "top_p": 0.9},
    "several": {"do_sample": True, "seed": 4, "num_return_sequences": 3},
    "processors": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "lookup": {"prompt_lookup_num_tokens": 3},
    "guided": {"guidance_scale": 1.5},
}


@pytest.fixture
def model(export_shape):
    return GPTNeoForCausalLM.from_pretrained(export_shape(Shape()), device="cpu")


@pytest.mark.parametrize("way", WAYS)
def test_the_tokens_are_those_of_generate(model, way):
    arguments = {**PROMPTS, **WAYS[way], "max_new_tokens": 12, "eos_token_id": [3, 11]}
    expected = model.generate(**arguments, pad_token_id=0)
    rows = {}
    for step in model.generate_tokens(**arguments):
        rows.setdefault(step.row, []).append(step.token)
        so_far = step.sequence.generated  # assisted decoding appends several tokens in a step
        assert so_far[: len(rows[step.row])] == rows[step.row]
        assert step.sequence.is_finished == (so_far[-1] in (3, 11) or len(so_far) == 12)
    assert sorted(rows) == list(range(len(expected)))
    for row, tokens in rows.items():
        assert expected[row, 3 : 3 + len(tokens)].tolist() == tokens
        assert (expected[row, 3 + len(tokens) :] == 0).all()


def test_logits_scores_and_log_probability_are_the_steps(model):
    ids = [5, 6, 7]
    for step in model.generate_tokens([ids], max_new_tokens=5, temperature=0.5, do_sample=True):
        logits = model_logits(model, ids)
        assert np.allclose(step.logits, logits, atol=1e-5)
        exact = logits.astype(np.float64)
        expected = exact[step.token] - np.log(np.exp(exact - exact.max()).sum()) - exact.max()
        assert step.log_probability == pytest.approx(expected, abs=1e-4)
        kept = step.scores > -np.inf
        assert kept.sum() == 50  # top_k
        assert np.allclose(step.scores[kept], step.logits[kept] / 0.5, atol=1e-5)
        ids = [*ids, step.token]


def model_logits(model, ids):
    """By a second model, since the first one is at work."""
    twin = GPTNeoForCausalLM.from_pretrained(model.engine.path, device="cpu")
    return twin([ids]).logits[0, -1]


def test_arguments_are_checked_before_the_first_token(model):
    with refused(InputError, r"generate\(\) has no argument 'max_tokens'"):
        model.generate_tokens([[1]], max_tokens=3)


def test_beams_and_streamers_are_refused(model):
    with refused(InputError, "num_beams is 2, and beams are only chosen at the end; use generate"):
        model.generate_tokens([[1]], num_beams=2)
    with refused(
        InputError, r"streamer is not for generate_tokens\(\), which yields tokens itself"
    ):
        model.generate_tokens([[1]], streamer=object())


class TestOtherCalls:
    def test_of_the_same_thread_are_refused_until_it_is_closed(self, model):
        tokens = model.generate_tokens([[1, 2]], max_new_tokens=5, eos_token_id=None)
        next(tokens)
        with refused(InputError, "this model is at work in another call"):
            model.generate([[1]], max_new_tokens=1)
        tokens.close()
        assert model.generate([[1]], max_new_tokens=1, eos_token_id=None).shape == (1, 2)

    def test_of_another_thread_wait_until_it_is_exhausted(self, model):
        tokens = model.generate_tokens([[1, 2]], max_new_tokens=5, eos_token_id=None)
        order = [next(tokens).row]

        def call():
            model.generate([[1]], max_new_tokens=1)
            order.append("call")

        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(0.05)
        order += [step.row for step in tokens]
        thread.join(timeout=30)
        assert order == [0, 0, 0, 0, 0, "call"]

    def test_of_a_processor_are_refused_in_whichever_thread_it_runs(self, model):
        refusals = []

        def calls_its_model(ids, scores):
            with refused(InputError, "a processor cannot call the model that is calling it"):
                model.generate([[1]], max_new_tokens=1)
            refusals.append(threading.get_ident())
            return scores

        tokens = model.generate_tokens(
            [[1, 2]], max_new_tokens=3, eos_token_id=None, logits_processor=[calls_its_model]
        )
        next(tokens)
        thread = threading.Thread(target=next, args=[tokens])
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert len(set(refusals)) == 2
        tokens.close()


def test_processors_check_their_arguments_before_the_first_token(model):
    with refused(InputError, "bad_words_ids"):
        model.generate_tokens([[1]], bad_words_ids=[["x"]])


def test_a_streamer_gets_nothing_of_a_call_that_is_refused(model):
    received = []

    class Recorder:
        def put(self, ids):
            received.append(ids)

        def end(self):
            pass

    with refused(InputError, "bad_words_ids"):
        model.generate([[1]], bad_words_ids=[["x"]], streamer=Recorder())
    assert received == []


def test_a_call_that_waits_leaves_the_structure_of_the_running_one_alone(embedded_export):
    """Both use one StructuredOutput: the second begins its text when its turn comes."""
    llguidance = pytest.importorskip("llguidance")
    assert llguidance
    model = GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu")
    tokenizer = Tokenizer.from_pretrained(embedded_export)
    structure = StructuredOutput.from_regex(tokenizer, "(yes|no){6}")
    ids = tokenizer("It is", return_tensors="np")["input_ids"]
    texts = []

    def generate_text():
        output = model.generate(ids, logits_processor=[structure], max_new_tokens=60)
        texts.append(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))

    with model.engine.exclusive():
        threads = [threading.Thread(target=generate_text) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # all three have been prepared, and wait
    for thread in threads:
        thread.join(timeout=60)
    assert len(texts) == 3
    assert all(re.fullmatch("(yes|no){6}", text) for text in texts)


def test_max_time_does_not_count_the_wait_for_a_turn(model):
    call = prepare_call(
        model.engine,
        model.generation_config,
        input_ids=[[1, 2]],
        max_time=5,
        max_new_tokens=4,
        eos_token_id=None,
    )
    before = time.time()
    assert call.begin()[0].initial_timestamp >= before
    assert generate(call).shape == (1, 6)
