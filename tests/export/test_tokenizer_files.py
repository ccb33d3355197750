"""The tokenizer of an export: made from either form that a checkpoint may have, or missing."""

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from refusals import refused
from tokenizers import Tokenizer

from gptneo_onnx import runtime
from gptneo_onnx.export import check_export, export_model
from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError, ModelFileError

GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"
END_OF_TEXT = 50256
TEXTS = [
    "EleutherAI has",
    "  two  spaces\tand a tab\n\n\nnewlines ",
    "naïve façade, “quoted”, 日本語 🤗",
    "It's, we'll; they've 12345 3.14",
    "\x00\x7f\u200b",
    "",
]


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of GPT-2's vocab.json and merges.txt, free to be damaged."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(GPT2 / name, folder / name)
    return folder


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A folder with GPT-2's tokenizer, made from vocab.json and merges.txt; tests only read it."""
    folder = tmp_path_factory.mktemp("gpt2")
    assert write_tokenizer(GPT2, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(gpt2):
    return Tokenizer.from_file(str(gpt2 / "tokenizer.json"))


class TestFromVocabularyAndMerges:
    @pytest.mark.parametrize("text", TEXTS)
    def test_text_comes_back_as_it_was(self, tokenizer, text):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text

    def test_ids_are_gpt2s(self, tokenizer):
        assert tokenizer.encode("Hello world").ids == [15496, 995]
        assert tokenizer.encode(" \n\n").ids == [220, 628]

    def test_the_end_of_text_is_one_token(self, tokenizer):
        assert tokenizer.encode("<|endoftext|>").ids == [END_OF_TEXT]
        assert tokenizer.encode("a<|endoftext|>b").ids == [64, END_OF_TEXT, 65]
        assert tokenizer.decode([64, END_OF_TEXT, 65]) == "ab"

    def test_the_vocabulary_has_its_size(self, tokenizer):
        assert tokenizer.get_vocab_size() == END_OF_TEXT + 1

    def test_a_config_is_written_for_transformers(self, gpt2):
        config = json.loads((gpt2 / "tokenizer_config.json").read_text())
        assert config["tokenizer_class"] == "GPT2TokenizerFast"
        assert config["eos_token"] == config["bos_token"] == "<|endoftext|>"

    def test_the_checkpoints_own_config_is_kept_with_the_tokens_of_the_class(self, checkpoint, out):
        config = {"add_prefix_space": True, "model_max_length": 2048}
        (checkpoint / "tokenizer_config.json").write_text(json.dumps(config))
        write_tokenizer(checkpoint, out)
        names = ("bos_token", "eos_token", "unk_token")
        expected = config | dict.fromkeys(names, "<|endoftext|>")
        expected["clean_up_tokenization_spaces"] = False  # transformers.js does it unless told
        assert json.loads((out / "tokenizer_config.json").read_text()) == expected
        made = Tokenizer.from_file(str(out / "tokenizer.json"))
        assert made.encode("Hello").ids == made.encode(" Hello").ids


class TestFromTokenizerJson:
    def test_it_is_copied_as_it_is(self, gpt2, out):
        assert write_tokenizer(gpt2, out)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (out / name).read_bytes() == (gpt2 / name).read_bytes()

    def test_it_is_preferred(self, gpt2, checkpoint, out):
        shutil.copy(gpt2 / "tokenizer.json", checkpoint)
        (checkpoint / "merges.txt").write_bytes(b"damaged")
        write_tokenizer(checkpoint, out)
        assert (out / "tokenizer.json").read_bytes() == (gpt2 / "tokenizer.json").read_bytes()

    def test_a_byte_order_mark_is_no_text(self, gpt2, checkpoint, out):
        content = (gpt2 / "tokenizer.json").read_bytes()
        (checkpoint / "tokenizer.json").write_bytes(b"\xef\xbb\xbf" + content)
        write_tokenizer(checkpoint, out)
        assert (out / "tokenizer.json").read_bytes() == content

    def test_what_other_files_add_is_in_it(self, gpt2, checkpoint, out):
        shutil.copy(gpt2 / "tokenizer.json", checkpoint)
        config = {"pad_token": "[PAD]", "eos_token": "<|endoftext|>", "add_prefix_space": True}
        (checkpoint / "tokenizer_config.json").write_text(json.dumps(config))
        write_tokenizer(checkpoint, out)
        made = Tokenizer.from_file(str(out / "tokenizer.json"))
        assert made.encode("Hello[PAD]").ids == [18435, 50257]

    def test_a_class_that_may_change_it_is_named(self, gpt2, checkpoint, out):
        shutil.copy(gpt2 / "tokenizer.json", checkpoint)
        (checkpoint / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
        lines = []
        write_tokenizer(checkpoint, out, lines.append)
        assert lines == [
            f"{checkpoint} has the tokenizer of a LlamaTokenizer: tokenizer.json is taken as it "
            "is, and transformers may change it"
        ]
        assert (out / "tokenizer.json").read_bytes() == (gpt2 / "tokenizer.json").read_bytes()


class TestExports:
    @pytest.fixture
    def model(self, tmp_path, random):
        shape = Shape(vocab_size=END_OF_TEXT + 1, hidden_size=8, num_heads=1, layers=("local",))
        return write_checkpoint(tmp_path / "model", shape, random)

    def test_of_a_vocabulary_hold_its_tokenizer(self, model, gpt2, out):
        for name in ("vocab.json", "merges.txt"):
            shutil.copyfile(GPT2 / name, model / name)
        lines = []
        export_model(model, out, report=lines.append)
        assert (out / "tokenizer.json").read_bytes() == (gpt2 / "tokenizer.json").read_bytes()
        assert lines == []

    @pytest.mark.parametrize("only_file", [None, "vocab.json", "merges.txt"])
    def test_without_a_tokenizer_say_so(self, model, out, only_file):
        if only_file:
            shutil.copyfile(GPT2 / only_file, model / only_file)
        lines = []
        export_model(model, out, report=lines.append)
        (line,) = lines
        assert "has no tokenizer (tokenizer.json, or vocab.json and merges.txt)" in line
        assert "the model takes token ids only" in line
        assert "--tokenizer (tokenizer=) takes one from elsewhere" in line
        assert not list(out.glob("tokenizer*"))

    @pytest.mark.parametrize("form", ["tokenizer.json", "vocab.json and merges.txt"])
    def test_take_a_tokenizer_from_elsewhere(self, model, gpt2, out, form):
        lines = []
        tokenizer = gpt2 if form == "tokenizer.json" else GPT2
        export_model(model, out, tokenizer=tokenizer, report=lines.append)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (out / name).read_bytes() == (gpt2 / name).read_bytes()
        assert lines == []

    def test_prefer_the_tokenizer_that_is_named(self, model, gpt2, out):
        (model / "tokenizer.json").write_text("{}")
        export_model(model, out, tokenizer=str(gpt2))
        assert (out / "tokenizer.json").read_bytes() == (gpt2 / "tokenizer.json").read_bytes()

    def test_with_ids_beyond_the_models_are_refused_if_it_is_asked_for(
        self, tmp_path, random, gpt2, out
    ):
        model = write_checkpoint(tmp_path / "small", Shape(), random)
        message = f"the tokenizer of {gpt2} has 50257 ids, and the model's vocabulary 301: "
        for make in (export_model, check_export):
            with refused(InputError, message + ".*; name the tokenizer that the model was trained"):
                make(model, out, tokenizer=gpt2)
        assert not list(out.iterdir())

    def test_with_ids_beyond_the_models_warn_if_it_is_the_checkpoints(
        self, tmp_path, random, gpt2, out
    ):
        model = write_checkpoint(tmp_path / "small", Shape(), random)
        shutil.copytree(gpt2, model, dirs_exist_ok=True)
        lines = []
        export_model(model, out, report=lines.append)
        assert lines == [
            f"warning: the tokenizer of {model} has 50257 ids, and the model's vocabulary 301: "
            "texts with tokens beyond are refused"
        ]
        assert (out / "tokenizer.json").is_file()

    @pytest.mark.parametrize("tokenizer", ["not there", "x" * 5000, "a/b"])
    def test_of_a_tokenizer_that_is_not_there(self, model, out, tokenizer):
        with refused(InputError, r"pass a directory that holds tokenizer\.json"):
            export_model(model, out, tokenizer=tokenizer)
        assert not list(out.iterdir())

    def test_of_a_directory_without_a_tokenizer(self, model, out):
        message = "which has neither tokenizer.json nor vocab.json and merges.txt; name a directory"
        with refused(InputError, message):
            export_model(model, out, tokenizer=model)

    @pytest.mark.parametrize("form", ["file", "tokenizers", "ours"])
    def test_take_a_tokenizer_in_other_forms(self, model, gpt2, out, tokenizer, form):
        ours = runtime.Tokenizer.from_pretrained(gpt2)
        ours.pad_token = "!"
        given = {"file": gpt2 / "tokenizer.json", "tokenizers": tokenizer, "ours": ours}[form]
        lines = []
        export_model(model, out, tokenizer=given, report=lines.append)
        assert lines == []
        written = runtime.Tokenizer.from_pretrained(out)
        assert written.get_vocab() == ours.get_vocab()
        for text in TEXTS:
            assert written.encode(text) == ours.encode(text)
        expected = ours.special_tokens_map if form == "ours" else {}
        assert written.special_tokens_map == expected

    @pytest.mark.parametrize("wrong", [3, Tokenizer, ["gpt2"]])
    def test_of_something_that_is_no_tokenizer(self, model, out, wrong):
        with refused(InputError, r"tokenizer is of type \w+; a directory, a hub id, the path of"):
            export_model(model, out, tokenizer=wrong)

    def test_of_a_damaged_tokenizer_leave_nothing(self, model, out):
        (model / "tokenizer.json").write_text("{}")
        with refused(ModelFileError, r"tokenizer\.json is not a tokenizer"):
            export_model(model, out)
        assert not list(out.iterdir())


class TestDamage:
    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"model": {}}'])
    def test_of_tokenizer_json(self, checkpoint, out, content):
        (checkpoint / "tokenizer.json").write_bytes(content)
        with refused(ModelFileError, r"tokenizer\.json"):
            write_tokenizer(checkpoint, out)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b"\xff",
            b'{"a": "b"}',
            b'{"a": -1}',
            b'{"a": 1e99}',
            b"[" * 9999,
        ],
    )
    def test_of_vocab_json(self, checkpoint, out, content):
        (checkpoint / "vocab.json").write_bytes(content)
        with refused(ModelFileError, r"vocab\.json"):
            write_tokenizer(checkpoint, out)

    @pytest.mark.parametrize("content", [b"one", b"a b c", b"\xff \xff", b"not there", b"a b\n\nc"])
    def test_of_merges_txt(self, checkpoint, out, content):
        (checkpoint / "merges.txt").write_bytes(b"#version: 0.2\n" + content + b"\n")
        with refused(ModelFileError, r"vocab\.json and merges\.txt are not a tokenizer"):
            write_tokenizer(checkpoint, out)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{"])
    def test_of_tokenizer_config_json(self, checkpoint, out, content):
        (checkpoint / "tokenizer_config.json").write_bytes(content)
        with refused(ModelFileError, r"tokenizer_config\.json"):
            write_tokenizer(checkpoint, out)

    @pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
    def test_files_larger_than_any_tokenizers(self, checkpoint, out, name):
        with (checkpoint / name).open("ab") as file:
            file.truncate(2**40)
        with refused(ModelFileError, f"{name} has {2**40} bytes; at most 67108864 are read"):
            write_tokenizer(checkpoint, out)


def test_no_file_of_an_export_begins_with_a_byte_order_mark(tmp_path, random):
    checkpoint = write_checkpoint(tmp_path / "model", Shape(vocab_size=4096), random)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(EMBEDDED_CHECKPOINT / name, checkpoint / name)
    (checkpoint / "generation_config.json").write_text("{}")
    marked = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    for name in marked:
        (checkpoint / name).write_bytes(b"\xef\xbb\xbf" + (checkpoint / name).read_bytes())
    out = export_model(checkpoint, tmp_path / "marked")
    for name in marked:
        assert isinstance(json.loads((out / name).read_text(encoding="utf-8")), dict), name
