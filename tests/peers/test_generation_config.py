"""GenerationConfig against transformers': what it gives back, and what generate() makes of it.

--draw-seed fresh draws others; WILD_DRAWS=N draws more.
"""

import copy
import json
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
DRAWS = int(os.environ.get("WILD_DRAWS", "400"))
GROUPS = 20  # tests that share the draws
VOCABULARY, CONTEXT = 40, 64
INF, NAN = float("inf"), float("nan")
PROMPT = np.arange(7, 16)[None]

# Values for every field: usual ones, odd ones, and ones that are refused.
VALUES: dict[str, list[Any]] = {
    "max_length": [20, 20.0, 30, 12.5, 15.0, 9, 3, 0, -1, None, True, "20"],
    "max_new_tokens": [1, 5, 3.0, 2.5, True, 0, -2, None, "3", NAN],
    "min_length": [0, 4, 15, 30, -3, 14.0, True, None, 70],
    "min_new_tokens": [0, 3, 8, -3, -50, 4.0, True, None, 70],
    "max_time": [1e9, INF, -1, -0.5, NAN, 60, None, "1"],
    "stop_strings": [None, "a", ["a"]],
    "do_sample": [True, False, 1, 0, None],
    "num_beams": [1, 2, 3, 1.0, 2.0, True, 0, -1, None, "2"],
    "num_beam_groups": [1, 0, -2, 2, 1.0, None],
    "diversity_penalty": [0.0, 0.5, -1.0, None, "x"],
    "length_penalty": [
        0,
        1,
        2,
        -1,
        8.0,
        -8.5,
        12.0,
        -12.0,
        16,
        30.0,
        -30.0,
        100.0,
        -100.0,
        -400,
        400.0,
        100,
        INF,
        -INF,
        NAN,
        True,
        None,
        "1",
    ],
    "early_stopping": [True, False, "never", 1, 0, 1.0, None, "x"],
    "temperature": [0.5, 2.0, 1, 0.0, -1.0, 1e-7, 1e-30, 1e300, INF, NAN, None, "x", True],
    "top_k": [1, 3, 0, 0.0, -1, 5.0, 1000, None, True, "x"],
    "top_p": [0.3, 0, 1, 1.5, -0.5, NAN, INF, None, "x", 0.0, False],
    "min_p": [0.2, 0, 1, 1.5, -0.5, NAN, None, "x", True],
    "typical_p": [0.4, 1, 1.5, 0, -0.5, NAN, None, "x"],
    "epsilon_cutoff": [0.02, 0, 1, 1.5, -0.5, NAN, None, "x"],
    "eta_cutoff": [0.02, 0, 1, 1.5, -0.5, NAN, None, "x"],
    "repetition_penalty": [1.2, 0.5, 1, 2, 0.0, -1.0, 1e30, 1e300, INF, NAN, None, "x", True],
    "encoder_repetition_penalty": [1.2, 0.5, 1, 2, 0.0, -1.0, 1e30, NAN, None, "x"],
    "no_repeat_ngram_size": [0, 1, 2, -1, 2.0, 100, True, None, "x"],
    "encoder_no_repeat_ngram_size": [0, 1, 2, -1, 2.0, 100, None, "x"],
    "bad_words_ids": [[[3]], [[3, 4], [5]], [], [[]], [[-1]], [3], [[99]], ((3,),), None],
    "sequence_bias": [
        {(3,): 2.0},
        [[[3, 4], -5.0], [[5], 9.5]],
        {(3,): 2},
        {(3,): INF},
        {(3,): -INF},
        {},
        [],
        {(99,): 1.0},
        {3: 1.0},
        None,
    ],
    "suppress_tokens": [[3, 4], [], [-1], [99], [3.0], 3, (5,), np.array([6]), None],
    "begin_suppress_tokens": [[3, 4], [], [-1], [99], [3.5], 3, None],
    "forced_bos_token_id": [3, -1, 99, [3, 4], None],
    "forced_eos_token_id": [3, [3, 4], -1, 99, 3.0, [3.5], None, []],
    "exponential_decay_length_penalty": [
        (1, 1.5),
        [2, 1.2],
        (-3, 1.1),
        (1.5, 1.5),
        (1, 0.5),
        (0, -1.5),
        (1, 0),
        (1.5, -1.5),
        (1,),
        (1, 1.5, 2),
        3,
        None,
        (0, 1e200),
    ],
    "renormalize_logits": [True, False, 1, None],
    "remove_invalid_values": [True, False, 1, None],
    "guidance_scale": [1, 1.5, 0, -1.5, 3, True, None, "x"],
    "watermarking_config": [
        {"bias": 3.0},
        {"bias": -3.0, "greenlist_ratio": 0.5},
        {"greenlist_ratio": 2.0},
        {"odd": 3},
        None,
    ],
    "token_healing": [False, None, 0, True],
    "prefill_chunk_size": [1, 3, 100, 0, -1, None, 2.0],
    "num_assistant_tokens": [1, 20, 0, None, "x"],
    "num_assistant_tokens_schedule": ["constant", "heuristic", "fast", None],
    "assistant_confidence_threshold": [0, 0.4, 2, -1, None],
    "prompt_lookup_num_tokens": [1, 4, 0, -1, None],
    "max_matching_ngram_size": [1, 3, 0, -1, None],
    "eos_token_id": [3, [3, 4], -1, [-1, 5], 99, 3.7, [3.0], [], None, "x"],
    "bos_token_id": [3, -1, 99, None, [3]],
    "pad_token_id": [0, 3, -1, 99, 3.7, [3], None],
    "num_return_sequences": [1, 2, 3, 0, -1, 1.0, True, None, "x"],
    "return_dict_in_generate": [True, False, 1, None],
    "output_scores": [True, False, 1, None],
    "output_logits": [True, False, 1, None],
    "use_cache": [True, False, None],
    "cache_implementation": [None, "dynamic", "odd"],
    "return_legacy_cache": [None, False],
    "output_attentions": [False, None],
    "output_hidden_states": [False, None],
    "decoder_start_token_id": [3, -1, None],
    "assistant_early_exit": [None],
    "assistant_lookbehind": [10, 0, "x", None],
    "target_lookbehind": [10, 0, "x", None],
    "compile_config": [None, 3],
    "disable_compile": [True, False, None],
    "low_memory": [None, False],
    "penalty_alpha": [None, 0, 0.6, -1],
    "dola_layers": [None, "low"],
    "constraints": [None, []],
    "force_words_ids": [None, [[3]]],
    "is_assistant": [False],
}

BASES: list[dict[str, Any]] = [
    {},
    {"do_sample": True},
    {"num_beams": 3},
    {"num_beams": 2, "num_return_sequences": 2, "eos_token_id": 3},
    {"num_beams": 2, "do_sample": True},
    {"eos_token_id": [3, 4], "pad_token_id": 5},
    {"prompt_lookup_num_tokens": 3, "eos_token_id": 3},
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory, request):
    torch.set_flush_denormal(True)
    transformers.logging.set_verbosity_error()
    folder = tmp_path_factory.mktemp("pair")
    shape = Shape(vocab_size=VOCABULARY, window_size=9, max_position_embeddings=CONTEXT)
    seed = int(request.config.getoption("--draw-seed"))
    checkpoint = write_checkpoint(folder / "checkpoint", shape, np.random.default_rng(seed))
    ours = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, folder / "export"))
    theirs = transformers.GPTNeoForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    for model, kind in ((ours, GenerationConfig), (theirs, transformers.GenerationConfig)):
        model.generation_config = kind()
    return ours, theirs


def draw_values(random: np.random.Generator) -> dict[str, Any]:
    """Draw a way to generate and one to three fields beside it."""
    values = dict(BASES[random.integers(len(BASES))])
    for name in random.choice(list(VALUES), int(random.integers(1, 4)), replace=False):
        values[str(name)] = VALUES[str(name)][random.integers(len(VALUES[str(name)]))]
    if values.get("num_beams") not in (None, 1):
        # transformers does not reorder the negative prompts' caches, and penalizes one beam only.
        values.pop("guidance_scale", None)
        values.pop("encoder_repetition_penalty", None)
    if values.get("prompt_lookup_num_tokens") is not None and values.get("max_time") in (-1, -0.5):
        values.pop("max_time")  # the first check of the time comes before the first token there
    return {"return_dict_in_generate": True, "output_scores": True, **values}


def run_theirs(model: Any, values: dict[str, Any], way: str) -> Any:
    ids = torch.from_numpy(PROMPT)
    arguments = {"attention_mask": torch.ones_like(ids)}
    if way == "config":
        config = transformers.GenerationConfig(**values)
        return model.generate(ids, generation_config=config, **arguments)
    return model.generate(ids, **arguments, **values)


def run_ours(model: Any, values: dict[str, Any], way: str) -> Any:
    if way == "config":
        return model.generate(PROMPT, generation_config=GenerationConfig(**values))
    if way == "theirs":
        return model.generate(PROMPT, generation_config=transformers.GenerationConfig(**values))
    return model.generate(PROMPT, **values)


# What one of the two takes and the other does not, with the reason; each value for itself.
TAKEN_HERE: dict[str, tuple[str, list[Any]]] = {
    "max_length": ("3.0 is 3 with beams too", [12.5, 15.0, 20.0]),
    "max_new_tokens": ("3.0 is 3 with beams too", [2.5, 3.0]),
    "min_length": ("3.0 is 3", [14.0]),
    "min_new_tokens": ("3.0 is 3", [4.0]),
    "num_beams": ("3.0 is 3", [2.0]),
    "no_repeat_ngram_size": ("3.0 is 3", [2.0]),
    "encoder_no_repeat_ngram_size": ("3.0 is 3", [2.0]),
    "top_k": ("3.0 is 3; greedy decoding does not look at it", [5.0, "x"]),
    "prefill_chunk_size": ("3.0 is 3", [2.0]),
    "temperature": ("an integer is a number, and 0 decodes greedily", [2, 0.0]),
    "repetition_penalty": ("an integer is a number", [2]),
    "encoder_repetition_penalty": ("an integer is a number", [2]),
    "num_beam_groups": ("it is code of the hub there", [2]),
    "sequence_bias": ("an integer is a number", [{(3,): 2}]),
    "bad_words_ids": ("a tuple is a list", [((3,),)]),
    "suppress_tokens": ("one id is a list of one", [3]),
    "begin_suppress_tokens": ("one id is a list of one", [3]),
    "forced_eos_token_id": ("3.0 is 3; unknown ids and none are passed over", [3.0, 99, []]),
    "exponential_decay_length_penalty": (
        "without an end token it raises none; powers beyond floats are infinite",
        VALUES["exponential_decay_length_penalty"],
    ),
    "prompt_lookup_num_tokens": ("it needs no end token here", [1, 3, 4]),
    "eos_token_id": ("no id is None; unknown ids are passed over", [[], 99]),
    "pad_token_id": ("a list of one id is that id", [[3]]),
    "watermarking_config": ("a call takes dicts", VALUES["watermarking_config"][:2]),
}
TAKEN_THERE: dict[str, tuple[str, list[Any]]] = {
    "forced_bos_token_id": ("one token is forced", [[3, 4]]),
    "guidance_scale": ("it does not go with prompt lookup", [1.5, 0, -1.5, 3]),
    "max_time": ("nothing compares with NaN", [NAN]),
    "num_return_sequences": ("a call has a result; there, beams are cut off from the end", [-1]),
    "max_new_tokens": ("a length is a number", [NAN]),
}


def is_listed(table: dict[str, tuple[str, list[Any]]], values: dict[str, Any]) -> bool:
    return any(
        repr(value) in map(repr, table[name][1]) for name, value in values.items() if name in table
    )


def difference(values: dict[str, Any], theirs: Any, ours: Any) -> str | None:
    """Say what two results differ in; None if they are the same."""
    scores = getattr(theirs, "scores", None)
    if scores and len(ours.scores):  # drawn tokens differ, what they are drawn by does not
        expected, found = scores[0].numpy(), np.asarray(ours.scores[0])
        if found.shape != expected.shape:
            return f"scores of {expected.shape} and {found.shape}"
        if not np.allclose(found, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
            return f"first scores {expected[0, :9]} and {found[0, :9]}"
    if values.get("do_sample"):
        return None
    expected = getattr(theirs, "sequences", theirs).tolist()
    found = getattr(ours, "sequences", ours).tolist()
    likelihoods = getattr(theirs, "sequences_scores", None)
    if likelihoods is not None:
        own = ours.sequences_scores
        if not np.allclose(own, likelihoods.numpy(), rtol=1e-3, atol=1e-4, equal_nan=True):
            return f"sequences_scores {likelihoods.tolist()} and {own.tolist()}"
        if len(set(own.tolist())) < len(own) or not np.isfinite(own).all() or not own.all():
            return None  # a tie
    if values.get("prompt_lookup_num_tokens") is not None:  # there it may be one token too long
        expected = [row[: len(found[0])] for row in expected]
    return None if found == expected else f"{expected} and {found}"


def outcome(run: Callable[..., Any], model: Any, values: dict[str, Any], way: str) -> Any:
    """Return a result, or the error instead of one."""
    try:
        return run(model, copy.deepcopy(values), way)
    except InputError as error:
        return error
    except Exception as error:
        if run is run_ours:
            raise AssertionError(f"{values} by {way}") from error
        return error


@pytest.mark.parametrize("group", range(GROUPS))
def test_drawn_configs(pair, random, group):
    """Taken by both: the same result; taken by one: listed above."""
    ours, theirs = pair
    compared = 0
    for draw in range(DRAWS // GROUPS):
        values = draw_values(random)
        way = ("config", "kwargs", "theirs")[draw % 3]
        expected = outcome(run_theirs, theirs, values, "config" if way == "theirs" else way)
        if way == "theirs" and isinstance(expected, Exception):
            continue
        found = outcome(run_ours, ours, values, way)
        refusals = isinstance(expected, Exception), isinstance(found, Exception)
        if refusals == (True, False):
            # None is the default here; there it is an error for some.
            assert None in values.values() or is_listed(TAKEN_HERE, values), (
                f"{values} by {way}: {expected!r}"
            )
        elif refusals == (False, True):
            assert is_listed(TAKEN_THERE, values), f"{values} by {way}: {found!r}"
        elif refusals == (False, False):
            assert difference(values, expected, found) is None, f"{values} by {way}"
            compared += 1
    assert compared > 0.1 * (DRAWS // GROUPS)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_length": 20},
    {"max_length": 30.0, "eos_token_id": [3, 4]},
    {"do_sample": True, "temperature": 0.5, "top_k": None},
    {"num_beams": 3, "num_return_sequences": 2, "early_stopping": "never"},
    {"watermarking_config": {"bias": 3.0}},
    {"bad_words_ids": [[1], [2, 3]], "stop_strings": ["."], "suppress_tokens": [5]},
    {"penalty_alpha": 0.6, "use_cache": False, "constraints": None},
    {"exponential_decay_length_penalty": (3, 1.5), "prompt_lookup_num_tokens": 3},
    {"dola_layers": "low", "_from_model_config": True},
    {"pad_token_id": -1},
    {"force_words_ids": [[3]], "num_beams": 2},
    {"num_beams": 2, "num_beam_groups": 2},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
class TestTheConfigItself:
    def both(self, values):
        return GenerationConfig(**values), transformers.GenerationConfig(**values)

    def test_values(self, values):
        ours, theirs = self.both(values)
        expected = theirs.to_dict()
        if theirs.watermarking_config is not None:
            expected["watermarking_config"] = theirs.watermarking_config.to_dict()
        assert ours.to_dict() == expected
        for name in expected.keys() - {"watermarking_config"}:
            assert type(getattr(ours, name)) is type(getattr(theirs, name))

    def test_texts(self, values):
        ours, theirs = self.both(values)
        for arguments in ({}, {"use_diff": False}, {"ignore_metadata": True}):
            assert ours.to_json_string(**arguments) == theirs.to_json_string(**arguments)
        assert repr(ours) == repr(theirs)
        assert ours.get_generation_mode() == theirs.get_generation_mode().value
        assert ours.get_generation_mode(3) == theirs.get_generation_mode(3).value

    def test_both_directions(self, values):
        ours, theirs = self.both(values)
        assert transformers.GenerationConfig.from_dict(ours.to_dict()) == theirs
        assert GenerationConfig.from_dict(theirs.to_dict()) == ours

    def test_files(self, values, tmp_path):
        configs = self.both(values)
        saved = []
        for config, folder in zip(configs, ("ours", "theirs"), strict=True):
            try:
                config.save_pretrained(tmp_path / folder)
                saved.append((tmp_path / folder / "generation_config.json").read_text())
            except ValueError:
                saved.append(None)
        assert saved[0] == saved[1]
        if saved[0] is not None:
            assert GenerationConfig.from_pretrained(tmp_path / "theirs") == configs[0]

    def test_changes(self, values):
        configs = self.both(values)
        for config in configs:
            assert config.update(top_p=0.5, odd=4, use_cache=False) == {"odd": 4}
            config.min_p = 0.25
        assert repr(configs[0]) == repr(configs[1])
        assert pickle.loads(pickle.dumps(configs[0])) == copy.deepcopy(configs[0]) == configs[0]


def test_dicts_with_other_names():
    for kind in (GenerationConfig, transformers.GenerationConfig):
        config, unused = kind.from_dict(
            {"top_k": 3, "odd": 4}, top_k=5, other=6, odd=7, return_unused_kwargs=True
        )
        assert (config.top_k, config.odd, config.other, unused) == (5, 7, 6, {})
        assert json.loads(config.to_json_string())["odd"] == 7


@pytest.mark.parametrize("values", [{}, {"max_length": 50, "top_k": 7, "output_scores": True}])
def test_a_models_config(values):
    model_config = transformers.GPTNeoConfig(**values)
    ours = GenerationConfig.from_model_config(model_config)
    assert repr(ours) == repr(transformers.GenerationConfig.from_model_config(model_config))


LENGTHS: list[dict[str, Any]] = [
    {},
    {"max_length": 20},
    {"max_length": 24},
    {"max_length": 20, "min_length": 18},
    {"min_length": 24},
    {"min_new_tokens": 12},
    {"max_new_tokens": 8},
    {"max_new_tokens": 8, "max_length": 12},
    {"max_length": 14, "min_new_tokens": 9},
    {"max_length": 9},
]


@pytest.mark.parametrize("width", [9, 50])
@pytest.mark.parametrize("release", [None, "4.49.0"])
def test_lengths_of_a_models_a_callers_and_a_calls_config(pair, width, release, random):
    """20 is the default wherever it stands but in a call."""
    ours, theirs = pair
    ids = random.integers(1, VOCABULARY, (1, width))
    end = theirs.generate(torch.from_numpy(ids), max_new_tokens=3)[0, -1].item()
    for model_values in LENGTHS:
        for own in (None, *random.choice(LENGTHS, 2)):
            call = LENGTHS[random.integers(len(LENGTHS))]
            found = []
            for model, kind in ((ours, GenerationConfig), (theirs, transformers.GenerationConfig)):
                version = {} if release is None else {"transformers_version": release}
                model.generation_config = kind(eos_token_id=end, **model_values, **version)
                arguments = {} if own is None else {"generation_config": kind(**own)}
                prompt = ids if model is ours else torch.from_numpy(ids)
                try:
                    found.append(model.generate(prompt, **arguments, **call).tolist())
                except (ValueError, IndexError):
                    found.append(None)
                finally:
                    model.generation_config = kind()
            if found[1] is not None and len(found[1][0]) > CONTEXT:
                continue  # transformers goes one token beyond the context
            assert found[0] == found[1], (model_values, own, call)
