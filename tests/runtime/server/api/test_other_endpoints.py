"""Embeddings, tokens, models and the version."""

import base64

import httpx
import numpy as np
import openai
import pytest

import gptneo_onnx

TEXTS = ["She was née", "He"]


def hidden_states(tiny, text):
    """The last layer's hidden states of a text, float64 [tokens, hidden]."""
    ids = tiny.tokenizer.encode(text)
    output = tiny.model(np.array([ids]), output_hidden_states=[-1])
    return np.asarray(output.hidden_states[-1][0], np.float64)


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_embeddings_pool_the_last_hidden_states(client, tiny, pooling):
    result = client.embeddings.create(
        model="tiny", input=TEXTS, encoding_format="float", extra_body={"pooling": pooling}
    )
    for text, each in zip(TEXTS, result.data, strict=True):
        states = hidden_states(tiny, text)
        pooled = states.mean(axis=0) if pooling == "mean" else states[-1]
        assert each.embedding == pytest.approx(unit(pooled), abs=1e-5)
    assert [each.index for each in result.data] == [0, 1]
    assert result.usage.prompt_tokens == sum(len(tiny.tokenizer.encode(text)) for text in TEXTS)


def test_embeddings_come_as_bytes_too(http, client):
    numbers = http.post("/v1/embeddings", json={"input": TEXTS[0]}).json()["data"][0]["embedding"]
    packed = http.post(
        "/v1/embeddings", json={"input": TEXTS[0], "encoding_format": "base64"}
    ).json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(packed), "<f4") == pytest.approx(numbers)
    # OpenAI's client asks for them by itself.
    own = client.embeddings.create(model="tiny", input=TEXTS[0]).data[0].embedding
    assert own == pytest.approx(numbers)


def test_embeddings_take_tokens_and_keep_lengths_where_that_is_asked_for(http, tiny):
    ids = [tiny.tokenizer.encode(text) for text in TEXTS]
    by_text = http.post("/v1/embeddings", json={"input": TEXTS, "normalize": False}).json()
    by_ids = http.post("/v1/embeddings", json={"input": ids, "normalize": False}).json()
    assert by_text == by_ids
    assert by_text["data"][0]["embedding"] == pytest.approx(
        hidden_states(tiny, TEXTS[0]).mean(axis=0), abs=1e-4
    )


def test_many_texts_are_embedded_at_once(http):
    response = http.post("/v1/embeddings", json={"input": ["a"] * 300})
    vectors = [each["embedding"] for each in response.json()["data"]]
    assert vectors == [vectors[0]] * 300


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dimensions": 8}, "dimensions is not supported: vectors have the model's size"),
        ({"input": [1] * 513}, "a text of input has 513 tokens, more than the model's context"),
        ({"input": [5000]}, "input has the token id 5000; 0 to 4095 are allowed"),
        ({"encoding_format": "hex"}, "encoding_format is 'hex'; input should be 'float' or"),
    ],
)
def test_wrong_embedding_requests_are_refused(http, fields, message):
    response = http.post("/v1/embeddings", json={"input": "a", **fields})
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


def test_a_model_without_hidden_states_says_so(export_shape, tmp_path):
    from api_server import model_server, served_model

    from gptneo_onnx.models import EMBEDDED_CHECKPOINT
    from gptneo_onnx.runtime import Tokenizer

    tokenizer = Tokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    export = export_shape(graph=("fused", "portable"), hidden_states=[0])
    model = served_model(export, tokenizer=tokenizer, file_name="portable.onnx")
    with model_server(model) as address:
        response = httpx.post(f"{address}/v1/embeddings", json={"input": [1, 2]})
        [card] = httpx.get(f"{address}/v1/models").json()["data"]
    assert card["capabilities"] == {"completions": True, "chat": False, "embeddings": False}
    assert response.status_code == 400
    assert "export the checkpoint with --hidden-states" in response.json()["error"]["message"]


def test_texts_are_encoded_and_decoded(http, tiny):
    text = "She was née"
    encoded = http.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    ids = tiny.tokenizer.encode(text)
    assert encoded["tokens"] == ids
    assert (encoded["count"], encoded["max_model_len"]) == (len(ids), 512)
    assert encoded["token_strs"][:2] == ["She", " was"]
    assert http.post("/detokenize", json={"tokens": ids}).json() == {"prompt": text}
    assert http.post("/tokenize", json={"prompt": ""}).json()["tokens"] == []


def test_tokens_that_a_model_lacks_are_named(http):
    response = http.post("/detokenize", json={"tokens": [1, 4096]})
    assert response.status_code == 400
    assert "tokens has the token id 4096" in response.json()["error"]["message"]
    response = http.post("/tokenize", json={})
    assert response.json()["error"]["message"].endswith("give a prompt, or messages")


def test_chats_are_encoded_as_they_are_answered(chat_address):
    with httpx.Client(base_url=chat_address) as http:
        messages = [{"role": "user", "content": "Hi"}]
        encoded = http.post("/tokenize", json={"messages": messages}).json()
        answer = http.post(
            "/v1/chat/completions",
            json={"messages": messages, "max_tokens": 1, "return_token_ids": True},
        ).json()
        assert encoded["tokens"] == answer["prompt_token_ids"]
        info = http.get("/tokenizer_info").json()
    assert "message.role" in info["chat_template"]
    assert info["eos_token"] == "<|endoftext|>"


def test_models_are_listed(client, tiny):
    [card] = client.models.list().data
    assert (card.id, card.object, card.created) == ("tiny", "model", tiny.created)
    assert client.models.retrieve("tiny") == card
    with pytest.raises(openai.NotFoundError, match="there is no model 'a/b'; these are served"):
        client.models.retrieve("a/b")


def test_a_model_says_what_it_can_be_asked_for(http, chat_address):
    [card] = http.get("/v1/models").json()["data"]
    assert card["capabilities"] == {"completions": True, "chat": False, "embeddings": True}
    [card] = httpx.get(f"{chat_address}/v1/models").json()["data"]
    assert card["capabilities"]["chat"] is True


def test_the_version_is_that_of_the_package(http):
    assert http.get("/version").json() == {"version": gptneo_onnx.__version__}


def test_requests_choose_among_models(embedded_export):
    from api_server import model_server, served_model

    models = [served_model(embedded_export, name) for name in ("org/first", "second")]
    with (
        model_server(*models) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="x") as client,
    ):
        assert [card.id for card in client.models.list()] == ["org/first", "second"]
        assert client.models.retrieve("org/first").id == "org/first"
        for name in ("org/first", "second"):
            answer = client.completions.create(model=name, prompt="She", max_tokens=1)
            assert answer.model == name
            assert models[["org/first", "second"].index(name)].engine.scheduler.waiting == 0
