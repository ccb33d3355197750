"""GET /health and /ready."""

import asyncio

import httpx
from prometheus_client import CollectorRegistry
from server_thread import running

from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.scheduling import AsyncEngine
from gptneo_onnx.runtime.server.app import create_app
from gptneo_onnx.runtime.server.served_model import ServedModel


def test_a_server_whose_scheduler_has_ended_asks_to_be_restarted(embedded_export):
    model = GPTNeoForCausalLM.from_pretrained(embedded_export, "cpu")
    engine = AsyncEngine(model)
    served = ServedModel("tiny", model, Tokenizer.from_pretrained(embedded_export), engine)
    with running(create_app([served], registry=CollectorRegistry())) as url:
        alive = httpx.get(f"{url}/health")
        asyncio.run(engine.close())
        dead = httpx.get(f"{url}/health")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (dead.status_code, dead.json()) == (503, {"status": "failed"})


def test_a_server_that_drains_lives_and_is_not_ready():
    app = create_app([], registry=CollectorRegistry())
    with running(app) as url:
        ready = httpx.get(f"{url}/ready")
        app.state.server.is_draining = True
        draining = httpx.get(f"{url}/ready")
        assert httpx.get(f"{url}/health").status_code == 200
    assert ready.status_code == 200
    assert draining.status_code == 503
    assert int(draining.headers["retry-after"]) > 0
