"""Tokenizer files as people have them: read here as AutoTokenizer reads them, and so exported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import wild_tokenizer
from checkpoints import Shape, write_checkpoint
from wild_tokenizer import END_OF_TEXT, TEXTS, Draw, write_vocabulary

from gptneo_onnx.export import export_model
from gptneo_onnx.export.tokenizer_files import write_tokenizer
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, ModelFileError
from gptneo_onnx.runtime import Tokenizer, pipeline

GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"
DRAWS = 200


@pytest.fixture(autouse=True)
def quiet():
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()


def exported(directory: Path, out: Path) -> Path:
    out.mkdir()
    write_tokenizer(directory, out)
    shutil.copyfile(directory / "config.json", out / "config.json")
    return out


def check_equal(theirs, *others):
    """Compare ids, texts and end tokens; of ours and of transformers' tokenizers."""
    # GPT-2's class adds it to vocabularies without it; here it is left out.
    adds_end = any(END_OF_TEXT not in vocabulary_of(other) for other in others)
    adds_end = adds_end and END_OF_TEXT in theirs.get_vocab()
    for text in TEXTS:
        if adds_end and END_OF_TEXT in text:
            continue
        ids, plain = theirs.encode(text), theirs.encode(text, add_special_tokens=False)
        for other in others:
            assert other.encode(text) == ids, text
            assert other.encode(text, add_special_tokens=False) == plain, text
            for skip in (False, True):
                assert other.decode(ids, skip_special_tokens=skip) == theirs.decode(
                    ids, skip_special_tokens=skip
                )
    for other in others:
        if not (adds_end and theirs.eos_token == END_OF_TEXT):
            assert other.eos_token_id == theirs.eos_token_id
            assert other.eos_token == theirs.eos_token


def vocabulary_of(tokenizer):
    backend = tokenizer.backend if isinstance(tokenizer, Tokenizer) else tokenizer
    return backend.get_vocab()


def check_directory(directory: Path, out: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(directory)
    exported(directory, out)
    check_equal(
        theirs,
        Tokenizer.from_pretrained(directory),
        Tokenizer.from_pretrained(out),
        AutoTokenizer.from_pretrained(out),
    )


def test_drawn_directories(tmp_path, random):
    from transformers import AutoTokenizer

    compared = 0
    for number in range(DRAWS):
        directory = Draw(tmp_path / f"{number}", random).write()
        try:
            AutoTokenizer.from_pretrained(directory)
        except (ValueError, TypeError):  # add_bos_token with tokens that its template misreads
            continue
        check_directory(directory, tmp_path / f"{number}-out")
        compared += 1
    assert compared > 0.85 * DRAWS


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizerFast"])
def test_pairs_of_texts(tmp_path, name):
    """GPT-2's class puts its first token before a pair, GPT-NeoX's puts one before both texts."""
    from transformers import AutoTokenizer

    config = {"add_bos_token": True, "add_eos_token": True, "tokenizer_class": name}
    write_vocabulary(tmp_path)
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    if name != "GPTNeoXTokenizerFast":  # which reads tokenizer.json alone
        (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.from_pretrained(tmp_path)
    expected = theirs("hello", "hello").input_ids
    assert ours.encoding("hello", "hello").ids == expected
    assert expected.count(theirs.bos_token_id) == {"GPTNeoXTokenizerFast": 4}.get(name, 1)


def test_a_slow_tokenizer_with_added_tokens(tmp_path):
    from transformers import GPT2Tokenizer

    slow = GPT2Tokenizer(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))
    slow.add_special_tokens({"pad_token": "[PAD]", "additional_special_tokens": ["<|user|>"]})
    slow.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved/tokenizer.json").exists()
    (tmp_path / "saved/config.json").write_text('{"model_type": "gpt_neo"}')
    check_directory(tmp_path / "saved", tmp_path / "out")
    ours = Tokenizer.from_pretrained(tmp_path / "out")
    assert ours.encode("<|user|>Hi") == [50258, 17250]
    assert ours.decode([50258, 17250]) == "<|user|>Hi"


def test_a_slow_tokenizer_with_a_first_token_and_another_end(tmp_path):
    from transformers import GPT2Tokenizer

    files = (str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))
    slow = GPT2Tokenizer(*files, add_bos_token=True, eos_token="<|im_end|>")
    slow.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved/config.json").write_text('{"model_type": "gpt_neo"}')
    check_directory(tmp_path / "saved", tmp_path / "out")
    ours = Tokenizer.from_pretrained(tmp_path / "out")
    assert ours.encode("Hi<|im_end|>") == [50256, 17250, 50257]
    assert ours.eos_token_id == 50257


def test_the_files_of_openai_community_gpt2(tmp_path):
    from transformers import GPT2TokenizerFast

    fast = GPT2TokenizerFast(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))
    fast.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved/special_tokens_map.json").unlink()
    (tmp_path / "saved/tokenizer_config.json").write_text('{"model_max_length": 1024}')
    (tmp_path / "saved/config.json").write_text('{"model_type": "gpt_neo"}')
    check_directory(tmp_path / "saved", tmp_path / "out")
    assert Tokenizer.from_pretrained(tmp_path / "out").eos_token_id == 50256
    assert json.loads((tmp_path / "out/tokenizer_config.json").read_text()) == {
        "model_max_length": 1024,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,  # transformers.js does it unless told
    }


@pytest.mark.parametrize("clean_up", [True, False, None])
def test_spaces_are_cleaned_up_as_the_config_says(tmp_path, clean_up):
    from transformers import AutoTokenizer

    config = {} if clean_up is None else {"clean_up_tokenization_spaces": clean_up}
    directory = write_vocabulary(tmp_path / "saved", tokenizer_class="GPT2Tokenizer", **config)
    theirs, ours = AutoTokenizer.from_pretrained(directory), Tokenizer.from_pretrained(directory)
    ids = theirs.encode("King , I do n't .")
    assert ours.batch_decode([ids]) == theirs.batch_decode([ids])
    assert ours.decode(ids) == ("King, I don't." if clean_up else "King , I do n't .")
    for told in (True, False):
        assert ours.decode(ids, clean_up_tokenization_spaces=told) == theirs.decode(
            ids, clean_up_tokenization_spaces=told
        )


def test_a_vocabulary_of_another_class_is_refused_with_advice_that_works(tmp_path):
    from transformers import AutoTokenizer

    directory = write_vocabulary(
        tmp_path / "saved", tokenizer_class="RobertaTokenizer", bos_token="<s>"
    )
    with pytest.raises(
        ModelFileError, match="of a RobertaTokenizer and no tokenizer.json"
    ) as error:
        Tokenizer.from_pretrained(directory)
    assert "AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)" in str(error.value)
    AutoTokenizer.from_pretrained(directory).save_pretrained(directory)
    lines = []
    write_tokenizer(directory, tmp_path, lines.append)
    assert len(lines) == 1
    assert "tokenizer of a RobertaTokenizer" in lines[0]
    theirs = AutoTokenizer.from_pretrained(directory)
    assert Tokenizer.from_pretrained(directory).encode("hello") == theirs.encode("hello")


def test_a_pipeline_takes_transformers_tokenizer(embedded_export):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    arguments = {"max_new_tokens": 8, "do_sample": False}
    expected = pipeline(model=embedded_export)("She was", **arguments)
    generator = pipeline(model=embedded_export, tokenizer=theirs)
    theirs("She was", truncation=True, max_length=1)  # changes their backend, not ours
    assert generator("She was", **arguments) == expected


def test_pipelines_begin_texts_with_the_first_token(tmp_path, random, transformers_model):
    import torch
    import transformers

    checkpoint = write_checkpoint(tmp_path / "model", Shape(vocab_size=267), random)
    config = (checkpoint / "config.json").read_text()
    write_vocabulary(checkpoint, tokenizer_class="GPT2Tokenizer", add_bos_token=True)
    (checkpoint / "config.json").write_text(config)
    theirs = transformers.pipeline(
        "text-generation",
        model=transformers_model(checkpoint),
        tokenizer=transformers.AutoTokenizer.from_pretrained(checkpoint),
        device=torch.device("cpu"),
    )
    ours = pipeline(model=export_model(checkpoint, tmp_path / "out"))
    arguments = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": 266}
    for prompt in ("hello", "a b", "in hello"):
        assert ours(prompt, **arguments) == theirs(prompt, **arguments)
    ids = ours("hello", return_tensors=True, **arguments)[0]["generated_token_ids"]
    assert np.array_equal(ids[:2], [266, wild_tokenizer.vocabulary()[0]["hello"]])
