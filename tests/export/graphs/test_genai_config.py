"""genai_config.json: ids and settings of a checkpoint, as onnxruntime-genai has them."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import Shape
from refusals import refused

from gptneo_onnx.export.graphs.genai_config import write_genai_config
from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.generation_settings import GenerationSettings

NONE = "genai_config.json has no eos_token_id, since the checkpoint has none: onnxruntime-genai"


def written(
    folder: Path, generation: dict[str, Any] | None, **config: Any
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The ids and the search settings of a checkpoint's genai_config.json, and what is said."""
    values = Shape().config | config
    (folder / "config.json").write_text(json.dumps(values))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    settings = GenerationSettings.read(folder)
    notes = write_genai_config(folder, "x.onnx", GPTNeoConfig.from_dict(values), settings)
    content = json.loads((folder / "genai_config.json").read_text())
    ids = {name: value for name, value in content["model"].items() if name.endswith("_token_id")}
    return ids, content["search"], notes


PLAIN = {"max_length": 64, "past_present_share_buffer": True, "do_sample": False}


@pytest.mark.parametrize("generation", [None, {}, {"eos_token_id": None}, {"use_cache": False}])
def test_ids_fall_back_to_those_of_config_json(tmp_path, generation):
    ids, search, notes = written(tmp_path, generation, bos_token_id=3, eos_token_id=[5, 6])
    assert ids == {"bos_token_id": 3, "eos_token_id": [5, 6], "pad_token_id": 5}
    assert (search, notes) == (PLAIN, [])


def test_ids_of_generation_config_count_for_more(tmp_path):
    generation = {"eos_token_id": [-1, 7.0, 999], "pad_token_id": 8}
    ids, _, _ = written(tmp_path, generation, bos_token_id=3, eos_token_id=5, pad_token_id=9)
    assert ids == {"bos_token_id": 3, "eos_token_id": [7], "pad_token_id": 8}


@pytest.mark.parametrize("end", [None, -1, 301, [-1]])
def test_unknown_ids_are_left_out_and_the_end_is_named(tmp_path, end):
    ids, _, [note] = written(tmp_path, {}, bos_token_id=None, eos_token_id=end)
    assert ids == {}
    assert note == f"{NONE} ends at token 0 instead"


def test_an_end_token_that_none_can_match_does_not_fall_back(tmp_path):
    ids, _, [note] = written(tmp_path, {"eos_token_id": -1, "pad_token_id": 4}, eos_token_id=5)
    assert ids == {"bos_token_id": 0, "pad_token_id": 4}
    assert note == f"{NONE} ends at token 4 instead"


@pytest.mark.parametrize(
    ("generation", "expected", "left_out"),
    [
        ({"do_sample": True}, {"do_sample": True}, ""),
        (
            {"do_sample": True, "temperature": 0.3, "top_k": 5, "top_p": 0.9, "min_p": 0.1},
            {"do_sample": True, "temperature": 0.3, "top_p": 0.9, "top_k": 5},
            "min_p",
        ),
        ({"do_sample": True, "top_k": None}, {"do_sample": True, "top_k": 0, "top_p": 1.0}, ""),
        ({"do_sample": True, "top_k": 999}, {"do_sample": True, "top_k": 301}, ""),
        ({"do_sample": True, "num_beams": 2}, {"do_sample": True}, "num_beams"),
        ({"temperature": 0.3, "top_k": 5, "min_p": 0.1}, {}, ""),
        ({"num_beams": 3, "temperature": 0.3}, {"num_beams": 3, "early_stopping": False}, ""),
        (
            {"num_beams": 3, "early_stopping": "never", "length_penalty": 2.0},
            {"num_beams": 3, "length_penalty": 2.0, "early_stopping": False},
            "early_stopping",
        ),
        (
            {"repetition_penalty": 1.5, "min_length": 9},
            {"min_length": 9, "repetition_penalty": 1.5},
            "",
        ),
        ({"max_length": 40}, {"max_length": 40}, ""),
        ({"max_length": 20}, {}, ""),
        ({"max_length": 999}, {}, ""),
        ({"max_new_tokens": 9, "bad_words_ids": [[3]]}, {}, "bad_words_ids, max_new_tokens"),
        ({"prompt_lookup_num_tokens": 3, "return_dict_in_generate": True, "odd": 3}, {}, ""),
    ],
)
def test_settings_are_carried_over_or_named(tmp_path, generation, expected, left_out):
    _, search, notes = written(tmp_path, generation)
    assert search == PLAIN | expected
    line = f"genai_config.json leaves out what onnxruntime-genai lacks: {left_out}"
    assert notes == ([line] if left_out else [])


def test_settings_of_config_json_are_carried_over(tmp_path):
    _, search, _ = written(tmp_path, None, repetition_penalty=1.5)
    assert search == PLAIN | {"repetition_penalty": 1.5}


@pytest.mark.parametrize("value", ["2", [2], {}, float("nan"), float("inf"), 10**400])
@pytest.mark.parametrize("name", ["max_length", "min_length", "num_beams", "repetition_penalty"])
def test_a_setting_that_is_no_number_is_refused(tmp_path, name, value):
    with refused(ModelFileError, f"generation_config.json: {name} is .*; a number is allowed"):
        written(tmp_path, {name: value})
