"""Programs that are written for OpenAI's API, with a server of ours."""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from api_server import model_server, served_model
from harness_samples import same

from gptneo_onnx.runtime.server.settings import ServerSettings

NODE_CLIENT = Path(__file__).parent / "openai_client/client.mjs"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
SENTENCES = ("She had been in Bath for a month", "He was a man of sense", "née 😀 née")
TASKS = {
    "last_words": """
output_type: loglikelihood
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' '+text.split(' ')[-1]}}"
metric_list: [{metric: perplexity}, {metric: acc}]
""",
    "choices": """
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: [" and so on", " the", ", she said"]
doc_to_target: 0
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "pages": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""",
    "continued": """
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "."
generation_kwargs: {until: [".", "\\n"], max_gen_toks: 20, do_sample: false}
metric_list: [{metric: exact_match}]
""",
}


@pytest.fixture(scope="module")
def served(embedded_export):
    """The embedded model."""
    return served_model(embedded_export)


@pytest.fixture(scope="module")
def address(served, tmp_path_factory):
    """Where it is served, with a chat template."""
    template = tmp_path_factory.mktemp("chat") / "template.jinja"
    template.write_text(TEMPLATE)
    with model_server(served, settings=ServerSettings(chat_template=template)) as address:
        yield address


def test_openais_client_for_node(address, served):
    folder = Path(os.environ.get("GPTNEO_ONNX_OPENAI_NODE", "nowhere")).absolute()
    if not folder.is_dir():
        pytest.skip("needs openai for Node: make test-peers installs it where there is npm")
    shutil.copy(NODE_CLIENT, folder)
    done = subprocess.run(
        ["node", NODE_CLIENT.name, address], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    fields = {"prompt": "She was", "seed": 5, "max_tokens": 12, "logprobs": 1}
    expected = httpx.post(f"{address}/v1/completions", json=fields, timeout=60).json()
    [choice] = expected["choices"]
    assert found["text"] == found["streamed"] == choice["text"]
    assert found["logprobs"] == choice["logprobs"]
    assert found["usage"]["completion_tokens"] == 12
    fields = {"prompt": "user: Hi\nassistant:", "seed": 5, "max_tokens": 8}
    answer = httpx.post(f"{address}/v1/completions", json=fields, timeout=60).json()
    assert found["answer"] == found["answerStreamed"] == answer["choices"][0]["text"]
    vector = httpx.post(f"{address}/v1/embeddings", json={"input": "She was"}, timeout=60).json()
    assert found["embedding"] == pytest.approx(vector["data"][0]["embedding"])
    assert found["models"] == ["tiny"]
    assert found["refusal"]["status"] == 404
    assert found["refusal"]["code"] == "model_not_found"
    assert "these are served: tiny" in found["refusal"]["message"]


@pytest.mark.parametrize("options", [[], ["--no-stream"]])
@pytest.mark.parametrize("is_chat", [False, True])
def test_the_llm_command(address, tmp_path, options, is_chat):
    """https://llm.datasette.io with a model of the file extra-openai-models.yaml."""
    command = os.environ.get("GPTNEO_ONNX_LLM")
    if command is None:
        pytest.skip("needs llm: make test-peers installs it")
    model = {"model_id": "served", "model_name": "tiny", "api_base": f"{address}/v1"}
    (tmp_path / "extra-openai-models.yaml").write_text(
        json.dumps([{**model, "completion": not is_chat}])
    )
    done = subprocess.run(
        [command, "-m", "served", "She was", "-o", "max_tokens", "12", "-o", "seed", "5", *options],
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    prompt = "user: She was\nassistant:" if is_chat else "She was"
    fields = {"prompt": prompt, "seed": 5, "max_tokens": 12}
    expected = httpx.post(f"{address}/v1/completions", json=fields, timeout=60).json()
    assert done.stdout.rstrip("\n") == expected["choices"][0]["text"].rstrip("\n")


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """A folder with the tasks."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES))
    for name, text in TASKS.items():
        (tmp_path / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n"
            f"    test: {rows}\ntest_split: test\nnum_fewshot: 0\n{text}"
        )
    return tmp_path


def evaluated(tasks, kind, **arguments):
    """Run the harness on a model of some kind."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    return lm_eval.simple_evaluate(
        model=kind,
        model_args=arguments,
        tasks=[*TASKS],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )


@pytest.mark.parametrize("concurrent", [1, 4])
def test_the_harness_gives_the_same_numbers_by_http(address, embedded_export, tasks, concurrent):
    """The model local-completions of lm-evaluation-harness, beside the model of this project."""
    for package in ("lm_eval", "tenacity"):
        pytest.importorskip(package, reason="needs lm-eval: make test-peers has it")
    from gptneo_onnx.runtime.evaluation import harness

    ours = evaluated(tasks, harness.NAME, pretrained=str(embedded_export))
    served = evaluated(
        tasks,
        "local-completions",
        model="tiny",
        base_url=f"{address}/v1/completions",
        tokenizer_backend="remote",  # /tokenize and /tokenizer_info
        num_concurrent=concurrent,
        max_length=512,
    )
    for task, metrics in ours["results"].items():
        for name, value in metrics.items():
            if isinstance(value, float) and not math.isnan(value):
                assert served["results"][task][name] == pytest.approx(value, rel=1e-4), name
    for task in TASKS:
        for one, other in zip(ours["samples"][task], served["samples"][task], strict=True):
            assert same(other["filtered_resps"], one["filtered_resps"]), task
