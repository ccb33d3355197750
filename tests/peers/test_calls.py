"""Calls as users of transformers write them: masks with holes, outputs, losses, streamers."""

import asyncio
import io
from contextlib import redirect_stdout
from threading import Thread

import numpy as np
import pytest
from checkpoints import Shape

from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM, GPTNeoModel

CLOSE = 1e-4  # of the spread
LENGTH = 50


def masked(random, span):
    """A batch with holes that begins and ends with tokens within `span` columns, and one empty."""
    mask = np.zeros((4, LENGTH), np.int64)
    for row in range(3):
        start = row * (LENGTH - span) // 3
        mask[row, start : start + span] = random.random(span) < 0.6
        mask[row, [start, start + span - 1]] = 1
        mask[row, start + 1] = 0
    return mask


def expected_outputs(original, ids, mask, positions=None):
    import torch

    with torch.no_grad():
        return original(
            torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            position_ids=None if positions is None else torch.from_numpy(positions),
            output_hidden_states=True,
        )


@pytest.mark.parametrize(
    ("graph", "layers", "span"),
    [
        ("portable", ("global", "local"), 44),
        ("portable", ("local", "local"), 44),
        ("fused", ("global", "local"), 7),
        ("fused", ("global", "global"), 44),
    ],
)
def test_masks_with_holes(export_shape, transformers_model, random, graph, layers, span):
    directory = export_shape(Shape(layers=layers), graph=graph, hidden_states="all")
    model = GPTNeoForCausalLM.from_pretrained(directory)
    original = transformers_model(directory.parent / "checkpoint")
    ids, mask = random.integers(0, 301, (4, LENGTH)), masked(random, span)
    counted = np.where(mask == 1, mask.cumsum(-1) - 1, 1)
    for chunk in (LENGTH, 7):
        model.prefill_chunk = chunk
        for positions in (None, counted):
            expected = expected_outputs(original, ids, mask, positions)
            logits = expected.logits.numpy()
            output = model(ids, mask, positions)
            difference = np.abs(output.logits - logits)[mask == 1].max()
            assert difference < CLOSE * logits.std()
            assert not output.logits[mask == 0].any()
            state = GPTNeoModel(model)(ids, mask, positions).last_hidden_state
            last = expected.hidden_states[-1].numpy()
            assert np.abs(state - last)[mask == 1].max() < CLOSE * last.std()


def test_holes_past_the_window_of_the_fused_graph_are_refused(export_shape, random):
    model = GPTNeoForCausalLM.from_pretrained(export_shape())
    with pytest.raises(InputError, match="holes, and the sequence reaches past the window of 7"):
        model(random.integers(0, 301, (4, LENGTH)), masked(random, 9))


@pytest.mark.parametrize(
    ("layers", "span", "new_tokens"),
    [(("global", "local"), 3, 4), (("global", "global"), 20, 12)],
)
@pytest.mark.parametrize("arguments", [{}, {"num_beams": 3}, {"min_length": 24}])
def test_prompts_with_holes(
    export_shape, transformers_model, random, layers, span, new_tokens, arguments
):
    """A batch of turns whose earlier answers were filled up, padded on the left."""
    import torch
    from transformers import LogitsProcessorList

    directory = export_shape(Shape(layers=layers))
    model = GPTNeoForCausalLM.from_pretrained(directory)
    original = transformers_model(directory.parent / "checkpoint")
    ids, mask = random.integers(0, 301, (3, 20)), np.zeros((3, 20), np.int64)
    for row in range(3):
        length = span - row if span > 3 else span
        mask[row, -length:] = random.random(length) < 0.6
        mask[row, [-length, -1]] = 1
        mask[row, -2] = 0
    seen = [], []

    def processor(number):
        def remember(input_ids, scores):
            seen[number].append(np.asarray(input_ids))
            return scores

        return LogitsProcessorList([remember]) if number else [remember]

    arguments = {"max_new_tokens": new_tokens, "eos_token_id": None, **arguments}
    output = model.generate(ids, mask, logits_processor=processor(0), **arguments)
    expected = original.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        pad_token_id=0,
        logits_processor=processor(1),
        **arguments,
    )
    assert output.tolist() == expected.tolist()
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(*seen, strict=True))


def test_the_loss_and_a_tuple(export_shape, transformers_model, random):
    import torch

    directory = export_shape()
    model = GPTNeoForCausalLM.from_pretrained(directory)
    original = transformers_model(directory.parent / "checkpoint")
    ids = random.integers(0, 301, (3, 30))
    labels = np.where(random.random(ids.shape) < 0.3, -100, ids)
    with torch.no_grad():
        expected = original(torch.from_numpy(ids), labels=torch.from_numpy(labels))
        loss, logits = original(
            torch.from_numpy(ids),
            labels=torch.from_numpy(labels),
            return_dict=False,
            use_cache=False,
        )
    output = model(torch.from_numpy(ids), labels=torch.from_numpy(labels), use_cache=False)
    assert output.loss == pytest.approx(float(expected.loss), rel=1e-5)
    assert [*output] == [key for key in expected if key != "past_key_values"]
    ours = model(ids, labels=labels, return_dict=False)
    assert ours[0] == pytest.approx(float(loss), rel=1e-5)
    assert ours[1].shape == tuple(logits.shape)
    nothing = np.full_like(ids, -100)
    assert np.isnan(model(ids, labels=nothing).loss)


@pytest.fixture(scope="module")
def streaming(embedded_export):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    return GPTNeoForCausalLM.from_pretrained(embedded_export), tokenizer, transformers


def text_of(model, tokenizer, ids, **decode):
    result = model.generate(ids, max_new_tokens=25, do_sample=False)
    return tokenizer.decode(result[0], **decode)


def test_their_text_streamer(streaming):
    model, tokenizer, transformers = streaming
    inputs = tokenizer("It is a truth", return_tensors="np")
    for skip_prompt in (False, True):
        with redirect_stdout(io.StringIO()) as printed:
            streamer = transformers.TextStreamer(tokenizer, skip_prompt=skip_prompt)
            model.generate(**inputs, streamer=streamer, max_new_tokens=25, do_sample=False)
        whole = text_of(model, tokenizer, inputs["input_ids"])
        begin = "It is a truth" if skip_prompt else ""
        assert printed.getvalue() == whole[len(begin) :] + "\n"


def test_their_iterator_streamer(streaming):
    model, tokenizer, transformers = streaming
    inputs = tokenizer("It is a truth", return_tensors="pt")
    streamer = transformers.TextIteratorStreamer(tokenizer, timeout=60)
    arguments = dict(inputs, streamer=streamer, max_new_tokens=25, do_sample=False)
    thread = Thread(target=model.generate, kwargs=arguments)
    thread.start()
    assert "".join(streamer) == text_of(model, tokenizer, inputs["input_ids"])
    thread.join()


def test_their_async_streamer(streaming):
    model, tokenizer, transformers = streaming
    inputs = tokenizer("It is a truth", return_tensors="np")

    async def collect():
        streamer = transformers.AsyncTextIteratorStreamer(tokenizer, timeout=60)
        arguments = dict(inputs, streamer=streamer, max_new_tokens=25, do_sample=False)
        Thread(target=model.generate, kwargs=arguments).start()
        return "".join([piece async for piece in streamer])

    assert asyncio.run(collect()) == text_of(model, tokenizer, inputs["input_ids"])


def test_their_config_tokenizer_and_tensors(streaming):
    model, tokenizer, transformers = streaming
    inputs = tokenizer("It is a truth", return_tensors="pt")
    config = transformers.GenerationConfig(max_new_tokens=25, do_sample=False)
    result = model.generate(**inputs, generation_config=config)
    expected = model.generate(inputs["input_ids"].numpy(), max_new_tokens=25, do_sample=False)
    assert type(result) is np.ndarray
    assert result.tolist() == expected.tolist()
    text = tokenizer.decode(expected[0, inputs["input_ids"].shape[1] :])
    stopped = model.generate(
        **inputs, generation_config=config, tokenizer=tokenizer, stop_strings=[text[:8]]
    )
    assert stopped.shape[1] < expected.shape[1]


def test_scores_of_their_pipeline(streaming):
    from gptneo_onnx.runtime import pipeline

    model, tokenizer, transformers = streaming
    original = transformers.GPTNeoForCausalLM.from_pretrained(EMBEDDED_CHECKPOINT)
    arguments = {
        "do_sample": False,
        "max_new_tokens": 4,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_logits": True,
    }
    [theirs] = transformers.pipeline("text-generation", original, tokenizer=tokenizer)(
        "It is a truth", **arguments
    )
    [ours] = pipeline("text-generation", model, tokenizer)("It is a truth", **arguments)
    assert ours.keys() == theirs.keys()
    assert ours["generated_text"] == theirs["generated_text"]
    for name in ("scores", "logits"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-3)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"num_beams": 3}, {"do_sample": True, "top_k": 1}],
)
def test_one_token_past_the_context(export_shape, transformers_model, random, arguments):
    """The last token is not read, so it needs no position."""
    import torch

    directory = export_shape(Shape())
    model = GPTNeoForCausalLM.from_pretrained(directory)
    original = transformers_model(directory.parent / "checkpoint")
    context = model.config.max_position_embeddings
    for length in (context - 5, context):
        ids = random.integers(0, 301, (1, length))
        limits = {"max_new_tokens": context + 1 - length, "eos_token_id": None}
        output = model.generate(ids, **limits, **arguments)
        expected = original.generate(torch.from_numpy(ids), **limits, **arguments, pad_token_id=0)
        assert output.tolist() == expected.tolist()


def test_nothing_to_continue(embedded_export, streaming):
    from transformers import GPTNeoForCausalLM as Original
    from transformers import pipeline as their_pipeline

    from gptneo_onnx.runtime import pipeline

    original = Original.from_pretrained(EMBEDDED_CHECKPOINT)
    model, tokenizer, _ = streaming
    arguments = {"max_new_tokens": 12, "do_sample": False}
    assert model.generate(**arguments).tolist() == original.generate(**arguments).tolist()
    theirs = their_pipeline("text-generation", original, tokenizer=tokenizer)
    ours = pipeline("text-generation", embedded_export)
    for form in ({}, {"return_full_text": False}, {"return_tensors": True}):
        assert ours("", **arguments, **form) == theirs("", **arguments, **form)
