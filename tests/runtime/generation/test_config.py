"""GenerationConfig: transformers' names and defaults; nothing is silently ignored."""

import argparse
import copy
import inspect
import json
import pickle
import pydoc
import re

import numpy as np
import pytest

from gptneo_onnx.models import InputError, ModelFileError
from gptneo_onnx.runtime import GenerationConfig, GenerationMode
from gptneo_onnx.runtime.cli.generate import add_command
from gptneo_onnx.runtime.generation.config_checks import (
    CALL_ARGUMENTS,
    INAPPLICABLE,
    PASSED_OVER,
    check_mode,
)
from gptneo_onnx.runtime.generation.config_combination import (
    asked_length,
    model_generation_config,
    over,
    read_config,
)
from gptneo_onnx.runtime.generation.config_fields import Integer, Number, OneOrSeveral
from gptneo_onnx.runtime.generation.generation_fields import FIELDS, KEPT

KINDS = {each.name: each.metadata["kind"] for each in FIELDS if each.metadata}
EVERY_WAY = {"eos_token_id": 3, "prompt_lookup_num_tokens": 2}
SAMPLING = EVERY_WAY | {"do_sample": True}
BEAMS = {"eos_token_id": 3, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}


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
    assert GenerationConfig().updated(**{name: neutral}) == GenerationConfig()


@pytest.mark.parametrize("name", INAPPLICABLE)
def test_arguments_that_are_not_applicable_are_named(name):
    with pytest.raises(InputError, match=f"{name}=.* is not supported; leave it at"):
        GenerationConfig().updated(**{name: object()})


@pytest.mark.parametrize("name", CALL_ARGUMENTS)
def test_arguments_of_generate_alone_are_none_of_a_config(name):
    with pytest.raises(InputError, match=f"{name} is an argument of generate"):
        GenerationConfig(**{name: None})


@pytest.mark.parametrize(("value", "tokens"), [(None, ()), (7, (7,)), ([7, 8], (7, 8))])
def test_end_tokens_none_one_or_several(value, tokens):
    assert GenerationConfig(eos_token_id=value).eos_token_ids == tokens


def test_the_fill_is_the_pad_token_or_the_first_end_or_zero():
    assert GenerationConfig(pad_token_id=5, eos_token_id=6).fill_token_id == 5
    assert GenerationConfig(eos_token_id=[6, 7]).fill_token_id == 6
    assert GenerationConfig().fill_token_id == 0


def check_own(config):
    """Check a config as a model's own."""
    check_mode(config, config.get_generation_mode(), ())


def test_arguments_of_a_file_that_do_not_apply_are_refused_until_they_are_reset(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"penalty_alpha": 0.6, "low_memory": false}')
    config = GenerationConfig.from_pretrained(tmp_path)
    assert (config.penalty_alpha, config.low_memory) == (0.6, False)
    with pytest.raises(
        InputError, match="sets penalty_alpha, which is not supported; pass penalty_"
    ):
        check_own(config)
    check_own(config.updated(penalty_alpha=None))


def test_a_file_with_a_value_out_of_range_is_named(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 0}')
    with pytest.raises(ModelFileError, match="generation_config.json: max_new_tokens is 0; a"):
        GenerationConfig.from_pretrained(tmp_path)


def test_none_takes_a_field_back_to_its_default():
    config = GenerationConfig(temperature=0.5, top_k=3, min_length=4)
    assert config.updated(temperature=None, min_length=None) == GenerationConfig(top_k=3)


def test_none_switches_top_k_off(tmp_path):
    off = GenerationConfig(top_k=None)
    assert GenerationConfig().updated(top_k=None).top_k is None
    assert over(GenerationConfig().updated(top_k=None), GenerationConfig(top_k=4)).top_k is None
    assert over(GenerationConfig(top_k=4), off).top_k == 4
    assert over(GenerationConfig(), off).top_k is None
    assert read_config(GenerationConfig(top_k=None, do_sample=True)).top_k is None
    off.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert written == {"top_k": None, "transformers_version": off.transformers_version}
    assert GenerationConfig.from_pretrained(tmp_path) == off


@pytest.mark.parametrize("name", PASSED_OVER)
def test_arguments_that_no_result_depends_on_are_passed_over(name):
    assert GenerationConfig().updated(**{name: object()}) == GenerationConfig()


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
    assert {name: getattr(config, name) for name in values} == values
    check_own(config)
    check_own(config.updated(return_dict_in_generate=True))
    assert config.update(max_window_size=5) == {}
    assert json.loads(config.to_json_string())["max_window_size"] == 5


@pytest.mark.parametrize("others", [{"do_sample": True}, {"num_beams": 2}, {"top_k": 1}])
def test_penalty_alpha_has_an_effect_on_greedy_decoding_alone(tmp_path, others):
    values = {"penalty_alpha": 0.6} | others
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    config = GenerationConfig.from_pretrained(tmp_path)
    check_own(config)
    with pytest.raises(InputError, match="sets penalty_alpha"):
        check_own(config.updated(do_sample=False, num_beams=1, top_k=4))


def test_a_file_may_say_numbers_as_transformers_takes_them(tmp_path):
    values = {"max_length": 40.0, "eos_token_id": [-1, 5.0], "pad_token_id": -1, "do_sample": 1}
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    config = GenerationConfig.from_pretrained(tmp_path)
    assert {name: getattr(config, name) for name in values} == values
    read = read_config(config)
    assert (read.max_length, read.eos_token_id, read.pad_token_id) == (40, (5,), -1)
    assert read.do_sample is True
    assert (config.eos_token_ids, config.fill_token_id) == ((5,), -1)


def test_20_is_a_length_in_a_call_alone(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"max_length": 20}')
    for config in (GenerationConfig(max_length=20), GenerationConfig.from_pretrained(tmp_path)):
        assert config == GenerationConfig()
        assert asked_length(config) is None
    assert asked_length(GenerationConfig().updated(max_length=20)) == 20
    assert asked_length(GenerationConfig().updated(max_length=None)) is None
    assert asked_length(GenerationConfig(max_length=21)) == 21


def test_a_models_config_may_stand_in_config_json(tmp_path):
    (tmp_path / "config.json").write_text('{"eos_token_id": 3, "max_length": 50, "top_k": 7}')
    expected = GenerationConfig(bos_token_id=50256, eos_token_id=3, max_length=50, top_k=7)
    assert model_generation_config(tmp_path) == expected
    (tmp_path / "generation_config.json").write_text('{"top_p": 0.5}')
    assert model_generation_config(tmp_path) == GenerationConfig(top_p=0.5)


def test_a_config_over_the_models_own():
    model = GenerationConfig(eos_token_id=3, temperature=0.5)
    combined = over(GenerationConfig(max_new_tokens=9, temperature=0.7), model)
    assert combined == GenerationConfig(eos_token_id=3, temperature=0.7, max_new_tokens=9)


def test_a_models_config_of_an_old_release_fills_in_tokens_alone():
    old = GenerationConfig(top_k=4, eos_token_id=3, transformers_version="4.49.0.dev0")
    assert over(GenerationConfig(), old) == GenerationConfig(eos_token_id=3)
    assert over(GenerationConfig(), old, use_model_defaults=True).top_k == 4
    new = GenerationConfig(top_k=4, eos_token_id=3)
    assert over(GenerationConfig(), new, use_model_defaults=False).top_k == 50


def test_values_given_to_a_call_stay_even_if_they_are_defaults():
    model = GenerationConfig(do_sample=True, max_length=50, top_k=4)
    given = GenerationConfig().updated(do_sample=False, max_length=None)
    combined = over(given, model)
    assert combined == GenerationConfig(top_k=4, max_length=None)
    assert over(combined, model) == combined
    for same in (GenerationConfig(do_sample=False), GenerationConfig()):
        assert same.update(do_sample=False) == {}
        assert over(same, model).do_sample is True


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
    assert read.eos_token_id == [3, 4]
    assert read.sequence_bias == [[[1, 2], -5.0]]
    assert read.exponential_decay_length_penalty == [3.0, 1.5]
    assert isinstance(config.eos_token_id, np.ndarray)


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
    assert read.updated(sequence_bias=None) == config.updated(sequence_bias=None)
    assert read.sequence_bias == [[[1, 2], -5.0]]
    assert GenerationConfig.from_dict(config.to_dict()) == config
    assert read.to_diff_dict().keys() == {
        "num_beams",
        "early_stopping",
        "eos_token_id",
        "sequence_bias",
        "bad_words_ids",
        "exponential_decay_length_penalty",
        "watermarking_config",
        "stop_strings",
        "transformers_version",
    }


def test_help_describes_every_field():
    text = inspect.getdoc(GenerationConfig)
    head, _, attributes = text.partition("\n\nAttributes:\n")
    assert head.startswith("The arguments of generate()")
    assert re.findall(r"^    (\w+): \S", attributes, re.MULTILINE) == list(KINDS)
    assert "    temperature: number that scores are divided by; 0 decodes greedily" in attributes
    _, _, kept = attributes.partition("without effect here: ")
    assert re.findall(r"\w+", kept) == list(KEPT)
    assert max(map(len, text.splitlines())) <= 100


def test_help_shows_nothing_inner():
    text = pydoc.plain(pydoc.render_doc(GenerationConfig))
    assert not re.search(r"explicit|dataclass|Field\(|of_model", text)


def test_what_a_field_allows_is_declared_beside_it():
    assert KINDS["temperature"] == Number()
    assert KINDS["num_beams"] == Integer(1, 1024)
    assert KINDS["forced_eos_token_id"] == OneOrSeveral(Integer(0, 2**63 - 1))


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if isinstance(kind, Integer)])
def test_whole_numbers_up_to_their_bounds(name):
    base = BEAMS if name in ("num_beams", "num_beam_groups") else SAMPLING
    base = {} if name == "prefill_chunk_size" else base
    kind = KINDS[name]
    bounds = [] if kind.least is None else [kind.least - 1]
    bounds += [] if kind.most is None else [kind.most + 1]
    if name in ("num_beam_groups", "num_return_sequences"):
        bounds = [kind.most + 1]
    for value in (2.5, "5", *bounds):
        with pytest.raises(InputError, match=f"^{name} is .*; a whole number"):
            read_config(GenerationConfig(**(base | {name: value})), is_drafted="assist" in name)
    config = GenerationConfig(**(base | {name: np.float32(2.0)}))
    read = read_config(config, is_drafted="assist" in name)
    assert type(getattr(read, name)) is int
    assert getattr(read, name) == 2


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if isinstance(kind, Number)])
def test_numbers_that_are_none(name):
    base = BEAMS if name in ("length_penalty", "diversity_penalty") else SAMPLING
    for value in ("0.5", [1.0], object()):
        with pytest.raises(InputError, match=f"^{name} is .*; a number"):
            read_config(GenerationConfig(**(base | {name: value})), is_drafted=True)


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({"temperature": "hot", "top_k": -1, "top_p": [], "seed": "x"}, {}),
        ({"length_penalty": "long", "num_beam_groups": 3, "diversity_penalty": -1}, {}),
        ({"min_length": "x", "min_new_tokens": 2.5}, {}),
        ({"min_length": -3, "no_repeat_ngram_size": -1.5}, {"eos_token_id": 3}),
        ({"num_assistant_tokens": "x", "max_matching_ngram_size": -1}, {}),
        ({"prompt_lookup_num_tokens": -4, "prefill_chunk_size": 0}, {"num_beams": 2}),
        ({"diversity_penalty": 0.5}, {"num_beams": 2}),
    ],
)
def test_values_that_cannot_have_an_effect_are_not_looked_at(values, base):
    assert read_config(GenerationConfig(**base, **values)) == read_config(GenerationConfig(**base))


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
        kind = KINDS[name]
        for spelling in option.option_strings:
            parsed = vars(parser.parse_args(["generate", spelling, "1"]))
            assert parsed[name] == 1
            assert kind(name, parsed[name]) in (1, (1,))


def test_names_that_do_not_exist_are_told_with_their_nearest():
    with pytest.raises(InputError, match="no argument 'num_beam'; it has num_beams"):
        GenerationConfig(num_beam=3)
    config, unused = GenerationConfig.from_dict(
        {"num_beams": 3, "odd": 4}, top_k=2, odd=5, other=6, return_unused_kwargs=True
    )
    assert (config.num_beams, config.top_k, config.odd, config.other) == (3, 2, 5, 6)
    assert unused == {}


@pytest.mark.parametrize("name", ["seed", "eos_token_id", "suppress_tokens", "stop_strings"])
def test_none_is_no_value_of_several(name):
    with pytest.raises(InputError, match=f"{name} holds None; leave it out, or pass {name}=None"):
        read_config(GenerationConfig(do_sample=True, **{name: [None]}))
    assert getattr(GenerationConfig().updated(**{name: None}), name) is None


def test_a_field_can_be_set():
    config = GenerationConfig(temperature=0.5)
    config.max_new_tokens = 5
    config.eos_token_id = [3, 4]
    assert config == GenerationConfig(temperature=0.5, max_new_tokens=5, eos_token_id=[3, 4])
    assert config.eos_token_id == [3, 4]
    config.temperature = None
    assert config.temperature is None
    assert read_config(config.updated(do_sample=True)).temperature == 1.0


def test_a_field_that_is_set_is_checked_when_it_is_used():
    config = GenerationConfig(num_beams=4, num_return_sequences=4)
    config.num_beams = 2
    for check in (config.validate, config.updated, config.update):
        with pytest.raises(InputError, match="num_return_sequences is 4, and there are only 2"):
            check()
    config.num_return_sequences = 2
    config.validate()
    with pytest.raises(InputError, match="no argument 'num_beam'; it has num_beams"):
        config.num_beam = 2


def test_update_changes_the_config_and_returns_the_rest():
    config = GenerationConfig(top_k=4)
    assert config.update(top_p=0.5, odd=3, use_cache=False) == {"odd": 3}
    assert config == GenerationConfig(top_k=4, top_p=0.5, use_cache=False)
    with pytest.raises(InputError, match="max_new_tokens is 0"):
        config.update(top_k=7, max_new_tokens=0)
    assert config.top_k == 4


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))]
)
def test_copies(again):
    config = GenerationConfig(eos_token_id=[3, 4], watermarking_config={"bias": 3.0})
    made = again(config)
    assert made == config
    assert hash(made) == hash(config)
    assert repr(made) == repr(config)
    made.top_k = 3
    assert made != config
    assert config != {"eos_token_id": [3, 4]}


def test_values_read_back_as_they_were_given():
    given = {
        "eos_token_id": [3, 4],
        "max_length": 30.0,
        "sequence_bias": {(1, 2): -5.0},
        "bad_words_ids": [[1], [2, 3]],
        "exponential_decay_length_penalty": [3, 1.5],
        "stop_strings": ["."],
        "temperature": 1,
        "do_sample": 1,
        "use_cache": False,
        "penalty_alpha": 0.6,
    }
    config = GenerationConfig(**given)
    for name, value in given.items():
        assert getattr(config, name) is value
        assert config.to_dict()[name] == value
        assert type(config.to_dict()[name]) is type(value)


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, "greedy_search"),
        ({"do_sample": True}, "sample"),
        ({"num_beams": 2}, "beam_search"),
        ({"num_beams": 2, "do_sample": True}, "beam_sample"),
        ({"num_beams": 2, "num_beam_groups": 2}, "group_beam_search"),
        ({"prompt_lookup_num_tokens": 2}, "assisted_generation"),
        ({"penalty_alpha": 0.6}, "contrastive_search"),
        ({"dola_layers": "low"}, "dola_generation"),
        ({"force_words_ids": [[1]]}, "constrained_beam_search"),
    ],
)
def test_the_mode(values, mode):
    assert GenerationConfig(**values).get_generation_mode() is GenerationMode(mode)
    if mode in ("greedy_search", "sample"):
        assert GenerationConfig(**values).get_generation_mode(object()) == "assisted_generation"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"pad_token_id": -1}, "pad_token_id"),
        ({"output_scores": True}, "output_scores"),
        ({"use_cache": False, "cache_implementation": "static"}, "cache_implementation"),
    ],
)
def test_a_config_is_not_saved_with_what_has_no_effect(tmp_path, values, name):
    config = GenerationConfig(**values)
    with pytest.raises(InputError, match=f"the config sets {name}, which cannot have an effect"):
        config.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_other_names(tmp_path):
    config = GenerationConfig(top_k=3, do_sample=True, seed=4)
    config.save_pretrained(tmp_path, config_file_name="other.json")
    assert GenerationConfig.from_pretrained(tmp_path, "other.json") == config
    assert GenerationConfig.from_pretrained(tmp_path / "other.json") == config
    config.to_json_file(tmp_path / "all.json", use_diff=False)
    assert GenerationConfig.from_pretrained(tmp_path, "all.json", top_k=5).top_k == 5
    read, unused = GenerationConfig.from_pretrained(
        tmp_path, "all.json", odd=5, cache_dir="x", return_unused_kwargs=True
    )
    assert (read.odd, unused) == (5, {})
    with pytest.raises(InputError, match=r"save_directory is the file .*all.json; pass a direct"):
        config.save_pretrained(tmp_path / "all.json")


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
