"""What a directory sets for generate(): its generation_config.json, or config.json's settings.

transformers reads generation_config.json, and makes one of config.json where there is none: before
release 4.25, config.json was the only place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptneo_onnx.models.config import DEFAULT_TOKEN, DEFAULT_VOCAB_SIZE, is_whole_float
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE, GENERATION_CONFIG_FILE

TOKEN_NAMES = ("bos_token_id", "eos_token_id", "pad_token_id")
# A max_length of this many tokens in a file is transformers' default: as many new tokens.
DEFAULT_LENGTH = 20
# The release whose meaning settings have here.
TRANSFORMERS_VERSION = "4.57.6"

# The defaults of transformers.PretrainedConfig's settings for generation ...
_OLD_DEFAULTS: dict[str, Any] = {
    "max_length": DEFAULT_LENGTH,
    "min_length": 0,
    "do_sample": False,
    "early_stopping": False,
    "num_beams": 1,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "num_return_sequences": 1,
    "output_scores": False,
    "return_dict_in_generate": False,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
}
# ... and of the settings that only transformers.GenerationConfig has.
DEFAULTS: Mapping[str, Any] = _OLD_DEFAULTS | {
    "max_new_tokens": None,
    "min_new_tokens": None,
    "max_time": None,
    "stop_strings": None,
    "prefill_chunk_size": None,
    "min_p": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "encoder_repetition_penalty": 1.0,
    "renormalize_logits": False,
    "sequence_bias": None,
    "token_healing": False,
    "guidance_scale": None,
    "watermarking_config": None,
    "output_logits": None,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
    "prompt_lookup_num_tokens": None,
    "max_matching_ngram_size": None,
    "penalty_alpha": None,
    "dola_layers": None,
    "constraints": None,
    "force_words_ids": None,
}
# Settings that choose other tokens, in a way that this project lacks; None asks for nothing.
REFUSED = ("penalty_alpha", "dola_layers", "constraints", "force_words_ids")
# Settings of transformers that no token depends on, with the values that need no word.
_WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "use_cache": (True, None),
    "cache_implementation": (None, "dynamic"),
    "cache_config": (None,),
    "return_legacy_cache": (None, False),
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "decoder_start_token_id": (None,),
    "low_memory": (None, False),
    "assistant_early_exit": (None,),
    "assistant_lookbehind": (10, None),
    "target_lookbehind": (10, None),
    "is_assistant": (False, None),
    "compile_config": (None,),
    "disable_compile": (False, True, None),
}
_OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
# Settings of this project.
_OWN = ("seed",)
# Entries of a generation_config.json that are not arguments.
METADATA = (
    "transformers_version",
    "_from_model_config",
    "_commit_hash",
    "transformers.js_config",
)


@dataclass(frozen=True)
class GenerationSettings:
    """The settings of a directory.

    Attributes:
        path: the file that they come from.
        values: names and values, as a generation_config.json has them.
        config_values: those that config.json would set if there were no generation_config.json.
    """

    path: Path
    values: Mapping[str, Any]
    config_values: Mapping[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "GenerationSettings":
        """Read the settings of a checkpoint or of an exported model.

        config.json's count where generation_config.json is missing, and where it says that it was
        made from config.json, which sets something itself.

        Raises:
            ModelFileError: a file is damaged, or config.json is missing.
        """
        config_path, path = directory / CONFIG_FILE, directory / GENERATION_CONFIG_FILE
        config = read_json_object(config_path)
        of_config = from_model_config(config)
        if not path.is_file():
            return cls(config_path, of_config, of_config)
        values = read_json_object(path)
        if values.get("_from_model_config") and changed(config, _OLD_DEFAULTS):
            return cls(config_path, of_config, of_config)
        return cls(path, values, of_config)

    @property
    def notes(self) -> list[str]:
        """One line on each of: settings that config.json has, and settings without effect."""
        lines = []
        settings = [name for name in self.values if name not in TOKEN_NAMES]
        if self.path.name == CONFIG_FILE and settings:
            taken = ", ".join(settings)
            lines.append(
                f"{self.path} sets {taken} for generation: {GENERATION_CONFIG_FILE} has it"
            )
        if names := passed_over(self.values):
            lines.append(
                f"{self.path}: passed over, since no token depends on it in transformers 4.57: "
                f"{', '.join(names)}"
            )
        return lines


def from_model_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a config.json: GenerationConfig.from_model_config of transformers."""
    vocab_size = config.get("vocab_size", DEFAULT_VOCAB_SIZE)
    values = {name: config.get(name) for name in TOKEN_NAMES}
    for name in ("bos_token_id", "eos_token_id"):
        if name not in config and isinstance(vocab_size, int) and vocab_size > DEFAULT_TOKEN:
            values[name] = DEFAULT_TOKEN
    values = {name: value for name, value in values.items() if value is not None}
    values |= changed(config, DEFAULTS)
    if any(config.get(name) is True for name in _OUTPUTS):
        values["return_dict_in_generate"] = True
    return values


def changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from their defaults; null stands for the default."""
    return {
        name: values[name]
        for name, default in defaults.items()
        if values.get(name) is not None and values[name] != default
    }


def passed_over(values: Mapping[str, Any]) -> list[str]:
    """Return the names in a file that no token depends on: of unknown settings, among others."""
    understood = {*DEFAULTS, *TOKEN_NAMES, *METADATA, *_OWN}
    return [
        name
        for name, value in values.items()
        if name not in understood and not _is_neutral(name, value)
    ]


def _is_neutral(name: str, value: Any) -> bool:
    """Tell whether a value is one that needs no word; 1 is not True."""
    neutral = _WITHOUT_EFFECT.get(name, ())
    return any(type(value) is type(each) and value == each for each in neutral)


def as_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's settings as arguments of generate(), for what transformers takes loosely."""
    arguments = dict(values)
    for name in TOKEN_NAMES:
        if name in values:
            arguments[name] = known_tokens(values[name])
    for name in ("max_length", "max_new_tokens"):
        if is_whole_float(values.get(name)):
            arguments[name] = int(values[name])
    if arguments.get("max_length") == DEFAULT_LENGTH:
        del arguments["max_length"]
    if type(values.get("do_sample")) is int and values["do_sample"] in (0, 1):
        arguments["do_sample"] = bool(values["do_sample"])
    return arguments


def refused(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of settings that choose other tokens, in a way that this project lacks."""
    return tuple(name for name in REFUSED if values.get(name) not in (None, 0))


def known_tokens(value: Any, vocab_size: int | None = None) -> Any:
    """Return the ids in a file's value that a token can have; None if there are none.

    transformers takes -1 for no token at all, and 3.0 for 3.

    Args:
        value: what the file has: an id, several, or null. Anything that is no id is left to the
            checks of the field.
        vocab_size: leaves out ids beyond a vocabulary.
    """
    several = value if isinstance(value, list) else [value]
    ids = [int(each) if is_whole_float(each) else each for each in several]
    kept = [each for each in ids if not _is_outside(each, vocab_size)]
    if not isinstance(value, list):
        return kept[0] if kept else None
    return kept or None


def _is_outside(value: Any, vocab_size: int | None) -> bool:
    if type(value) is not int:
        return value is None
    return value < 0 or (vocab_size is not None and value >= vocab_size)
