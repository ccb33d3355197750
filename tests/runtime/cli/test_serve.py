"""gptneo-onnx serve as a process: it starts and answers, or says why it does not."""

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from server_process import serving

from gptneo_onnx.runtime.cli.main import main


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command until it ends."""
    command = [sys.executable, "-m", "gptneo_onnx", "serve", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | environment
    )


def refusal(*arguments: object, **environment: str) -> str:
    """Return the one line that a command that cannot serve says."""
    ended = run(*arguments, **environment)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr.removeprefix("gptneo-onnx: error: ").removesuffix("\n")


def ask(url: str, **fields: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/completions", json=fields, timeout=120)


# It starts and answers.


def test_it_answers_what_generate_prints(embedded_export, capsys):
    words = ["generate", str(embedded_export), "It is a truth", "-n", "20", "--no-do-sample"]
    assert main([*words, "--quiet", "--no-stream", "--batch-invariant"]) == 0
    text = capsys.readouterr().out.removesuffix("\n")
    with serving(embedded_export) as server:
        answer = ask(server.url, prompt="It is a truth", max_tokens=20, temperature=0)
    assert answer.status_code == 200
    assert "It is a truth" + answer.json()["choices"][0]["text"] == text


def test_without_a_model_it_serves_the_embedded_one():
    with serving() as server:
        [model] = httpx.get(f"{server.url}/v1/models").json()["data"]
        assert model["id"] == "embedded"
        assert httpx.get(f"{server.url}/ready").json() == {"status": "ready"}
        said = server.log.read_text()
    assert said.startswith(f"serving embedded on {server.url}\n")


def test_several_models_are_chosen_by_name(embedded_export):
    options = ["--served-model-name", "first", "--served-model-name", "alias"]
    with serving(*options, "-m", f"a={embedded_export}", "-m", f"b={embedded_export}") as server:
        models = httpx.get(f"{server.url}/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["first", "alias", "b"]
        for name in ("first", "alias", "b"):
            assert ask(server.url, model=name, prompt="She", max_tokens=1).json()["model"] == name
        assert ask(server.url, model="a", prompt="She").status_code == 404
        metrics = httpx.get(f"{server.url}/metrics").text
    for name, count in (("first", 2), ("b", 1)):  # an alias counts as the model that it names
        assert f'generation_tokens_total{{model_name="{name}"}} {count}.0' in metrics


def test_a_folder_gives_its_name(embedded_export, tmp_path):
    (tmp_path / "gpt-neo-small").symlink_to(embedded_export, target_is_directory=True)
    with serving(tmp_path / "gpt-neo-small") as server:
        [model] = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert model["id"] == "gpt-neo-small"


def test_a_chat_template_makes_chats_possible(embedded_export, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
    with serving(embedded_export, "--chat-template", template) as server:
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=chat)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["role"] == "assistant"


def test_the_environment_may_have_the_key(embedded_export, monkeypatch):
    monkeypatch.setenv("GPTNEO_ONNX_API_KEY", "sk-environment")
    with serving(embedded_export) as server:
        assert httpx.get(f"{server.url}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer sk-environment"}
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200


def test_quiet_says_where_it_is_and_nothing_of_requests(embedded_export):
    with serving(embedded_export, "-q") as server:
        ask(server.url, prompt="She", max_tokens=1)
        said = server.log.read_text()
    assert said == f"serving {embedded_export.name} on {server.url}\n"


def test_a_path_of_a_proxy_is_left_out(embedded_export):
    with serving(embedded_export, "--root-path", "/llm") as server:
        assert httpx.get(f"{server.url}/v1/models").status_code == 200
        document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["servers"] == [{"url": "/llm"}]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(
        [*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True
    )
    return files


def test_it_speaks_https(embedded_export, certificate):
    options = ["--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1]]
    with serving(embedded_export, *options) as server:
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        assert httpx.get(f"{server.url}/health", verify=trusted).status_code == 200


# It does not start, and says why before any port is open.


def test_a_port_in_use_is_named(embedded_export):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(embedded_export, "--port", port)
    assert said == (
        f"port {port} of 127.0.0.1 is in use by another program; end that one, or choose another "
        "with --port (0 picks a free one)"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-model"], "no-such-model"),
        (["--port", "65536"], "--port is 65536; 0 to 65535 is allowed"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid is no address"),
        (["--slots", "0"], "slots is 0; a whole number of at least 1 is allowed"),
        (["--timeout", "0"], "timeout is 0.0; a number of seconds above 0 is allowed"),
        (["--timeout", "nan"], "timeout is nan; a number of seconds above 0 is allowed"),
        (["--drain-seconds", "-1"], "drain_seconds is -1.0; a number of seconds of at least 0"),
        (["--prefix-cache", "much"], "--prefix-cache is 'much'; a number of bytes is allowed"),
        (["--max-body-size", "0"], "max_body_bytes is 0; a whole number of at least 1"),
        (["--api-key-file", "sk-secret"], "--api-key-file names no file; write the keys into one"),
        (["--chat-template", "missing"], "missing"),
        (["--ssl-keyfile", "key"], "--ssl-keyfile needs the certificate too"),
        (["--ssl-certfile", "missing"], "missing cannot be used for https: No such file"),
        (["--model", "a=x", "--model", "a=y"], "two models are called 'a'"),
        (["--model", "=x"], "--model is '=x'; NAME=MODEL is allowed, or MODEL"),
        (["--model", "x="], "--model is 'x='; NAME=MODEL is allowed, or MODEL"),
        (["--served-model-name", ""], "--served-model-name is empty"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refusal("--port", "0", *arguments)
    assert said in line
    assert "sk-secret" not in line


def test_a_chat_template_that_is_none_is_refused(tmp_path):
    (tmp_path / "template").write_text("{% for %}")
    said = refusal("--chat-template", tmp_path / "template", "--port", "0")
    assert said.startswith("the chat template cannot be read")


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "has no key"), ("# nothing\n\n", "has no key"), ("a key\n", "has a key with spaces")],
)
def test_a_file_without_usable_keys_is_refused(content, said, tmp_path):
    (tmp_path / "keys").write_text(content)
    (tmp_path / "keys").chmod(0o600)
    assert said in refusal("--api-key-file", tmp_path / "keys", "--port", "0")


def test_a_file_of_keys_that_others_read_is_told(embedded_export, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n")
    keys.chmod(0o644)
    with serving(embedded_export, "--api-key-file", keys) as server:
        said = server.log.read_text()
    assert f"{keys} can be read by other users of this machine; chmod 600 {keys}" in said


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client"])
def test_a_missing_extra_is_named(package, monkeypatch, capsys):
    for name in [*sys.modules]:
        if name.startswith("gptneo_onnx.runtime.server"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve"]) == 2
    said = capsys.readouterr().err
    assert f"serve needs the package {package}: pip install 'gptneo-onnx[serve]'" in said


def test_tracing_without_its_extra_is_named(embedded_export):
    pytest.importorskip("opentelemetry")
    if importable("opentelemetry.exporter.otlp.proto.http"):
        pytest.skip("the extra is installed")
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert "pip install 'gptneo-onnx[tracing]'" in refusal(embedded_export, **endpoint)


def importable(name: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
