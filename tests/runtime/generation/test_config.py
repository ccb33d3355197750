"""GenerationConfig: transformers' names and defaults; nothing is silently ignored."""

import argparse
import inspect
import json
import re
from dataclasses import fields

import numpy as np
import pytest

from gptneo_onnx.models import InputError, ModelFileError
from gptneo_onnx.runtime import GenerationConfig
from gptneo_onnx.runtime.cli.generate import add_command
from gptneo_onnx.runtime.generation.config_fields import (
    INAPPLICABLE,
    PASSED_OVER,
    Integer,
    Number,
    OneOrSeveral,
)

CHECKS = {each.name: each.metadata.get("check") for each in fields(GenerationConfig)}


def test_defaults_are_transformers():
    config = GenerationConfig()
    assert (config.do_sample, config.temperature, config.top_k, config.top_p) == (False, 1.0, 50, 1)


def test_a_file_as_transformers_writes_it(tmp_path):
    values = {"_from_model_config": True, "bos_token_id": 3, "eos_token_id": [3, 4]}
    (tmp_path / "generation_config.json").write_text(
        json.dumps(values | {"transformers_version": "4.57.6", "num_beams": 1, "use_cache": True})
    )
    config = GenerationConfig.from_pretrained(tmp_path)
    assert config.eos_token_ids == (3, 4)
    assert config.fill_token_id == 3


@pytest.mark.parametrize(
    ("name", "neutral"), [(n, v) for n, vs in INAPPLICABLE.items() for v in vs]
)
def test_values_that_ask_for_nothing_are_taken(name, neutral):
    assert GenerationConfig().update(**{name: neutral}) == GenerationConfig()


@pytest.mark.parametrize("name", INAPPLICABLE)
def test_arguments_that_are_not_applicable_are_named(name):
    with pytest.raises(InputError, match=f"{name}=.* is not supported; leave it at"):
        GenerationConfig().update(**{name: object()})


@pytest.mark.parametrize(("value", "tokens"), [(None, ()), (7, (7,)), ([7, 8], (7, 8))])
def test_end_tokens_none_one_or_several(value, tokens):
    assert GenerationConfig(eos_token_id=value).eos_token_ids == tokens


def test_the_fill_is_the_pad_token_or_the_first_end_or_zero():
    assert GenerationConfig(pad_token_id=5, eos_token_id=6).fill_token_id == 5
    assert GenerationConfig(eos_token_id=[6, 7]).fill_token_id == 6
    assert GenerationConfig().fill_token_id == 0


def test_arguments_of_a_file_that_do_not_apply_are_noted_until_they_are_reset(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"penalty_alpha": 0.6, "low_memory": false}')
    config = GenerationConfig.from_pretrained(tmp_path)
    assert config.unsupported == ("penalty_alpha",)
    with pytest.raises(
        InputError, match="sets penalty_alpha, which is not supported; pass penalty_"
    ):
        config.check_supported()
    config.update(penalty_alpha=None).check_supported()


def test_a_file_with_a_value_out_of_range_is_named(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"min_p": 4}')
    with pytest.raises(ModelFileError, match="generation_config.json: min_p is 4; a number"):
        GenerationConfig.from_pretrained(tmp_path)


def test_none_takes_a_field_back_to_its_default():
    config = GenerationConfig(temperature=0.5, top_k=3, min_length=4)
    assert config.update(temperature=None, min_length=None) == GenerationConfig(top_k=3)


def test_none_switches_top_k_off(tmp_path):
    assert GenerationConfig().update(top_k=None).top_k is None
    assert GenerationConfig().update(top_k=None).over(GenerationConfig(top_k=4)).top_k is None
    assert GenerationConfig(top_k=4).over(GenerationConfig(top_k=None)).top_k == 4
    assert GenerationConfig().over(GenerationConfig(top_k=None)).top_k is None
    GenerationConfig(top_k=None).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"top_k": None}
    assert GenerationConfig.from_pretrained(tmp_path) == GenerationConfig(top_k=None)


@pytest.mark.parametrize("name", PASSED_OVER)
def test_arguments_that_no_result_depends_on_are_passed_over(name):
    assert GenerationConfig().update(**{name: object()}) == GenerationConfig()


def test_settings_of_a_file_that_no_token_depends_on_are_passed_over(tmp_path):
    values = {
        "use_cache": False,
        "cache_implementation": "static",
        "max_window_size": 6144,
        "forced_decoder_ids": None,
        "output_hidden_states": True,
        "penalty_alpha": 0,
    }
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    config = GenerationConfig.from_pretrained(tmp_path)
    assert config == GenerationConfig()
    config.check_supported()


@pytest.mark.parametrize("others", [{"do_sample": True}, {"num_beams": 2}, {"top_k": 1}])
def test_penalty_alpha_has_an_effect_on_greedy_decoding_alone(tmp_path, others):
    values = {"penalty_alpha": 0.6} | others
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    config = GenerationConfig.from_pretrained(tmp_path)
    config.check_supported()
    with pytest.raises(InputError, match="sets penalty_alpha"):
        config.update(do_sample=False, num_beams=1, top_k=4).check_supported()


def test_a_file_may_say_numbers_as_transformers_takes_them(tmp_path):
    values = {"max_length": 40.0, "eos_token_id": [-1, 5.0], "pad_token_id": -1, "do_sample": 1}
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    expected = GenerationConfig(max_length=40, eos_token_id=[5], do_sample=True)
    assert GenerationConfig.from_pretrained(tmp_path) == expected


def test_the_default_length_in_a_file_is_of_new_tokens(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"max_length": 20}')
    assert GenerationConfig.from_pretrained(tmp_path) == GenerationConfig()


def test_a_models_config_may_stand_in_config_json(tmp_path):
    (tmp_path / "config.json").write_text('{"eos_token_id": 3, "max_length": 50, "top_k": 7}')
    expected = GenerationConfig(bos_token_id=50256, eos_token_id=3, max_length=50, top_k=7)
    assert GenerationConfig.of_model(tmp_path) == expected
    (tmp_path / "generation_config.json").write_text('{"top_p": 0.5}')
    assert GenerationConfig.of_model(tmp_path) == GenerationConfig(top_p=0.5)


def test_a_config_over_the_models_own():
    model = GenerationConfig(eos_token_id=3, temperature=0.5)
    combined = GenerationConfig(max_new_tokens=9, temperature=0.7).over(model)
    assert combined == GenerationConfig(eos_token_id=3, temperature=0.7, max_new_tokens=9)


def test_values_given_to_update_stay_even_if_they_are_defaults():
    model = GenerationConfig(do_sample=True, max_length=50, top_k=4)
    given = GenerationConfig().update(do_sample=False, max_length=None)
    combined = given.over(model)
    assert combined == GenerationConfig(top_k=4)
    assert combined.over(model) == combined
    assert GenerationConfig.from_dict({"do_sample": False}).over(model).do_sample is True


def test_numpys_values_can_be_saved(tmp_path):
    config = GenerationConfig(
        eos_token_id=np.array([3, 4]),
        sequence_bias={(np.int64(1), 2): np.float32(-5.0)},
        exponential_decay_length_penalty=np.array([3, 1.5]),
        watermarking_config={"ngram_len": 5, "keys": np.array([1, 2, 3]).tolist()},
        seed=np.int64(4),
    )
    config.save_pretrained(tmp_path)
    read = GenerationConfig.from_pretrained(tmp_path)
    assert read.eos_token_id == (3, 4)
    assert read.sequence_bias == (((1, 2), -5.0),)
    assert read.exponential_decay_length_penalty == (3.0, 1.5)


def test_a_saved_config_can_be_read_again(tmp_path):
    config = GenerationConfig(
        num_beams=4,
        early_stopping="never",
        eos_token_id=[3, 4],
        sequence_bias={(1, 2): -5.0},
        bad_words_ids=[[1, 2], [3]],
        exponential_decay_length_penalty=(3, 1.5),
        watermarking_config={"ngram_len": 5, "keys": [1, 2, 3]},
        stop_strings=["."],
    )
    config.save_pretrained(tmp_path)
    read = GenerationConfig.from_pretrained(tmp_path)
    assert read.update(sequence_bias=None) == config.update(sequence_bias=None)
    assert read.sequence_bias == (((1, 2), -5.0),)
    assert "temperature" not in config.to_dict()
    assert GenerationConfig.from_dict(config.to_dict()) == read


def test_help_describes_every_field():
    text = inspect.getdoc(GenerationConfig)
    head, _, attributes = text.partition("\n\nAttributes:\n")
    assert head.startswith("The arguments of generate()")
    assert re.findall(r"^    (\w+): \S", attributes, re.MULTILINE) == list(CHECKS)
    assert "    temperature: number that scores are divided by.\n" in attributes
    assert max(map(len, text.splitlines())) <= 100


def test_what_a_field_allows_is_declared_beside_it():
    assert CHECKS["temperature"] == Number(1e-6, 1e6)
    assert CHECKS["num_beams"] == Integer(1, 1024)
    assert CHECKS["eos_token_id"] == OneOrSeveral(Integer(0, 2**63 - 1))
    assert all(check for name, check in CHECKS.items() if name != "explicit")


@pytest.mark.parametrize("name", [n for n, check in CHECKS.items() if isinstance(check, Integer)])
def test_whole_numbers_up_to_their_bounds(name):
    least, most = CHECKS[name].least, CHECKS[name].most
    for value in (least - 1, least + 0.5, True, "5", *([] if most is None else [most + 1])):
        with pytest.raises(InputError, match=f"^{name} is .*; a whole number of at least {least}"):
            GenerationConfig(**{name: value})
    assert getattr(GenerationConfig(**{name: np.int32(least)}), name) == least


@pytest.mark.parametrize("name", [n for n, check in CHECKS.items() if isinstance(check, Number)])
def test_numbers_up_to_their_bounds(name):
    least, most = CHECKS[name].least, CHECKS[name].most
    below, above = (np.nextafter(least, -np.inf), np.nextafter(most, np.inf))
    for value in (float(below), float(above), float("nan"), True, "0.5"):
        with pytest.raises(
            InputError, match=f"^{name} is .*; a number from {re.escape(f'{least:g}')}"
        ):
            GenerationConfig(**{name: value})


def test_numbers_of_the_command_line_are_the_fields_of_their_names():
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    (commands,) = parser._subparsers._group_actions
    options = {option.dest: option for option in commands.choices["generate"]._actions}
    for other in ("batch_size", "threads"):  # the pipeline's, and the session's
        del options[other]
    numbers = {name: option for name, option in options.items() if option.type in (int, float)}
    assert len(numbers) > 15
    for name, option in numbers.items():
        assert f"--{name.replace('_', '-')}" in option.option_strings
        check = CHECKS[name]
        kind = check.check if isinstance(check, OneOrSeveral) else check
        assert isinstance(kind, {int: Integer, float: Number}[option.type]), name
        for spelling in option.option_strings:
            parsed = vars(parser.parse_args(["generate", spelling, "1"]))
            assert parsed[name] == 1
            check(name, parsed[name])


def test_names_that_do_not_exist_are_told_with_their_nearest():
    with pytest.raises(InputError, match="no argument 'num_beam'; it has num_beams"):
        GenerationConfig.from_dict({"num_beam": 3})


@pytest.mark.parametrize("name", ["seed", "eos_token_id", "suppress_tokens", "stop_strings"])
def test_none_is_no_value_of_several(name):
    with pytest.raises(InputError, match=f"{name} holds None; leave it out, or pass {name}=None"):
        GenerationConfig().update(**{name: [None]})
    assert getattr(GenerationConfig().update(**{name: None}), name) is None


def test_a_field_can_be_set():
    config = GenerationConfig(temperature=0.5)
    config.max_new_tokens = 5
    config.eos_token_id = [3, 4]
    assert config == GenerationConfig(temperature=0.5, max_new_tokens=5, eos_token_id=[3, 4])
    config.temperature = None
    assert config.temperature == 1.0


def test_a_field_that_is_set_is_checked_first():
    config = GenerationConfig(num_beams=4, num_return_sequences=4)
    with pytest.raises(InputError, match="num_return_sequences is 4, and there are only 2 beams"):
        config.num_beams = 2
    with pytest.raises(InputError, match="no argument 'num_beam'; it has num_beams"):
        config.num_beam = 2
    assert config == GenerationConfig(num_beams=4, num_return_sequences=4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_p", 0),
        ("top_p", 1.5),
        ("typical_p", 2.0),
        ("epsilon_cutoff", -0.5),
        ("eta_cutoff", 3.0),
        ("guidance_scale", -1.5),
        ("max_new_tokens", 3.0),
        ("max_length", 30.0),
    ],
)
def test_what_transformers_takes(name, value):
    assert getattr(GenerationConfig(**{name: value}), name) == value
