"""What a model's generation_config.json sets replaces the defaults of OpenAI's API, as in vLLM."""

import httpx
import pytest
from api_server import model_server, served_model

from gptneo_onnx.runtime import GenerationConfig
from gptneo_onnx.runtime.scheduling import AsyncEngine
from gptneo_onnx.runtime.server.served_model import ServedModel

OWN = {"temperature": 0.5, "top_k": 7, "top_p": 0.8, "repetition_penalty": 1.4}
FIELDS = {"prompt": "She was", "seed": 3, "return_token_ids": True}


@pytest.fixture(scope="module")
def served(embedded_export):
    """The embedded model with a generation_config.json."""
    plain = served_model(embedded_export)
    plain.engine.scheduler.close()
    model = plain.model
    model.generation_config = GenerationConfig(
        **OWN, eos_token_id=[0, 12], max_new_tokens=9, num_beams=4, do_sample=False
    )
    return ServedModel("tiny", model, plain.tokenizer, AsyncEngine(model))


@pytest.fixture(scope="module")
def http(served):
    with model_server(served) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def tokens(http, **fields):
    response = http.post("/v1/completions", json={**FIELDS, **fields})
    return response.json()["choices"][0]["token_ids"]


def generated(served, **arguments):
    ids = served.tokenizer.encode("She was")
    arguments = {"do_sample": True, "num_beams": 1, "seed": 3, **arguments}
    return served.model.generate([ids], **arguments)[0, len(ids) :].tolist()


def test_the_models_settings_count_where_a_request_says_nothing(http, served):
    found = tokens(http)
    assert found == generated(served)
    assert len(found) <= 9
    assert found != generated(served, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)


def test_a_requests_fields_count_more(http, served):
    fields = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    found = tokens(http, **fields, max_tokens=12)
    assert found == generated(served, **fields, max_new_tokens=12)


def test_the_models_end_tokens_end_a_text(http):
    bias = {"logit_bias": {"12": 100}, "temperature": 0}
    assert tokens(http, **bias) == [12]


def test_beams_are_for_requests_that_ask(http, served):
    assert tokens(http, temperature=0) == generated(served, do_sample=False)
    assert tokens(http, num_beams=4) == generated(served, do_sample=False, num_beams=4)
