"""POST /v1/chat/completions, which a base model has only by a template that one gives."""

import httpx
import openai
import pytest

MESSAGES = [{"role": "user", "content": "Who was she?"}]
RENDERED = "user: Who was she?\nassistant:"


@pytest.fixture
def http(chat_address):
    with httpx.Client(base_url=chat_address, timeout=120) as client:
        yield client


def refused(http, **fields):
    response = http.post("/v1/chat/completions", json={"messages": MESSAGES, **fields})
    assert response.status_code == 400
    return response.json()["error"]


def test_a_base_model_says_that_it_has_no_template(client):
    with pytest.raises(openai.BadRequestError, match="base model without a chat template") as error:
        client.chat.completions.create(model="tiny", messages=MESSAGES)
    assert "start the server with --chat-template FILE" in error.value.message


def test_an_answer_continues_the_rendered_chat(chat_client):
    fields = {"model": "tiny", "seed": 4, "max_tokens": 12}
    answer = chat_client.chat.completions.create(messages=MESSAGES, **fields)
    text = chat_client.completions.create(prompt=RENDERED, **fields)
    [choice] = answer.choices
    assert choice.message.content == text.choices[0].text
    assert (choice.message.role, choice.finish_reason) == ("assistant", "length")
    assert answer.usage == text.usage


def test_a_stream_is_the_same_answer(chat_client):
    fields = {"model": "tiny", "messages": MESSAGES, "seed": 4, "n": 2, "max_tokens": 12}
    fields |= {"logprobs": True, "top_logprobs": 2}
    whole = chat_client.chat.completions.create(**fields)
    deltas, reasons, tokens = [[], []], [[], []], [[], []]
    *chunks, last = chat_client.chat.completions.create(
        **fields, stream=True, stream_options={"include_usage": True}
    )
    for chunk in chunks:
        [choice] = chunk.choices
        deltas[choice.index].append(choice.delta)
        reasons[choice.index].append(choice.finish_reason)
        tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
    assert (last.choices, last.usage) == ([], whole.usage)
    for choice in whole.choices:
        own = deltas[choice.index]
        assert (own[0].role, own[0].content) == ("assistant", "")
        assert "".join(delta.content or "" for delta in own) == choice.message.content
        assert reasons[choice.index] == [None] * (len(own) - 1) + ["length"]
        assert tokens[choice.index] == choice.logprobs.content


def test_logprobs_have_bytes_and_alternatives(chat_client):
    answer = chat_client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    )
    [choice] = answer.choices
    content = choice.logprobs.content
    assert b"".join(bytes(each.bytes) for each in content).decode() == choice.message.content
    for each in content:
        assert len(each.top_logprobs) == 3
        assert each.top_logprobs[0].token == each.token  # greedy
        assert each.top_logprobs[0].logprob == each.logprob


def test_a_stop_text_ends_an_answer(chat_client):
    fields = {"model": "tiny", "messages": MESSAGES, "temperature": 0, "max_tokens": 30}
    text = chat_client.chat.completions.create(**fields).choices[0].message.content
    choice = chat_client.chat.completions.create(**fields, stop=[text[9:13]]).choices[0]
    assert choice.message.content == text[: text.index(text[9:13])]
    assert choice.finish_reason == "stop"


def test_messages_may_have_parts_and_be_continued(http):
    parts = [{"type": "text", "text": "Who was she?"}]
    fields = {"temperature": 0, "max_tokens": 6, "return_token_ids": True}
    answer = http.post(
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": parts}], **fields},
    ).json()
    plain = http.post("/v1/chat/completions", json={"messages": MESSAGES, **fields}).json()
    assert answer["choices"] == plain["choices"]
    begun = [*MESSAGES, {"role": "assistant", "content": "She was"}]
    continued = http.post(
        "/v1/chat/completions",
        json={"messages": begun, "continue_final_message": True, **fields},
    ).json()
    prompt = RENDERED[: -len("assistant:")] + "assistant: She was"
    text = http.post("/v1/completions", json={"prompt": prompt, **fields}).json()
    assert continued["prompt_token_ids"] == text["choices"][0]["prompt_token_ids"]
    assert continued["choices"][0]["message"]["content"] == text["choices"][0]["text"]


def test_what_a_client_got_may_be_sent_back(chat_client):
    answer = chat_client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=3)
    again = [*MESSAGES, answer.choices[0].message.model_dump(), *MESSAGES]
    chat_client.chat.completions.create(model="tiny", messages=again, max_tokens=3)


def test_without_a_limit_an_answer_may_fill_the_context(http):
    fields = {"temperature": 0, "logit_bias": {"0": -100}, "presence_penalty": 1}
    answer = http.post("/v1/chat/completions", json={"messages": MESSAGES, **fields}).json()
    assert answer["usage"]["total_tokens"] == 513  # the last token is not read


def test_json_is_enforced(chat_client):
    answer = chat_client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=30, seed=1,
        response_format={
            "type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": ["a", "b"]}}},
    )  # fmt: skip
    assert answer.choices[0].message.content in ('"a"', '"b"')


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"tools": [{}]}, "tools", "tools is not supported: the server calls no tools"),
        ({"functions": []}, "functions", "functions is not supported"),
        ({"audio": {}}, "audio", "the models read and write text only"),
        (
            {"modalities": ["audio"]},
            "modalities",
            "modalities.0 is 'audio'; input should be 'text'",
        ),
        ({"messages": []}, "messages", "messages is []"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "messages.0.role is 'tool'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages",
            "image_url is not supported: the models read text only",
        ),
        ({"top_logprobs": 2}, "top_logprobs", "top_logprobs need logprobs: true"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "give one of them"),
        (
            {"chat_template_kwargs": {"messages": 1}},
            "chat_template_kwargs",
            "chat_template_kwargs has 'messages', which is set by other fields",
        ),
        ({"chat_template": "x"}, "chat_template", "the server renders its own only"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(http, fields, param, message):
    error = refused(http, **fields)
    assert message in error["message"]
    assert error["param"] == param
