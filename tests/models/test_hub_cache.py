"""Where Hugging Face's cache is, and what it has of a hub id."""

from pathlib import Path

import pytest
from fake_hub_cache import cache_files

from gptneo_onnx.models.hub_cache import cached_snapshot, hub_cache_folder, is_hub_id

VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "tokenizer.json").write_text("{}")
    return tmp_path / "files"


def test_the_environment_says_where_it_is(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/anne")
    assert hub_cache_folder() == Path("/home/anne/.cache/huggingface/hub")
    monkeypatch.setenv("XDG_CACHE_HOME", "~/caches")
    assert hub_cache_folder() == Path("/home/anne/caches/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "$HOME/hf")
    assert hub_cache_folder() == Path("/home/anne/hf/hub")
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "/old")
    assert hub_cache_folder() == Path("/old")
    monkeypatch.setenv("HF_HUB_CACHE", "/new")
    assert hub_cache_folder() == Path("/new")


def test_a_revision_is_a_branch_a_tag_or_a_commit(tmp_path, files):
    cache = tmp_path / "cache"
    main = cache_files(cache, "owner/name", files)
    tag = cache_files(cache, "owner/name", files, "refs/pr/1")
    assert cached_snapshot("owner/name", cache_dir=cache) == main
    assert cached_snapshot("owner/name", "main", str(cache)) == main
    assert cached_snapshot("owner/name", "refs/pr/1", cache) == tag
    assert cached_snapshot("owner/name", main.name, cache) == main
    assert (main / "tokenizer.json").read_text() == "{}"


@pytest.mark.parametrize("revision", ["v2", "../main", "/etc", "", "x" * 5000, "a\0b"])
def test_what_is_not_in_it_is_none(tmp_path, files, revision):
    cache = tmp_path / "cache"
    main = cache_files(cache, "owner/name", files)
    assert cached_snapshot("owner/other", revision, cache) is None
    found = cached_snapshot("owner/name", revision, cache)
    assert found == (None if revision else main)


@pytest.mark.parametrize("content", ["", "..", "../../files", "/etc", "x" * 201])
def test_a_damaged_reference_leads_nowhere(tmp_path, files, content):
    cache = tmp_path / "cache"
    main = cache_files(cache, "owner/name", files)
    (main.parent.parent / "refs" / "main").write_text(content)
    assert cached_snapshot("owner/name", cache_dir=cache) is None


@pytest.mark.parametrize("name", ["gpt2", "EleutherAI/gpt-neo-125m", "a/b_c.d"])
def test_hub_ids(name):
    assert is_hub_id(name)


@pytest.mark.parametrize("name", ["", "not there", "a/b/c", "../x", "/a", "a..b", ".", "x" * 97])
def test_other_names(name):
    assert not is_hub_id(name)
