"""docs/troubleshooting.md quotes messages as they are: each is provoked here."""

import errno
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from overflowing_checkpoint import overflowing_checkpoint
from safetensors.numpy import load_file, save_file

from gptneo_onnx import (
    GPTNeoForCausalLM,
    GPTNeoForSequenceClassification,
    PromptCache,
    StructuredOutput,
    Tokenizer,
)
from gptneo_onnx.export import export_model
from gptneo_onnx.export.output_directory import write_error
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import GPTNeoOnnxError
from gptneo_onnx.runtime.onnx_runtime import check_onnx_runtime, require_onnx_runtime

PAGE = Path(__file__).parent.parent / "docs/troubleshooting.md"
MESSAGES = re.findall(r"^### `(.*)`$", PAGE.read_text(), re.MULTILINE)
IDS = [[3, 4]]


class Cases:
    """What provokes each message: its method's docstring is the message, as the page has it."""

    def __init__(self, folder: Path, export: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.export, self.patch = folder, export, patch

    @property
    def model(self) -> GPTNeoForCausalLM:
        return GPTNeoForCausalLM.from_pretrained(self.export)

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_pretrained(self.export)

    def copy(self, directory: Path) -> Path:
        return Path(shutil.copytree(directory, self.folder / "copy"))

    def without(self, package: str) -> None:
        self.patch.setitem(sys.modules, package, None)

    def no_runtime(self):
        """running a model needs ONNX Runtime: pip install 'gptneo-onnx[cpu]'"""
        self.without("onnxruntime")
        require_onnx_runtime()

    def old_runtime(self):
        """this model needs ONNX Runtime ... or later, and ... is installed"""
        check_onnx_runtime("999.0")

    def no_onnx(self):
        """exporting needs ..., which is not installed"""
        code = "import sys; sys.modules['onnx'] = None; import gptneo_onnx.export"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 1
        raise GPTNeoOnnxError(run.stderr.splitlines()[-1])

    def no_hub(self):
        """fetching from the hub needs huggingface_hub"""
        self.without("huggingface_hub")
        export_model("owner/name", self.folder / "out")

    def no_llguidance(self):
        """structured output needs llguidance"""
        self.without("llguidance")
        StructuredOutput.from_regex(self.tokenizer, "a|b")

    def no_jinja(self):
        """chat templates need jinja2"""
        self.without("jinja2")
        chat = [{"role": "user", "content": "She was"}]
        self.tokenizer.apply_chat_template(chat, chat_template="{{ messages }}")

    def no_checkpoint(self):
        """... is not a directory; pass ..., or a hub id"""
        export_model(self.folder / "nowhere", self.folder / "out")

    def offline(self):
        """... cannot be fetched from the hub (...)"""
        self.patch.setenv("HF_HUB_CACHE", str(self.folder))
        export_model("owner/name", self.folder / "out")

    def no_config(self):
        """config.json is missing: copy that of the model that was trained"""
        checkpoint = self.copy(EMBEDDED_CHECKPOINT)
        (checkpoint / "config.json").unlink()
        export_model(checkpoint, self.folder / "out")

    def other_model(self):
        """model_type is ...; only 'gpt_neo' can be used"""
        checkpoint = self.copy(EMBEDDED_CHECKPOINT)
        config = json.loads((checkpoint / "config.json").read_text())
        (checkpoint / "config.json").write_text(json.dumps({**config, "model_type": "gptj"}))
        export_model(checkpoint, self.folder / "out")

    def pointer(self):
        """... is a Git LFS pointer, not the file itself"""
        checkpoint = self.copy(EMBEDDED_CHECKPOINT)
        text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        (checkpoint / "model.safetensors").write_text(text)
        export_model(checkpoint, self.folder / "out")

    def adapter(self):
        """... holds only a PEFT adapter"""
        (self.folder / "adapter_config.json").write_text("{}")
        (self.folder / "adapter_model.safetensors").write_bytes(b"")
        export_model(self.folder, self.folder / "out")

    def quantized(self):
        """... export the float checkpoint that they were made from"""
        checkpoint = self.copy(EMBEDDED_CHECKPOINT)
        tensors = load_file(checkpoint / "model.safetensors")
        tensors["transformer.h.0.mlp.c_fc.qweight"] = np.zeros((2, 2), np.int32)
        save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
        export_model(checkpoint, self.folder / "out")

    def occupied(self):
        """... is not empty and not an exported model; name another directory"""
        (self.folder / "letters.txt").write_text("mine")
        export_model(EMBEDDED_CHECKPOINT, self.folder)

    def full_disk(self):
        """... cannot be written: the disk is full"""
        raise write_error(self.folder, OSError(errno.ENOSPC, "No space left on device"))

    def overflow(self):
        """... are not finite numbers"""
        random = np.random.default_rng(1)
        checkpoint = overflowing_checkpoint(self.folder / "checkpoint", random)
        tensors = load_file(checkpoint / "model.safetensors")
        tensors["transformer.wte.weight"][:, 0] = 60_000
        save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
        export_model(checkpoint, self.folder / "out", precision="fp16")

    def no_cuda(self):
        """device ... cannot be used: the installed ONNX Runtime has no CUDAExecutionProvider"""
        GPTNeoForCausalLM.from_pretrained(self.export, device="cuda")

    def no_precision(self):
        """precision is ..., and ... has ...; name one of these"""
        GPTNeoForCausalLM.from_pretrained(self.export, precision="int4")

    def no_graph(self):
        """file_name is ...; ... has ..."""
        GPTNeoForCausalLM.from_pretrained(self.export, file_name="portable.onnx")

    def no_head(self):
        """... lacks the head of ..."""
        GPTNeoForSequenceClassification.from_pretrained(self.export)

    def changed(self):
        """... was changed since the export (its SHA-256 differs)"""
        copy = self.copy(self.export)
        text = (copy / "config.json").read_text()
        (copy / "config.json").write_text(text.replace("gelu_new", "gelu_old"))
        GPTNeoForCausalLM.from_pretrained(copy)

    def other_version(self):
        """... this version reads ...: export the checkpoint again, or update gptneo-onnx"""
        copy = self.copy(self.export)
        manifest = json.loads((copy / "gptneo_onnx.json").read_text())
        (copy / "gptneo_onnx.json").write_text(json.dumps({**manifest, "format_version": 99}))
        GPTNeoForCausalLM.from_pretrained(copy)

    def link(self):
        """... links out of its directory; copy the file instead"""
        copy = self.copy(self.export)
        (copy / "config.json").unlink()
        (copy / "config.json").symlink_to(self.export / "config.json")
        GPTNeoForCausalLM.from_pretrained(copy)

    def hostile_tokenizer(self):
        """... is not a tokenizer that is accepted: ..."""
        copy = self.copy(self.export)
        content = json.loads((copy / "tokenizer.json").read_text())
        content["pre_tokenizer"] = {"type": "FixedLength", "length": 0}
        (copy / "tokenizer.json").write_text(json.dumps(content))
        Tokenizer.from_pretrained(copy)

    def no_tokenizer(self):
        """... has no tokenizer.json"""
        Tokenizer.from_pretrained(self.folder)

    def unknown_argument(self):
        """generate() has no argument ..."""
        self.model.generate(IDS, max_lenght=9)

    def unsupported(self):
        """... is not supported; leave it at ..."""
        self.model.generate(IDS, penalty_alpha=0.6, top_k=4)

    def long_prompt(self):
        """sequence ... of input_ids has ... tokens, the model's context ...; shorten it"""
        self.model.generate([[3] * 600])

    def long_text(self):
        """max_new_tokens is ... and the prompt has ... tokens, more than the context of ..."""
        self.model.generate(IDS, max_new_tokens=5000)

    def right_padding(self):
        """sequence ... of input_ids is padded on the right; to generate, pad on the left"""
        self.model.generate([[3, 4], [3, 0]], attention_mask=[[1, 1], [1, 0]])

    def no_pad_token(self):
        """the tokenizer has no pad_token to pad with"""
        self.tokenizer(["She", "It is a truth"], padding=True)

    def ragged(self):
        """the texts have different numbers of tokens; pass padding=True"""
        self.tokenizer(["She", "It is a truth"], return_tensors="np")

    def cold(self):
        """temperature is ...; a number above 0 is allowed"""
        self.model.generate(IDS, do_sample=True, temperature=-1.0)

    def greedy_results(self):
        """num_return_sequences is ..., but greedy decoding has one result per prompt"""
        self.model.generate(IDS, num_return_sequences=3)

    def stop_strings(self):
        """stop_strings are looked for in text, and there is no tokenizer"""
        self.model.generate(IDS, stop_strings=["."])

    def wrong_id(self):
        """token id ... of input_ids is out of range"""
        self.model.generate([[50256]])

    def no_layer(self):
        """the graph does not give hidden states of layer ..."""
        self.model(IDS, output_hidden_states=True)

    def other_cache(self):
        """the prompt cache was made by another model"""
        small = export_model(EMBEDDED_CHECKPOINT, self.folder / "int4", precision="int4")
        cache = GPTNeoForCausalLM.from_pretrained(small).prefill(IDS)
        assert isinstance(cache, PromptCache)
        self.model.generate([[3, 4, 5]], past_key_values=cache)

    def calls_itself(self):
        """... cannot call the model that is calling it"""
        model = self.model
        for _ in model.generate_tokens(IDS, max_new_tokens=2):
            model.generate(IDS)

    def no_template(self):
        """the tokenizer has no chat template"""
        self.tokenizer.apply_chat_template([{"role": "user", "content": "She was"}])


CASES: dict[str, Callable[[Cases], object]] = {
    method.__doc__: method
    for name, method in vars(Cases).items()
    if callable(method) and method.__doc__ and not name.startswith("_")
}


def test_every_message_of_the_page_is_provoked_here():
    assert sorted(MESSAGES) == sorted(CASES)
    assert len(set(MESSAGES)) == len(MESSAGES) > 25


@pytest.mark.parametrize("message", CASES)
def test_the_message_is_as_the_page_has_it(message, tmp_path, embedded_export, monkeypatch):
    with pytest.raises(GPTNeoOnnxError) as caught:
        CASES[message](Cases(tmp_path, embedded_export, monkeypatch))
    pattern = ".*".join(map(re.escape, message.split("...")))
    assert re.search(pattern, str(caught.value))


def test_every_message_has_advice():
    parts = re.split(r"^### .*$", PAGE.read_text().partition("## Without")[0], flags=re.MULTILINE)
    assert all(len(re.sub(r"^#.*$", "", part, flags=re.MULTILINE).split()) > 5 for part in parts)
