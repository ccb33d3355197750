"""What a directory sets for generation, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.generation_settings import (
    GenerationSettings,
    as_arguments,
    known_tokens,
    passed_over,
    refused,
)


def read(
    directory: Path, config: dict[str, Any], generation: dict[str, Any] | None = None
) -> GenerationSettings:
    (directory / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (directory / "generation_config.json").write_text(json.dumps(generation))
    return GenerationSettings.read(directory)


def test_generation_config_is_taken_as_it_is(tmp_path: Path) -> None:
    values = {"top_p": 0.5, "_from_model_config": True, "odd": None}
    settings = read(tmp_path, {"bos_token_id": 4}, values)
    assert (settings.path, settings.values) == (tmp_path / "generation_config.json", values)


def test_config_json_counts_where_generation_config_is_missing(tmp_path: Path) -> None:
    config = {"vocab_size": 99, "pad_token_id": 3, "top_k": 50, "max_length": 40, "min_p": 0.1}
    settings = read(tmp_path, config)
    assert settings.path == tmp_path / "config.json"
    assert settings.values == {"pad_token_id": 3, "max_length": 40, "min_p": 0.1}
    [note] = settings.notes
    assert note.endswith("sets max_length, min_p for generation: generation_config.json has it")


def test_config_json_counts_where_generation_config_was_made_from_it(tmp_path: Path) -> None:
    made = {"_from_model_config": True, "eos_token_id": 5, "max_length": 30}
    config = {"vocab_size": 99, "eos_token_id": 9}
    assert read(tmp_path, config, made).values == made
    settings = read(tmp_path, config | {"top_p": 0.5}, made)
    assert settings.values == {"eos_token_id": 9, "top_p": 0.5}


def test_the_ids_of_a_config_without_them_are_transformers_if_the_vocabulary_has_them(
    tmp_path: Path,
) -> None:
    assert read(tmp_path, {}).values == {"bos_token_id": 50256, "eos_token_id": 50256}
    assert read(tmp_path, {"eos_token_id": None}).values == {"bos_token_id": 50256}
    assert read(tmp_path, {"vocab_size": 50256}).values == {}


def test_an_output_makes_results_dicts(tmp_path: Path) -> None:
    config = {"vocab_size": 9, "output_hidden_states": True}
    assert read(tmp_path, config).values == {"return_dict_in_generate": True}


def test_names_that_no_token_depends_on() -> None:
    silent = {"use_cache": True, "transformers_version": "4.9", "top_k": None, "seed": 3}
    assert passed_over(silent | {"low_memory": None, "is_assistant": False}) == []
    assert passed_over({"use_cache": False, "odd": None, "top_k": 3}) == ["use_cache", "odd"]
    assert passed_over({"use_cache": 1}) == ["use_cache"]


def test_one_line_names_them(tmp_path: Path) -> None:
    [note] = read(tmp_path, {}, {"use_cache": False, "odd": "x" * 999}).notes
    assert note.startswith(f"{tmp_path / 'generation_config.json'}: passed over, since no token ")
    assert note.endswith(": use_cache, odd")


def test_what_would_choose_other_tokens() -> None:
    values = {
        "penalty_alpha": 0.6,
        "dola_layers": "low",
        "force_words_ids": [],
        "constraints": None,
    }
    assert refused(values) == ("penalty_alpha", "dola_layers", "force_words_ids")
    assert refused({"penalty_alpha": 0}) == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (0, 0), (3.0, 3), (-1, None), (None, None), ([4, -1, 2.0], [4, 2]), ([-1], None)],
)
def test_ids_that_a_token_can_have(value: Any, expected: Any) -> None:
    assert known_tokens(value) == expected


def test_ids_of_a_vocabulary() -> None:
    assert known_tokens(7, vocab_size=7) is None
    assert known_tokens([6, 7], vocab_size=7) == [6]


@pytest.mark.parametrize("value", ["3", True, 3.5, {}])
def test_what_is_no_id_is_left_to_the_fields_checks(value: Any) -> None:
    assert known_tokens(value) == value


def test_numbers_that_transformers_takes_loosely() -> None:
    assert as_arguments({"max_length": 20, "max_new_tokens": 3.0, "do_sample": 0}) == {
        "max_new_tokens": 3,
        "do_sample": False,
    }
    assert as_arguments({"max_length": 20.5}) == {"max_length": 20.5}


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises(ModelFileError, match="generation_config.json"):
        GenerationSettings.read(tmp_path)
