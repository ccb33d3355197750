"""POST /v1/completions as OpenAI's client, httpx and curl see it."""

import asyncio
import json
import math
import subprocess

import numpy as np
import openai
import pytest

PROMPT = "She was"


def generated(tiny, prompt, **arguments):
    """What generate() alone gives after a prompt, as token ids."""
    ids = tiny.tokenizer.encode(prompt)
    rows = tiny.model.generate([ids], **arguments)[:, len(ids) :].tolist()
    return rows if len(rows) > 1 else rows[0]


def events_of(response):
    """Return the chunks of a stream, which ends with [DONE]."""
    lines = response.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: ") for line in lines[:-1])
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def refused(http, **fields):
    """Return the error that a request is answered with."""
    response = http.post("/v1/completions", json={"prompt": PROMPT, **fields})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error


# What is generated.


def test_the_text_is_what_generate_gives(client, tiny):
    completion = client.completions.create(model="tiny", prompt=PROMPT, seed=5, temperature=0.8)
    ids = generated(tiny, PROMPT, do_sample=True, temperature=0.8, top_k=0, seed=5,
                    max_new_tokens=16)  # fmt: skip
    assert completion.choices[0].text == tiny.tokenizer.decode(ids)
    assert completion.choices[0].finish_reason == "length"
    assert completion.model == "tiny"
    assert completion.usage.model_dump()["completion_tokens"] == 16
    assert completion.usage.prompt_tokens == len(tiny.tokenizer.encode(PROMPT))


def test_without_a_seed_texts_differ(client):
    texts = {
        client.completions.create(model="tiny", prompt=PROMPT).choices[0].text for _ in range(3)
    }
    assert len(texts) > 1


def test_temperature_0_is_greedy_and_gives_each_of_n_the_same(client, tiny):
    completion = client.completions.create(
        model="tiny", prompt=PROMPT, temperature=0, n=2, max_tokens=8
    )
    text = tiny.tokenizer.decode(generated(tiny, PROMPT, max_new_tokens=8))
    assert [choice.text for choice in completion.choices] == [text, text]
    assert completion.usage.completion_tokens == 16


def test_a_temperature_next_to_0_is_greedy_too(client):
    fields = {"model": "tiny", "prompt": PROMPT}
    greedy = client.completions.create(**fields, temperature=0).choices[0].text
    assert client.completions.create(**fields, temperature=1e-40).choices[0].text == greedy


@pytest.mark.parametrize("stream", [False, True])
def test_prompts_come_in_all_forms(http, tiny, stream):
    ids = tiny.tokenizer.encode("He had")
    for prompt, texts in (
        (PROMPT, [PROMPT]),
        ([PROMPT, "He had"], [PROMPT, "He had"]),
        (ids, ["He had"]),
        ([ids, ids], ["He had", "He had"]),
    ):
        fields = {"prompt": prompt, "n": 2, "seed": 3, "max_tokens": 4, "echo": True}
        response = http.post("/v1/completions", json={**fields, "stream": stream})
        chunks = events_of(response) if stream else [response.json()]
        results = [""] * (2 * len(texts))
        for choice in (choice for chunk in chunks for choice in chunk["choices"]):
            results[choice["index"]] += choice["text"]
        expected = []
        for text in texts:
            rows = generated(tiny, text, do_sample=True, top_k=0, seed=3, max_new_tokens=4,
                             num_return_sequences=2)  # fmt: skip
            expected += [text + tiny.tokenizer.decode(row) for row in rows]
        assert results == expected


def test_an_empty_prompt_begins_a_text(http, tiny):
    fields = {"temperature": 0, "max_tokens": 5, "return_token_ids": True}
    [choice] = http.post("/v1/completions", json={"prompt": "", **fields}).json()["choices"]
    assert choice["prompt_token_ids"] == [tiny.tokenizer.bos_token_id]
    assert http.post("/v1/completions", json=fields).json()["choices"] == [choice]


def test_a_long_prompt_is_cut_on_the_left_where_that_is_asked_for(http, tiny):
    ids = tiny.tokenizer.encode(PROMPT) * 300
    assert "at most 512" not in refused(http, prompt=ids)["message"]
    fields = {"prompt": ids, "max_tokens": 3, "return_token_ids": True}
    for kept, length in ((5, 5), (-1, 510)):
        response = http.post("/v1/completions", json={**fields, "truncate_prompt_tokens": kept})
        [choice] = response.json()["choices"]
        assert choice["prompt_token_ids"] == ids[-length:]


def test_the_penalties_of_openai_count_what_was_generated(client, tiny):
    from gptneo_onnx.runtime.generation.processors.output_penalties import (
        FrequencyPenaltyLogitsProcessor,
        PresencePenaltyLogitsProcessor,
    )

    length = len(tiny.tokenizer.encode(PROMPT))
    completion = client.completions.create(
        model="tiny", prompt=PROMPT, temperature=0, max_tokens=40, presence_penalty=0.7,
        frequency_penalty=1.2,
    )  # fmt: skip
    processors = [
        PresencePenaltyLogitsProcessor(0.7, length),
        FrequencyPenaltyLogitsProcessor(1.2, length),
    ]
    ids = generated(tiny, PROMPT, max_new_tokens=40, logits_processor=processors)
    assert completion.choices[0].text == tiny.tokenizer.decode(ids)
    assert ids != generated(tiny, PROMPT, max_new_tokens=40)


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"top_k": 3, "seed": 1}, {"do_sample": True, "top_k": 3, "seed": 1}),
        ({"top_p": 0.5, "seed": 1}, {"do_sample": True, "top_k": 0, "top_p": 0.5, "seed": 1}),
        ({"min_p": 0.1, "seed": 1}, {"do_sample": True, "top_k": 0, "min_p": 0.1, "seed": 1}),
        (
            {"typical_p": 0.5, "seed": 1},
            {"do_sample": True, "top_k": 0, "typical_p": 0.5, "seed": 1},
        ),
        ({"seed": -1}, {"do_sample": True, "top_k": 0, "seed": 2**64 - 1}),
        ({"top_k": -1, "seed": 1}, {"do_sample": True, "top_k": 0, "seed": 1}),
        ({"temperature": 0, "repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"temperature": 0, "no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
        (
            {"temperature": 0, "logit_bias": {"309": -100, "12": 3.5}},
            {"sequence_bias": {(309,): -100.0, (12,): 3.5}},
        ),
        ({"use_beam_search": True, "best_of": 3}, {"num_beams": 3}),
        ({"num_beams": 4, "length_penalty": 2.0}, {"num_beams": 4, "length_penalty": 2.0}),
        (
            {"temperature": 0, "guidance_scale": 1.5, "negative_prompt": "He"},
            {"guidance_scale": 1.5, "negative_prompt_ids": "He"},
        ),
    ],
)
def test_fields_are_arguments_of_generate(http, tiny, fields, arguments):
    if "negative_prompt_ids" in arguments:
        arguments["negative_prompt_ids"] = [tiny.tokenizer.encode("He")]
    response = http.post(
        "/v1/completions",
        json={"prompt": PROMPT, "max_tokens": 12, "return_token_ids": True, **fields},
    )
    [choice] = response.json()["choices"]
    assert choice["token_ids"] == generated(tiny, PROMPT, max_new_tokens=12, **arguments)


def test_best_of_returns_the_best_mean_log_probability(client, http):
    fields = {"prompt": PROMPT, "seed": 7, "max_tokens": 6}
    several = client.completions.create(model="tiny", n=5, logprobs=0, **fields)
    means = {
        choice.text: math.fsum(choice.logprobs.token_logprobs) / 6 for choice in several.choices
    }
    best = client.completions.create(model="tiny", n=2, best_of=5, **fields)
    expected = sorted(means, key=lambda text: -means[text])[:2]
    assert [choice.text for choice in best.choices] == expected
    assert best.usage.completion_tokens == 30
    assert "best_of is 1 and n 2" in refused(http, n=2, best_of=1)["message"]
    assert "with stream the best" in refused(http, best_of=2, stream=True)["message"]


# Where a text ends.


def test_a_stop_text_is_cut_off_wherever_tokens_end(client, tiny):
    text = tiny.tokenizer.decode(generated(tiny, PROMPT, max_new_tokens=30))
    for stop in (text[7:12], text[20:22], text[-3:]):
        completion = client.completions.create(
            model="tiny", prompt=PROMPT, temperature=0, max_tokens=30, stop=stop
        )
        [choice] = completion.choices
        assert choice.text == text[: text.index(stop)]
        assert choice.finish_reason == "stop"
        assert choice.model_extra["stop_reason"] == stop


def test_results_end_at_their_own_stop_texts(http, tiny):
    fields = {"prompt": PROMPT, "n": 3, "seed": 2, "max_tokens": 30}
    plain = http.post("/v1/completions", json=fields).json()["choices"]
    stops = [plain[0]["text"][10:14], plain[1]["text"][40:43]]
    stopped = http.post("/v1/completions", json={**fields, "stop": stops}).json()["choices"]
    for before, after in zip(plain, stopped, strict=True):
        text = before["text"]
        ends = [(text.index(s) + len(s), text[: text.index(s)]) for s in stops if s in text]
        assert after["text"] == (min(ends)[1] if ends else text)


def test_a_stop_text_may_be_kept(http, tiny):
    text = tiny.tokenizer.decode(generated(tiny, PROMPT, max_new_tokens=16))
    fields = {"prompt": PROMPT, "temperature": 0, "stop": [text[9:12]]}
    [choice] = http.post(
        "/v1/completions", json={**fields, "include_stop_str_in_output": True}
    ).json()["choices"]
    assert choice["text"] == text[: text.index(text[9:12]) + 3]


def test_end_tokens_end_a_text_that_leaves_them_out(http, tiny):
    ids = generated(tiny, PROMPT, max_new_tokens=16)
    end = ids[6]
    expected = ids[: ids.index(end) + 1]
    fields = {
        "prompt": PROMPT, "temperature": 0, "stop_token_ids": [end], "return_token_ids": True
    }  # fmt: skip
    [choice] = http.post("/v1/completions", json=fields).json()["choices"]
    assert choice["text"] == tiny.tokenizer.decode(expected[:-1])
    assert choice["token_ids"] == expected
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", end)
    [choice] = http.post(
        "/v1/completions", json={**fields, "min_tokens": len(expected) + 1}
    ).json()["choices"]
    assert end not in choice["token_ids"][: len(expected) + 1]


def test_the_models_end_token_may_be_passed_over(http, tiny):
    bias = {"logit_bias": {str(tiny.end_tokens[0]): 100}}
    fields = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0, **bias}
    [choice] = http.post("/v1/completions", json=fields).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")
    fields |= {"ignore_eos": True, "skip_special_tokens": False}
    [choice] = http.post("/v1/completions", json=fields).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("<|endoftext|>" * 4, "length")


# What the text must match.


def test_json_schemas_are_enforced(client):
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["age"],
        "additionalProperties": False,
    }
    completion = client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=30, seed=1,
        extra_body={"response_format": {
            "type": "json_schema", "json_schema": {"name": "age", "schema": schema}}},
    )  # fmt: skip
    assert 1 <= json.loads(completion.choices[0].text)["age"] <= 9
    assert completion.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("outputs", "texts"),
    [
        ({"choice": [" yes", ' "no"']}, {" yes", ' "no"'}),
        ({"regex": "[ab]{2}"}, {"aa", "ab", "ba", "bb"}),
        ({"grammar": 'start: "x" | "y"'}, {"x", "y"}),
        ({"json": {"enum": [1, 2]}}, {"1", "2"}),
        ({"json": '{"enum": [1, 2]}'}, {"1", "2"}),
    ],
)
def test_structured_outputs_are_those_of_vllm(http, outputs, texts):
    response = http.post(
        "/v1/completions",
        json={"prompt": PROMPT, "n": 3, "seed": 4, "structured_outputs": outputs},
    )
    assert {choice["text"] for choice in response.json()["choices"]} <= texts


# Log probabilities.


def test_logprobs_are_those_of_the_model(client, tiny):
    completion = client.completions.create(
        model="tiny", prompt=PROMPT, temperature=0, max_tokens=6, logprobs=3
    )
    [choice] = completion.choices
    listed = choice.logprobs
    assert "".join(listed.tokens) == choice.text
    for token, offset in zip(listed.tokens, listed.text_offset, strict=True):
        assert choice.text[offset:].startswith(token)
    for logprob, token, top in zip(
        listed.token_logprobs, listed.tokens, listed.top_logprobs, strict=True
    ):
        assert len(top) == 3
        assert top[token] == logprob == max(top.values())


def test_a_token_that_is_not_among_the_likeliest_is_named_too(client):
    completion = client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=10, logprobs=1, seed=1
    )
    listed = completion.choices[0].logprobs
    assert {len(top) for top in listed.top_logprobs} == {1, 2}
    assert all(t in top for t, top in zip(listed.tokens, listed.top_logprobs, strict=True))


def test_a_prompt_is_scored_with_echo_and_no_new_token(client, tiny):
    text = "She was née"
    completion = client.completions.create(
        model="tiny", prompt=text, max_tokens=0, echo=True, logprobs=1
    )
    [choice] = completion.choices
    assert (choice.text, choice.finish_reason) == (text, "length")
    listed = choice.logprobs
    assert listed.tokens[-3:] == ["bytes:\\xc3", "bytes:\\xa9", "e"]
    assert listed.text_offset[-3:] == [9, 9, 10]
    ids = tiny.tokenizer.encode(text)
    logits = tiny.model(np.array([ids])).logits[0].astype(np.float64)
    own = [
        row[token] - np.log(np.exp(row).sum())
        for row, token in zip(logits[:-1], ids[1:], strict=True)
    ]
    assert listed.token_logprobs[0] is None
    assert listed.token_logprobs[1:] == pytest.approx(own, abs=1e-4)


def test_prompt_logprobs_are_named_by_id(http, tiny):
    fields = {"prompt": PROMPT, "max_tokens": 1, "prompt_logprobs": 2}
    [choice] = http.post("/v1/completions", json=fields).json()["choices"]
    first, second = choice["prompt_logprobs"]
    assert first is None
    token = str(tiny.tokenizer.encode(PROMPT)[1])
    assert second[token]["decoded_token"] == " was"
    assert {1, 2} <= {each["rank"] for each in second.values()}
    assert choice["logprobs"] is None


# Streams.


def test_a_stream_is_the_same_text(client):
    fields = {"model": "tiny", "prompt": PROMPT, "seed": 9, "n": 2, "max_tokens": 20}
    whole = client.completions.create(**fields, logprobs=1)
    texts, tokens, reasons = ["", ""], [[], []], [None, None]
    for chunk in client.completions.create(**fields, logprobs=1, stream=True):
        [choice] = chunk.choices
        texts[choice.index] += choice.text
        tokens[choice.index] += choice.logprobs.tokens
        reasons[choice.index] = choice.finish_reason
        assert chunk.usage is None
    assert texts == [choice.text for choice in whole.choices]
    assert tokens == [choice.logprobs.tokens for choice in whole.choices]
    assert reasons == ["length", "length"]


def test_a_stream_ends_with_its_usage_where_that_is_asked_for(http):
    fields = {"prompt": PROMPT, "max_tokens": 3, "stream": True}
    response = http.post(
        "/v1/completions", json={**fields, "stream_options": {"include_usage": True}}
    )
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events_of(response)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert "usage" not in events_of(http.post("/v1/completions", json=fields))[0]


def test_a_streamed_character_is_never_torn(http, tiny):
    ids = tiny.tokenizer.encode("née 😀")
    grammar = {"structured_outputs": {"choice": ["née 😀 née"]}}
    response = http.post(
        "/v1/completions", json={"prompt": ids, "max_tokens": 40, "stream": True, **grammar}
    )
    texts = [chunk["choices"][0]["text"] for chunk in events_of(response)]
    assert "".join(texts) == "née 😀 née"
    assert not any("\ufffd" in text for text in texts)


def test_a_streamed_stop_text_is_never_shown(client, tiny):
    text = tiny.tokenizer.decode(generated(tiny, PROMPT, max_new_tokens=16))
    stop = text[10:16]
    parts = [
        chunk.choices[0].text
        for chunk in client.completions.create(
            model="tiny", prompt=PROMPT, temperature=0, stop=[stop], stream=True
        )
    ]
    assert "".join(parts) == text[: text.index(stop)]


def test_the_asynchronous_client_streams_many_at_once(address):
    async def texts() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:

            async def text(seed: int) -> str:
                stream = await client.completions.create(
                    model="tiny", prompt=PROMPT, seed=seed % 4, stream=True, max_tokens=12
                )
                return "".join([chunk.choices[0].text async for chunk in stream])

            return await asyncio.gather(*(text(seed) for seed in range(16)))

    found = asyncio.run(texts())
    assert found[:4] * 4 == found
    assert len(set(found)) == 4


def test_curl_gets_a_stream(address):
    body = json.dumps({"prompt": PROMPT, "max_tokens": 3, "stream": True, "temperature": 0})
    done = subprocess.run(
        ["curl", "-sN", f"{address}/v1/completions", "-H", "Content-Type: application/json",
         "-d", body],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("data: {") == 3
    assert done.stdout.endswith("data: [DONE]\n\n")


# What is refused.


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"max_token": 3}, "max_token", "'max_token' is unknown; did you mean max_tokens? these"),
        ({"suffix": "x"}, "suffix", "suffix is not supported: GPT-Neo reads from left to right"),
        ({"temperature": -1}, "temperature", "temperature is -1; input should be greater"),
        ({"temperature": "1"}, "temperature", "temperature is '1'; input should be a valid"),
        ({"n": 0}, "n", "n is 0; input should be greater than or equal to 1"),
        ({"n": 17}, "n", "n is 17; at most 16 are allowed"),
        ({"n": 9}, "n", "need 9 slots, and the server has 8; ask for fewer, or start the server"),
        ({"max_tokens": 600}, "max_tokens", "max_tokens is 600 and the prompt has 2 tokens, more"),
        ({"logprobs": 21}, "logprobs", "logprobs is 21; input should be less than or equal to 20"),
        ({"logit_bias": {"a": 1}}, "logit_bias", "logit_bias names the token 'a'; ids from 0 to"),
        ({"logit_bias": {"4096": 1}}, "logit_bias", "the token '4096'; ids from 0 to 4095"),
        ({"stop": ""}, "stop", "stop is ''; string should have at least 1 character"),
        ({"prompt": [4096]}, "prompt", "prompt has the token id 4096; 0 to 4095 are allowed"),
        ({"prompt": []}, "prompt", "prompt is []; "),
        ({"prompt": {"a": 1}}, "prompt", "prompt is {'a': 1}; input should be a valid string"),
        ({"stream_options": {}}, "stream_options", "stream_options are for stream: true"),
        ({"negative_prompt": "x"}, "guidance_scale", "negative_prompt needs a weight"),
        ({"min_tokens": 17}, "min_tokens", "min_tokens is 17 and max_tokens 16; at most as many"),
        ({"structured_outputs": {}}, "structured_outputs", "give exactly one of json"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs", "expression '(' cannot be"),
        ({"guided_regex": "a"}, "guided_regex", "its newer name is structured_outputs: {regex: "),
        ({"response_format": {"type": "json_schema"}}, "response_format", "has no json_schema"),
        (
            {"structured_outputs": {"regex": "a"}, "ignore_eos": True},
            "ignore_eos",
            "a text that matches must be able to end",
        ),
        ({"num_beams": 2, "logprobs": 1}, "logprobs", "logprobs are not there for beams"),
        ({"num_beams": 2, "temperature": 1.0}, "temperature", "beams are not sampled"),
        ({"prompt": "\ud800"}, None, "cannot be encoded as UTF-8"),
    ],
)
def test_wrong_fields_are_named(http, fields, param, message):
    body = json.dumps({"prompt": PROMPT, **fields})
    response = http.post(
        "/v1/completions", content=body, headers={"Content-Type": "application/json"}
    )
    error = response.json()["error"]
    assert response.status_code == 400, error
    assert message in error["message"]
    assert error["param"] == param
    assert error["message"].isprintable()


def test_fields_that_change_nothing_are_passed_over(client):
    client.completions.create(
        model="tiny", prompt=PROMPT, user="me", max_tokens=1,
        extra_body={"metadata": {"a": "b"}, "store": False, "service_tier": "auto"},
    )  # fmt: skip


def test_an_unknown_model_is_named_with_those_there_are(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="gpt-9", prompt=PROMPT)
    assert "there is no model 'gpt-9'; these are served: tiny" in caught.value.message
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("content", "headers", "message"),
    [
        ("{", {"Content-Type": "application/json"}, "the body is no JSON"),
        ("[]", {"Content-Type": "application/json"}, "the body is wrong"),
        ("", {"Content-Type": "application/json"}, "the body is empty; send a JSON object"),
        ("{}", {"Content-Type": "text/plain"}, "send the header Content-Type: application/json"),
    ],
)
def test_bodies_that_are_no_json_are_refused(http, content, headers, message):
    response = http.post("/v1/completions", content=content, headers=headers)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
