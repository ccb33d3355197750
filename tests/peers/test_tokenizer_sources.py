"""Tokenizers named by a hub id, of other packages, and changed by arguments, as in transformers."""

import numpy as np
import pytest
import wild_tokenizer
from fake_hub_cache import cache_files
from refusals import refused
from tokenizer_checks import check_attributes, check_calls, check_vocabulary
from wild_tokenizer import END_OF_TEXT, TEXTS, write_vocabulary

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.runtime import Tokenizer, pipeline

DRAWS = 25


@pytest.fixture(autouse=True)
def transformers():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    return transformers


def same_texts(theirs, ours):
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs.encode(text), text
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(
            text, add_special_tokens=False
        )
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(ids, skip), text


def drawn(transformers, tmp_path, random):
    """Directories that transformers reads, with what it reads."""
    for number in range(DRAWS):
        directory = wild_tokenizer.Draw(tmp_path / str(number), random).write()
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(directory)
        except (ValueError, TypeError):
            continue
        if {*theirs.get_vocab()} == {*Tokenizer.from_pretrained(directory).get_vocab()}:
            yield directory, theirs


def test_hub_ids_are_read_from_the_same_cache(transformers, tmp_path, random):
    cache = tmp_path / "cache"
    compared = 0
    for directory, _ in drawn(transformers, tmp_path, random):
        compared += 1
        hub_id = f"owner/name{compared}" if compared % 2 else f"name{compared}"
        place = {
            "revision": ["main", "v1.0", "refs/pr/3"][compared % 3],
            "subfolder": ["", "tokenizer"][compared % 2],
        }
        snapshot = cache_files(cache, hub_id, directory, **place)
        place["revision"] = [place["revision"], snapshot.name][compared % 2]
        arguments = {"cache_dir": cache, "local_files_only": True, "use_fast": True, **place}
        theirs = transformers.AutoTokenizer.from_pretrained(hub_id, **arguments)
        ours = Tokenizer.from_pretrained(hub_id, **arguments)
        assert ours.name_or_path == theirs.name_or_path
        check_attributes(theirs, ours)
        same_texts(theirs, ours)
    assert compared > DRAWS // 2


def test_slow_tokenizers(transformers, tmp_path, random):
    compared = decoded = gaps = 0
    for directory, _ in drawn(transformers, tmp_path, random):
        if not (directory / "vocab.json").is_file() or not (directory / "merges.txt").is_file():
            continue
        try:
            theirs = transformers.GPT2Tokenizer.from_pretrained(directory)
        except (ValueError, TypeError):
            continue
        if sorted(theirs.get_vocab().values()) != [*range(len(theirs))]:
            with refused(InputError, "which leaves a gap; a fast tokenizer gives it"):
                Tokenizer.coerce(theirs)
            with refused(InputError, "which leaves a gap; a fast tokenizer gives it"):
                export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", tokenizer=theirs)
            gaps += 1
            continue
        ours = Tokenizer.coerce(theirs)
        assert ours.get_vocab() == theirs.get_vocab()
        compared += 1
        theirs.padding_side = "left"
        assert Tokenizer.coerce(theirs).padding_side == "left"
        assert ours.special_tokens_map.keys() == theirs.special_tokens_map.keys()
        assert {*ours.all_special_ids} == {*theirs.all_special_ids}
        fast = transformers.GPT2TokenizerFast.from_pretrained(directory)
        for text in TEXTS:
            ids = theirs.encode(text)
            if fast.encode(text) != ids:  # else its own classes disagree, as about decoding below
                continue
            assert ours.encode(text) == ids, text
            for skip in (True, False):
                try:
                    expected = theirs.decode(ids, skip, spaces_between_special_tokens=False)
                except KeyError:  # an added token that it takes for letters of the vocabulary
                    continue
                if fast.decode(ids, skip) == expected:
                    decoded += 1
                    assert ours.decode(ids, skip) == expected, (text, skip)
    assert compared > 5
    assert decoded > 5 * compared
    assert gaps


def test_the_embedded_models_tokenizer_in_every_form(transformers, tmp_path):
    fast = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    ours = Tokenizer.coerce(fast)
    check_attributes(fast, ours)
    check_vocabulary(fast, ours)
    file = EMBEDDED_CHECKPOINT / "tokenizer.json"
    for given in (file, fast.backend_tokenizer):
        alone = Tokenizer.coerce(given)
        theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
        assert alone.special_tokens_map == theirs.special_tokens_map
        same_texts(theirs, alone)
    fast.save_pretrained(tmp_path)  # with vocab.json and merges.txt
    slow = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    same_texts(slow, Tokenizer.coerce(slow))


def test_a_file_with_padding_and_truncation(transformers, tmp_path):
    fast = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    backend = fast.backend_tokenizer
    backend.enable_padding(direction="left", pad_token=END_OF_TEXT, pad_id=0)
    backend.enable_truncation(5, direction="left")
    backend.save(str(tmp_path / "tokenizer.json"))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    for ours in (Tokenizer.coerce(backend), Tokenizer.coerce(tmp_path / "tokenizer.json")):
        check_attributes(theirs, ours)


@pytest.mark.parametrize("form", ["fast", "slow", "backend"])
def test_exports_take_tokenizers_of_transformers(transformers, tmp_path, form):
    fast = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    fast.save_pretrained(tmp_path / "files")
    slow = transformers.GPT2Tokenizer.from_pretrained(tmp_path / "files")
    given = {"fast": fast, "slow": slow, "backend": fast.backend_tokenizer}[form]
    out = export_model(EMBEDDED_CHECKPOINT, tmp_path / "out", tokenizer=given)
    same_texts(fast, Tokenizer.from_pretrained(out))
    same_texts(fast, transformers.AutoTokenizer.from_pretrained(out))
    call = {"max_new_tokens": 4, "do_sample": False}
    expected = pipeline("text-generation", model=out)("She was", **call)
    passed = pipeline("text-generation", model=out, tokenizer=given)
    assert passed("She was", **call) == expected


def drawn_changes(transformers, random):
    def choice(*values):
        return values[random.integers(len(values))]

    added = transformers.AddedToken("<new>", special=True, normalized=bool(random.random() < 0.5))
    every = {
        "pad_token": choice("[PAD]", "h", added),
        "eos_token": choice("<s>", END_OF_TEXT),
        "padding_side": "left",
        "truncation_side": "left",
        "model_max_length": choice(7, 100),
        "additional_special_tokens": choice(["<a>", "<b>"], [added]),
        "clean_up_tokenization_spaces": choice(True, False),
        "split_special_tokens": choice(True, False),
        "add_prefix_space": choice(True, False),
    }
    return {name: value for name, value in every.items() if random.random() < 0.35}


def test_arguments_in_place_of_entries(transformers, tmp_path, random):
    compared = 0
    for directory, _ in drawn(transformers, tmp_path, random):
        changes = drawn_changes(transformers, random)
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(directory, **changes)
        except (ValueError, TypeError):
            continue
        ours = Tokenizer.from_pretrained(directory, **changes)
        if {*theirs.get_vocab()} != {*ours.get_vocab()}:
            continue
        compared += 1
        check_attributes(theirs, ours)
        same_texts(theirs, ours)
        check_calls(theirs, ours)
    assert compared > DRAWS // 3
    write_vocabulary(tmp_path / "last")
    ids = Tokenizer.from_pretrained(tmp_path / "last", padding_side="left", pad_token="h")(
        ["h", "hello h"], padding=True, return_tensors="np"
    ).input_ids
    assert ids.dtype == np.int64
