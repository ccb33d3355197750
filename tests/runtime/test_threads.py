"""Several threads call one model, in every way: each gets what it gets alone."""

import threading

import pytest

from gptneo_onnx import GPTNeoForCausalLM, TextIteratorStreamer, Tokenizer, pipeline

TEXTS = ("It is a truth", "She was", "The door", "A letter came from")
ARGUMENTS = {"max_new_tokens": 6, "do_sample": True}
THREADS, CALLS = 8, 10


@pytest.fixture(scope="module")
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export, device="cpu", num_threads=2)


@pytest.fixture(scope="module")
def tokenizer(embedded_export):
    return Tokenizer.from_pretrained(embedded_export)


def generated(model, tokenizer, text, seed):
    return model.generate([tokenizer.encode(text)], seed=seed, **ARGUMENTS).tolist()


def continued(model, tokenizer, text, seed):
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    return generator(text, seed=seed, **ARGUMENTS)


def continued_together(model, tokenizer, text, seed):
    generator = pipeline("text-generation", model=model, tokenizer=tokenizer)
    return generator([text, "It was"], seed=seed, batch_size=2, **ARGUMENTS)


def streamed(model, tokenizer, text, seed):
    streamer = TextIteratorStreamer(tokenizer, timeout=100)
    ids = [tokenizer.encode(text)]
    arguments = {"streamer": streamer, "seed": seed, **ARGUMENTS}
    thread = threading.Thread(target=model.generate, args=[ids], kwargs=arguments)
    thread.start()
    pieces = [*streamer]
    thread.join()
    return "".join(pieces)


def beams(model, tokenizer, text, seed):
    ids = [tokenizer.encode(text)]
    return model.generate(ids, num_beams=2, max_new_tokens=4, do_sample=False).tolist()


def scored(model, tokenizer, text, seed):
    return model([tokenizer.encode(text)]).logits.tolist()


WAYS = (generated, continued, continued_together, streamed, beams, scored)


@pytest.mark.slow
def test_eight_threads_get_what_each_gets_alone(model, tokenizer):
    cases = {
        (way, text, seed): way(model, tokenizer, text, seed)
        for way in WAYS
        for text in TEXTS
        for seed in (1, 2)
    }
    keys, right = [*cases], []

    def work(number):
        for turn in range(CALLS):
            way, *arguments = key = keys[(number * CALLS + turn) % len(keys)]
            right.append(way(model, tokenizer, *arguments) == cases[key])

    threads = [threading.Thread(target=work, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert right == [True] * (THREADS * CALLS)
