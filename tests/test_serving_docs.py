"""docs/serving.md is true: its Python block and its requests work against a server that runs."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from server_process import serving

from gptneo_onnx.runtime.cli.main import build_parser

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/serving.md").read_text()
EXAMPLES = ROOT / "examples/serving"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(embedded_export):
    with serving(embedded_export, "--served-model-name", "embedded") as server:
        yield server.url


def test_the_python_block_runs(url, capsys):
    pytest.importorskip("openai")
    [block] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block.replace(ADDRESS, url), "docs/serving.md", "exec"), names)
    assert len(names["text"]) > 5
    assert len(capsys.readouterr().out) > 5


def test_the_requests_with_curl_are_answered(url):
    whole, streamed = re.findall(r"^ {4}(curl .*)$", PAGE, re.MULTILINE)
    answer = json.loads(curl(whole.replace(ADDRESS, url)))
    assert answer["usage"]["completion_tokens"] <= 20
    assert curl(streamed.replace(ADDRESS, url)).endswith("data: [DONE]\n\n")


def curl(line: str) -> str:
    command = [*shlex.split(line), "--silent"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_table_has_every_path(url):
    document = json.loads(curl(f"curl {url}/openapi.json"))
    paths = {path.replace("{model}", "NAME") for path in document["paths"]}
    assert len(paths) > 8
    assert not {path for path in paths if f"{path}`" not in PAGE}


def test_the_defaults_are_those_of_the_options():
    options = vars(build_parser().parse_args(["serve"]))
    named = re.findall(r"`--([a-z-]+)(?: [A-Z]+)?`\*{0,2} \(([\w.]+)(?: for each model)?\)", PAGE)
    assert len(named) >= 6
    for option, default in named:
        value = options[option.replace("-", "_")]
        assert default in (str(value), f"{value:g}" if isinstance(value, float) else None), option


def parsed(words: list[str]) -> dict[str, object]:
    """The options of a line that runs the command."""
    program, *arguments = words
    assert Path(program).name == "gptneo-onnx"
    return vars(build_parser().parse_args(arguments))


def test_the_unit_of_systemd_has_options_that_are_known_and_waits_for_the_drain():
    unit = (EXAMPLES / "gptneo-onnx.service").read_text()
    [line] = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
    options = parsed(shlex.split(line.replace("\\\n", " ")))
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert options["drain_seconds"] < int(stop)
    assert str(options["api_key_file"]) == "${CREDENTIALS_DIRECTORY}/keys"


def test_the_dockerfile_copies_what_there_is_and_starts_the_server():
    text = (EXAMPLES / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.*) /source\S*$", text, re.MULTILINE)
    assert len(copied) == 4
    for path in " ".join(copied).split():
        assert (ROOT / path).exists(), path
    [entry] = re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)
    assert parsed(json.loads(entry))["host"] == "0.0.0.0"
    assert re.search(r"^USER \d+$", text, re.MULTILINE)


def test_the_health_check_of_the_dockerfile_asks_the_server(url):
    text = (EXAMPLES / "Dockerfile").read_text()
    [check] = re.findall(r'^ +"(from urllib.*)"\]$', text, re.MULTILINE)
    port = url.rpartition(":")[2]
    exec(check.replace(":8000", f":{port}"), {})
    with pytest.raises(OSError, match="refused"):
        exec(check.replace(":8000", ":1"), {})
