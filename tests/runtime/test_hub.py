"""Tokenizers that are named by a hub id are read from Hugging Face's cache."""

import sys
import types

import pytest
from fake_hub_cache import cache_files
from refusals import refused
from wild_tokenizer import write_vocabulary

from gptneo_onnx.models import InputError, MissingDependencyError, ModelFileError
from gptneo_onnx.runtime import Tokenizer, pipeline

HUB_ID = "owner/small"


@pytest.fixture
def files(tmp_path):
    return write_vocabulary(tmp_path / "files", model_max_length=33)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch):
    """A hub that is online, and remembers what was asked for; `answer` is what it does."""
    asked = []

    def snapshot_download(hub_id, **arguments):
        asked.append((hub_id, arguments))
        return module.answer()

    module = types.ModuleType("huggingface_hub")
    module.snapshot_download, module.asked = snapshot_download, asked
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return module


def fail():
    raise OSError("no route to host")


def test_the_cache_is_read_without_the_network(files, cache, monkeypatch):
    cache_files(cache, HUB_ID, files)
    cache_files(cache, "small", files)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in (HUB_ID, "small"):
        tokenizer = Tokenizer.from_pretrained(name)
        assert tokenizer.name_or_path == name
        assert tokenizer.model_max_length == 33
        assert tokenizer.encode("hello") == [259]


def test_arguments_say_which_files(files, tmp_path):
    cache, other = tmp_path / "elsewhere", write_vocabulary(tmp_path / "other", has_end=False)
    main = cache_files(cache, HUB_ID, files)
    cache_files(cache, HUB_ID, other, "v2", subfolder="tokenizer")
    found = Tokenizer.from_pretrained(
        HUB_ID,
        cache_dir=cache,
        revision=main.name,
        local_files_only=True,
        token=None,
        use_fast=False,
        trust_remote_code=True,
    )
    assert found.eos_token == "<|endoftext|>"
    found = Tokenizer.from_pretrained(
        HUB_ID, cache_dir=cache, revision="v2", subfolder="tokenizer", padding_side="left"
    )
    assert "<|endoftext|>" not in found.get_vocab()
    assert found.padding_side == "left"


def test_what_is_not_in_the_cache_is_refused(files, cache):
    message = "not in the cache .*cache, and nothing is fetched .*; pass a directory that holds"
    with refused(InputError, f"the tokenizer of owner/small is {message}"):
        Tokenizer.from_pretrained(HUB_ID)
    (files / "merges.txt").unlink()
    cache_files(cache, HUB_ID, files)
    with refused(InputError, message):
        Tokenizer.from_pretrained(HUB_ID)


def test_with_the_network_it_is_fetched(files, hub, tmp_path, cache):
    hub.answer = lambda: files
    found = Tokenizer.from_pretrained(HUB_ID, revision="v2", cache_dir=tmp_path, token="t")
    assert found.encode("hello") == [259]
    [(hub_id, arguments)] = hub.asked
    assert hub_id == HUB_ID
    assert (arguments["revision"], arguments["token"]) == ("v2", "t")
    assert "tokenizer.json" in arguments["allow_patterns"]
    assert not [name for name in arguments["allow_patterns"] if "model" in name]


def test_the_cache_serves_where_the_network_fails(files, hub, cache):
    hub.answer = fail
    with refused(InputError, r"owner/small cannot be fetched from the hub \(no route to host\)"):
        Tokenizer.from_pretrained(HUB_ID)
    main = cache_files(cache, HUB_ID, files)
    assert Tokenizer.from_pretrained(HUB_ID).encode("hello") == [259]
    asked = len(hub.asked)
    Tokenizer.from_pretrained(HUB_ID, revision=main.name)
    Tokenizer.from_pretrained(HUB_ID, local_files_only=True)
    assert len(hub.asked) == asked


def test_a_repository_without_a_tokenizer_is_named(hub, tmp_path):
    hub.answer = lambda: tmp_path
    with refused(ModelFileError, "owner/small has no tokenizer.json"):
        Tokenizer.from_pretrained(HUB_ID)


def test_fetching_needs_a_package(hub, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with refused(MissingDependencyError, "fetching it needs huggingface_hub: pip install"):
        Tokenizer.from_pretrained(HUB_ID)


def test_a_pipeline_takes_a_hub_id(embedded_export, tmp_path):
    cache_files(tmp_path, HUB_ID, embedded_export)
    generator = pipeline(
        "text-generation",
        model=embedded_export,
        tokenizer=HUB_ID,
        cache_dir=tmp_path,
        use_fast=True,
        max_new_tokens=3,
    )
    expected = pipeline("text-generation", model=embedded_export)
    call = {"do_sample": False, "max_new_tokens": 3}
    assert generator("She was", **call) == expected("She was", **call)
    with refused(InputError, "is not in the cache"):
        pipeline("text-generation", model=embedded_export, tokenizer="owner/other")
