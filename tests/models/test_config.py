"""config.json: what is read, and every refusal."""

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import Shape

from gptneo_onnx.models.config import (
    ACTIVATIONS,
    ALIASES,
    MAX_LAYERS,
    MAX_SIZE,
    GPTNeoConfig,
    without_contradictions,
)
from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.labels import Labels

HUGE = 10**400
SIZES = (
    "vocab_size",
    "hidden_size",
    "num_heads",
    "num_layers",
    "window_size",
    "max_position_embeddings",
    "intermediate_size",
)


def read(**changes: Any) -> GPTNeoConfig:
    return GPTNeoConfig.from_dict(Shape().config | changes)


def refused(match: str, **changes: Any) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        read(**changes)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400


def test_every_field_is_read() -> None:
    config = read(intermediate_size=50, pad_token_id=7, window_size=9, tie_word_embeddings=False)
    assert config == GPTNeoConfig(
        vocab_size=301,
        hidden_size=32,
        num_heads=4,
        layer_kinds=("global", "local"),
        window_size=9,
        max_position_embeddings=64,
        intermediate_size=50,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=7,
        names_pad_token=True,
        labels=Labels({0: "LABEL_0", 1: "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1}),
    )
    assert (config.num_layers, config.head_dim) == (2, 8)


def test_a_missing_field_has_the_default_of_transformers() -> None:
    config = GPTNeoConfig.from_dict({"model_type": "gpt_neo"})
    assert (config.hidden_size, config.num_heads, config.num_layers) == (2048, 16, 24)
    assert config.layer_kinds == ("global", "local") * 12
    assert (config.window_size, config.max_position_embeddings) == (256, 2048)
    assert (config.vocab_size, config.intermediate_size) == (50257, 8192)
    assert config.activation_function == "gelu_new"
    assert config.tie_word_embeddings
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (50256, 50256, None)
    assert not config.names_pad_token
    assert (config.labels.count, config.labels.problem_type) == (2, None)


@pytest.mark.parametrize("pad_token_id", [-1, 301])
def test_a_pad_token_outside_the_vocabulary_matches_no_token(pad_token_id: int) -> None:
    config = read(pad_token_id=pad_token_id)
    assert (config.pad_token_id, config.names_pad_token) == (None, True)


def test_the_inner_size_is_four_times_the_hidden_size_unless_given() -> None:
    assert read(intermediate_size=None).intermediate_size == 4 * 32
    assert read(intermediate_size=3).intermediate_size == 3


def test_a_window_wider_than_the_context_holds_the_context() -> None:
    assert read(window_size=1000).window_capacity == 64
    assert read(window_size=1000).window_size == 1000
    assert read(window_size=63).window_capacity == 63


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(Shape().config))
    assert GPTNeoConfig.from_file(path) == read()


def test_a_file_of_more_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(Shape().config | {"padding": "x" * 2**20}))
    with pytest.raises(ModelFileError, match=r"config\.json has \d+ bytes; at most 1048576"):
        GPTNeoConfig.from_file(path)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    with pytest.raises(ModelFileError, match=f"^{path}: model_type is None"):
        GPTNeoConfig.from_file(path)


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "", None, 1, ["gpt_neo"], "x" * 9999])
def test_another_architecture_is_refused(model_type: Any) -> None:
    refused("model_type is .*; only 'gpt_neo' can be used", model_type=model_type)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    "value", [0, -1, True, False, 1.0, 2.5, float("nan"), "32", [32], {}, HUGE]
)
def test_a_size_that_is_no_whole_number_in_range_is_refused(name: str, value: Any) -> None:
    refused(f"{name} is .*; a whole number from 1 to {MAX_SIZE} is allowed", **{name: value})


@pytest.mark.parametrize("name", [name for name in SIZES if name != "window_size"])
def test_a_size_that_is_too_large_is_refused(name: str) -> None:
    refused(f"{name} is {MAX_SIZE + 1}; a whole number", **{name: MAX_SIZE + 1})


@pytest.mark.parametrize("window", [MAX_SIZE + 1, 2**40, 2**63 - 1])
def test_a_window_larger_than_any_context_hides_nothing(window: int) -> None:
    config = read(window_size=window)
    assert config.window_capacity == config.max_position_embeddings


@pytest.mark.parametrize("name", [name for name in SIZES if name != "intermediate_size"])
def test_a_size_that_is_null_is_refused(name: str) -> None:
    refused(f"{name} is None; a whole number", **{name: None})


def test_a_number_too_long_to_print_is_refused() -> None:
    refused("vocab_size is a huge number; a whole number", vocab_size=10**5000)


def test_a_hidden_size_that_the_heads_do_not_divide_is_refused() -> None:
    refused("hidden_size 32 is not a multiple of num_heads 5", num_heads=5)


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (None, False)])
def test_pythons_truth_values_are_taken_as_transformers_does(value: Any, expected: bool) -> None:
    assert read(tie_word_embeddings=value).tie_word_embeddings is expected


@pytest.mark.parametrize("value", [2, 1.0, "true", [], float("nan")])
def test_a_truth_value_must_be_one(value: Any) -> None:
    refused(
        "tie_word_embeddings is .*; true or false is allowed",
        tie_word_embeddings=value,
    )


@pytest.mark.parametrize("value", [0, 1e-12, 1, 5.0, 1e6])
def test_any_epsilon_is_taken(value: Any) -> None:
    assert read(layer_norm_epsilon=value).layer_norm_epsilon == value


@pytest.mark.parametrize(
    "value", [-1e-5, 2e6, float("nan"), float("inf"), True, "1e-5", None, [], HUGE]
)
def test_an_epsilon_that_makes_no_sense_is_refused(value: Any) -> None:
    refused("layer_norm_epsilon is .*; a number from 0 to 1e[+]06", layer_norm_epsilon=value)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_function_is_known(name: str) -> None:
    assert read(activation_function=name).activation_function == name


@pytest.mark.parametrize("value", ["gelu_old", "", None, 1, [], {}, ["gelu"], "x" * 9999])
def test_an_unknown_activation_function_is_refused(value: Any) -> None:
    refused(
        "activation_function is .*; one of gelu, .*tanh is allowed",
        activation_function=value,
    )


@pytest.mark.parametrize("name", ["bos_token_id", "eos_token_id", "pad_token_id"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (0, 0), (300, 300), ([5, 6], 5), (3.0, 3), (-1, None), ([-1], None)],
)
def test_token_ids_may_be_absent_one_or_several(name: str, value: Any, expected: Any) -> None:
    assert getattr(read(**{name: value}), name) == expected


def test_a_token_beyond_the_vocabulary_is_none_as_in_shrunk_models() -> None:
    assert read(eos_token_id=50256).eos_token_id is None


@pytest.mark.parametrize("value", [True, 1.5, float("nan"), "0", [], [True], [[1]], {}])
def test_a_token_that_is_no_id_is_refused(value: Any) -> None:
    refused("eos_token_id is .*; a token id below 301 is allowed", eos_token_id=value)


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        ([[["global", "local"], 2]], "global local global local"),
        ([[["global"], 3], [["local"], 1]], "global global global local"),
        ([[["local"], 4]], "local local local local"),
        ([[["global", "local", "local"], 1], [["global"], 1]], "global local local global"),
        ([[["global"], 0], [["local"], 4]], "local local local local"),
        ([[[], 9], [["local"], 4]], "local local local local"),
    ],
)
def test_attention_types_expand_to_one_kind_per_layer(types: Any, kinds: str) -> None:
    config = read(num_layers=4, attention_types=types)
    assert config.layer_kinds == tuple(kinds.split())


@pytest.mark.parametrize(
    "types",
    [
        None,
        "global",
        7,
        ["global", "local"],
        [["global", "local"]],
        [[["global", "local"], "2"]],
        [[["global", "local"], True]],
        [[["global", "local"], 1.0]],
        [[["global", "local"], -1]],
        [[["global", "local"], MAX_LAYERS + 1]],
        [[["global", "local"], HUGE]],
        [[["global", "sparse"], 1]],
        [[[["global"], "local"], 1]],
        [[["global", None], 1]],
        [["global", 2]],
        [[{"global": 1}, 2]],
        [[["global", "local"], 1, 1]],
        {"global": 2},
    ],
)
def test_odd_attention_types_are_refused(types: Any) -> None:
    refused(r"attention_types is .*; a list of \[\[kinds\], count\]", attention_types=types)


@pytest.mark.parametrize("count", [0, 2, MAX_LAYERS // 2])
def test_attention_types_must_make_as_many_layers_as_there_are(count: int) -> None:
    refused(
        f"attention_types makes {2 * count} layers, but num_layers is 2",
        attention_types=[[["global", "local"], count]],
    )


def test_many_layers_are_counted_before_they_are_made() -> None:
    """A megabyte of JSON could otherwise ask for gigabytes."""
    pattern = ["global"] * 100_000
    refused("attention_types is .* at most 1024 layers", attention_types=[[pattern, MAX_LAYERS]])


def test_more_layers_than_any_model_has_are_refused() -> None:
    refused("num_layers is 1025; at most 1024 are allowed", num_layers=MAX_LAYERS + 1)


def test_an_odd_number_of_layers_needs_attention_types() -> None:
    values = {"model_type": "gpt_neo", "num_layers": 3}
    with pytest.raises(ModelFileError, match="attention_types makes 2 layers, but num_layers is 3"):
        GPTNeoConfig.from_dict(values)


@pytest.mark.parametrize(
    ("hidden_size", "num_heads", "head_dim", "padded"),
    [(64, 16, 4, 8), (60, 5, 12, 16), (40, 8, 5, 8), (7, 7, 1, 8), (64, 8, 8, 8), (160, 2, 80, 80)],
)
def test_heads_of_any_size_are_padded_to_multiples_of_8(
    hidden_size: int, num_heads: int, head_dim: int, padded: int
) -> None:
    values = {"model_type": "gpt_neo", "hidden_size": hidden_size, "num_heads": num_heads}
    config = GPTNeoConfig.from_dict(values)
    assert (config.head_dim, config.cache_head_dim) == (head_dim, padded)


def test_attention_layers_count_for_more_than_attention_types() -> None:
    config = read(attention_layers=["local", "local"])
    assert config.layer_kinds == ("local", "local")
    assert read(attention_layers=None).layer_kinds == ("global", "local")


def test_attention_layers_beyond_the_number_of_layers_are_left_out() -> None:
    assert read(attention_layers=["local", "global", "local"]).layer_kinds == ("local", "global")


def test_attention_layers_do_without_attention_types() -> None:
    values = Shape().config | {"attention_layers": ["local", "global"]}
    del values["attention_types"]
    assert GPTNeoConfig.from_dict(values).layer_kinds == ("local", "global")


@pytest.mark.parametrize(
    "layers", ["global", ["global", "sparse"], ["global", None], [["global"], "local"], 2, {}]
)
def test_odd_attention_layers_are_refused(layers: Any) -> None:
    refused("attention_layers is .*; a list of one kind for each layer", attention_layers=layers)


def test_too_few_attention_layers_are_refused() -> None:
    refused("attention_layers names 1 layers, but num_layers is 2", attention_layers=["local"])


def test_aliases_count_for_more_than_the_names_they_stand_for() -> None:
    assert read(num_attention_heads=2).num_heads == 2
    assert read(num_hidden_layers=1).layer_kinds == ("global",)
    refused("num_heads is None; a whole number", num_attention_heads=None)


def test_the_default_kinds_of_an_aliased_number_of_layers() -> None:
    values = {"model_type": "gpt_neo", "num_hidden_layers": 3}
    assert GPTNeoConfig.from_dict(values).layer_kinds == ("global", "local", "global")
    refused("attention_types makes 2 layers, but num_layers is 3", num_hidden_layers=3)


@pytest.mark.parametrize("value", [None, 0, 7.0, "wide"])
def test_a_window_that_no_layer_has_may_be_anything(value: Any) -> None:
    types = [[["global"], 2]]
    assert read(window_size=value, attention_types=types).window_size == 256
    refused("window_size is .*; a whole number", window_size=value)


def test_a_class_says_which_model_where_model_type_is_missing() -> None:
    values = Shape().config
    del values["model_type"]
    assert GPTNeoConfig.from_dict(values) == read()
    for architectures in ([], ["GPT2LMHeadModel"], "GPTNeoForCausalLM", [3]):
        with pytest.raises(ModelFileError, match="model_type is None"):
            GPTNeoConfig.from_dict(values | {"architectures": architectures})


def test_pruned_heads_are_refused_as_transformers_does() -> None:
    refused("pruned_heads is .*; a GPT-Neo's heads cannot be pruned", pruned_heads={"0": [1]})
    assert read(pruned_heads={}) == read()


def test_a_config_without_aliases_says_the_same() -> None:
    values = Shape().config | {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = GPTNeoConfig.from_dict(values)
    rewritten = without_contradictions(values, config)
    assert not ALIASES.keys() & rewritten.keys()
    assert GPTNeoConfig.from_dict(rewritten) == config
