"""What a tokenizer's files mean together; tests/peers holds drawn ones against transformers."""

import json

import pytest
from refusals import refused
from wild_tokenizer import END_OF_TEXT, vocabulary, write_json, write_vocabulary

from gptneo_onnx.models import ModelFileError
from gptneo_onnx.models.tokenizer_files import has_tokenizer, read_tokenizer_files

END = 266
USER = {"content": "<|user|>", "lstrip": False, "rstrip": True}


def ids(files):
    """The ids of the added tokens by text."""
    return {entry["content"]: entry["id"] for entry in files.content["added_tokens"]}


def test_a_vocabulary_alone_has_the_end_token_of_gpt2(tmp_path):
    files = read_tokenizer_files(write_vocabulary(tmp_path))
    assert ids(files) == {END_OF_TEXT: END}
    assert files.eos_token == END_OF_TEXT
    assert files.content["model"]["merges"][0] == ["h", "e"]
    assert not files.is_stored
    assert not files.clean_up_tokenization_spaces
    assert files.config["tokenizer_class"] == "GPT2TokenizerFast"


def test_a_vocabulary_without_it_has_no_end_token(tmp_path):
    files = read_tokenizer_files(write_vocabulary(tmp_path, has_end=False))
    assert ids(files) == {}
    assert files.eos_token is None
    assert files.config == {"tokenizer_class": "GPT2TokenizerFast"}


def test_a_token_after_it_keeps_the_id_that_transformers_gives_it(tmp_path):
    files = read_tokenizer_files(write_vocabulary(tmp_path, has_end=False, pad_token="[PAD]"))
    assert ids(files) == {END_OF_TEXT: 266, "[PAD]": 267}


def test_the_config_names_added_tokens(tmp_path):
    added = {"267": {**USER, "special": True}, "268": {"content": "word"}}
    files = read_tokenizer_files(write_vocabulary(tmp_path, added_tokens_decoder=added))
    assert ids(files) == {END_OF_TEXT: 266, "<|user|>": 267, "word": 268}
    user, word = files.content["added_tokens"][1:]
    assert (user["special"], user["rstrip"]) == (True, True)
    assert (word["special"], word["rstrip"]) == (False, False)


def test_older_files_name_added_tokens(tmp_path):
    directory = write_vocabulary(tmp_path)
    write_json(tmp_path / "added_tokens.json", {"<|user|>": 267, "word": 268})
    special = {"eos_token": "<|im_end|>", "additional_special_tokens": [USER]}
    write_json(tmp_path / "special_tokens_map.json", special)
    files = read_tokenizer_files(directory)
    assert ids(files) == {END_OF_TEXT: 266, "<|user|>": 267, "word": 268, "<|im_end|>": 269}
    assert files.eos_token == "<|im_end|>"
    assert files.config["eos_token"] == "<|im_end|>"
    assert files.config["additional_special_tokens"] == ["<|user|>"]


def test_older_files_count_only_without_newer_ones(tmp_path):
    directory = write_vocabulary(tmp_path, added_tokens_decoder={})
    write_json(tmp_path / "added_tokens.json", {"<|user|>": 267})
    write_json(tmp_path / "special_tokens_map.json", {"eos_token": "<|im_end|>"})
    assert ids(read_tokenizer_files(directory)) == {END_OF_TEXT: 266}


@pytest.mark.parametrize("end", ["<|end|>", {"content": "<|end|>", "__type": "AddedToken"}])
def test_a_token_is_a_text_or_an_object(tmp_path, end):
    files = read_tokenizer_files(write_vocabulary(tmp_path, eos_token=end))
    assert files.eos_token == "<|end|>"
    assert ids(files)["<|end|>"] == 267


def test_null_switches_a_token_off(tmp_path):
    files = read_tokenizer_files(write_vocabulary(tmp_path, eos_token=None))
    assert files.eos_token is None
    assert files.config["eos_token"] is None


def test_a_first_token_is_put_before_texts(tmp_path):
    files = read_tokenizer_files(write_vocabulary(tmp_path, add_bos_token=True))
    after = files.content["post_processor"]
    assert after["single"][0] == {"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}
    assert after["special_tokens"][END_OF_TEXT]["ids"] == [END]
    with refused(ModelFileError, "add_bos_token is true and there is no bos_token; name one"):
        read_tokenizer_files(write_vocabulary(tmp_path, add_bos_token=True, bos_token=None))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_merges_are_lines_between_a_heading_and_the_last_line_break(tmp_path, mark, line_break):
    write_vocabulary(tmp_path)
    content = line_break.join(["h e", "l l", "l l", "he ll", "hell o"]).encode()
    (tmp_path / "merges.txt").write_bytes(mark + content)
    files = read_tokenizer_files(tmp_path)
    assert files.content["model"]["merges"] == [["l", "l"], ["he", "ll"]]


def test_a_byte_order_mark_before_json_is_no_text(tmp_path):
    directory = write_vocabulary(tmp_path, eos_token="<|end|>")
    for path in directory.glob("*.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_tokenizer_files(directory).eos_token == "<|end|>"


def stored(directory, config=None, **content):
    """Write a tokenizer.json, and tokenizer_config.json if there is a config."""
    directory.mkdir(exist_ok=True)
    model = {"type": "BPE", "vocab": vocabulary()[0], "merges": []}
    write_json(directory / "tokenizer.json", {"added_tokens": [], "model": model, **content})
    if config is not None:
        write_json(directory / "tokenizer_config.json", config)
    return directory


def test_a_stored_tokenizer_without_defaults_stays_as_it_is(tmp_path):
    files = read_tokenizer_files(stored(tmp_path, {"tokenizer_class": "PreTrainedTokenizerFast"}))
    assert files.is_stored
    assert files.eos_token is None
    assert files.unknown_class is None


def test_the_config_decides_about_a_first_space(tmp_path):
    before = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    for config, expected in (({}, False), ({"add_prefix_space": True}, True)):
        files = read_tokenizer_files(stored(tmp_path, config, pre_tokenizer=before))
        assert files.content["pre_tokenizer"] == {**before, "add_prefix_space": expected}


def test_the_class_may_stand_in_config_json(tmp_path):
    stored(tmp_path, {})
    write_json(tmp_path / "config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    assert read_tokenizer_files(tmp_path).eos_token is None


def test_settings_of_encoding_and_decoding(tmp_path):
    config = {"clean_up_tokenization_spaces": True, "split_special_tokens": True}
    files = read_tokenizer_files(stored(tmp_path, config))
    assert files.clean_up_tokenization_spaces
    assert files.split_special_tokens


def test_a_directory_without_a_tokenizer(tmp_path):
    assert not has_tokenizer(tmp_path)
    write_vocabulary(tmp_path)
    assert has_tokenizer(tmp_path)
    (tmp_path / "merges.txt").unlink()
    assert not has_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"eos_token": 3}, "has the token 3; a text, or an object with content"),
        ({"eos_token": {}}, "has the token {}"),
        ({"eos_token": {"content": "a", "lstrip": 1}}, "true or false is expected for lstrip"),
        ({"additional_special_tokens": "a"}, "additional_special_tokens is 'a'; a list is"),
        ({"additional_special_tokens": [None]}, "has the token None"),
        ({"added_tokens_decoder": []}, "added_tokens_decoder is \\[\\]; an object is expected"),
        ({"added_tokens_decoder": {"1": "a"}}, "has the token 'a'"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "has the id 'x'; 0 to 4294967295"),
        ({"added_tokens_decoder": {"-1": {"content": "a"}}}, "has the id '-1'"),
        ({"tokenizer_class": "LlamaTokenizer"}, "of a LlamaTokenizer and no tokenizer.json; only"),
    ],
)
def test_what_is_no_token_is_refused(tmp_path, config, message):
    directory = write_vocabulary(tmp_path, **config)
    with refused(ModelFileError, message):
        read_tokenizer_files(directory)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", {"a": "b"}),
        ("added_tokens.json", {"a": 2**40}),
        ("added_tokens.json", {"a": True}),
        ("special_tokens_map.json", {"eos_token": [1]}),
        ("special_tokens_map.json", {"additional_special_tokens": {"a": 1}}),
    ],
)
def test_damage_of_older_files(tmp_path, name, content):
    directory = write_vocabulary(tmp_path)
    write_json(directory / name, content)
    with refused(ModelFileError, name):
        read_tokenizer_files(directory)


@pytest.mark.parametrize("index", [[1], {"a": 1}, -1, 2**40, 1.5, True])
def test_damage_of_the_id_of_a_token_that_is_added(tmp_path, index):
    directory = write_vocabulary(tmp_path, eos_token="a")
    write_json(directory / "vocab.json", vocabulary()[0] | {"a": index})
    with refused(ModelFileError, r"vocab\.json has the id .*; 0 to 4294967295 are allowed"):
        read_tokenizer_files(directory)


@pytest.mark.parametrize(
    "added", [3, [3], [{"content": "a"}], [{"id": -1, "content": "a"}], [{"id": 1}]]
)
def test_damage_of_added_tokens(tmp_path, added):
    with refused(ModelFileError, r"tokenizer\.json"):
        read_tokenizer_files(stored(tmp_path, added_tokens=added))


def test_damage_elsewhere_is_left_to_the_tokenizers_package(tmp_path):
    for model in (None, [], {}, {"vocab": 3}, {"vocab": [["a", 0.5]]}):
        content = read_tokenizer_files(stored(tmp_path, model=model)).content
        assert json.dumps(content["model"]) == json.dumps(model)
