"""The files beside a vocabulary: each input is one JSON object that holds them all by name."""

import json
from pathlib import Path

from fuzzing import Target, mutate_json
from wild_tokenizer import vocabulary

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import Tokenizer

_END = {"content": "<|endoftext|>", "special": True, "normalized": False, "lstrip": True}


def seeds() -> list[bytes]:
    tokens, merges = vocabulary()
    files = {
        "vocab.json": tokens,
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
        "config.json": {"model_type": "gpt_neo"},
    }
    embedded = json.loads((EMBEDDED_CHECKPOINT / "tokenizer_config.json").read_text())
    configs = [
        embedded,
        {"add_bos_token": True, "bos_token": _END, "model_max_length": 9, "padding_side": "left"},
        {"tokenizer_class": "CodeGenTokenizerFast", "chat_template": "{{ messages }}"},
        {"added_tokens_decoder": {"300": _END}, "split_special_tokens": True},
        {"extra_special_tokens": {"image_token": "<img>"}, "additional_special_tokens": ["<a>"]},
        {"chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}]},
    ]
    documents = [files | {"tokenizer_config.json": config} for config in configs]
    older = {"special_tokens_map.json": {"eos_token": _END}, "added_tokens.json": {"<b>": 270}}
    template = {"chat_template.jinja": "{{ messages[0].content }}"}
    return [json.dumps(each).encode() for each in (*documents, files | older, files | template)]


def run(data: bytes, folder: Path) -> None:
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        files = {"tokenizer_config.json": data.decode(errors="replace")}
    for name, value in files.items() if isinstance(files, dict) else ():
        if name in ("config.json", "chat_template.jinja") or name in _READ:
            text = value if isinstance(value, str) else json.dumps(value)
            (folder / name).write_text(text, errors="surrogatepass")
    tokenizer = Tokenizer.from_pretrained(folder)
    ids = tokenizer.encode("hello <|endoftext|> <b><img>")
    tokenizer.decode(ids, skip_special_tokens=True)
    repr(tokenizer)
    assert len(tokenizer.all_special_ids) < 1000
    if tokenizer.chat_template is not None:
        tokenizer.apply_chat_template([{"role": "user", "content": "hello"}])


_READ = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
         "added_tokens.json")  # fmt: skip
TARGET = Target(seeds, run, mutate_json)
