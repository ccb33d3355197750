"""How to generate: the arguments of generate(), with transformers' names, meaning and defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE

# transformers' arguments that are not built yet, with the value that asks for nothing: config files
# and habit pass them so. Any other value is an error that names the argument.
NOT_YET: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (1, None),
    "num_beam_groups": (1, None),
    "diversity_penalty": (0.0, None),
    "length_penalty": (1.0, None),
    "early_stopping": (False, None),
    "penalty_alpha": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "min_p": (None,),
    "typical_p": (1.0, None),
    "top_h": (None,),
    "epsilon_cutoff": (0.0, None),
    "eta_cutoff": (0.0, None),
    "encoder_repetition_penalty": (1.0, None),
    "no_repeat_ngram_size": (0, None),
    "encoder_no_repeat_ngram_size": (0, None),
    "bad_words_ids": (None,),
    "sequence_bias": (None,),
    "suppress_tokens": (None,),
    "begin_suppress_tokens": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "exponential_decay_length_penalty": (None,),
    "renormalize_logits": (False, None),
    "remove_invalid_values": (False, None),
    "guidance_scale": (None, 1, 1.0),
    "negative_prompt_ids": (None,),
    "negative_prompt_attention_mask": (None,),
    "watermarking_config": (None,),
    "prefix_allowed_tokens_fn": (None,),
    "token_healing": (False, None),
    "logits_processor": (None,),
    "stopping_criteria": (None,),
    "stop_strings": (None,),
    "max_time": (None,),
    "assistant_model": (None,),
    "prompt_lookup_num_tokens": (None,),
    "return_dict_in_generate": (False, None),
    "output_scores": (False, None),
    "output_logits": (False, None),
    "output_attentions": (False, None),
    "output_hidden_states": (False, None),
    "use_cache": (True, None),
    "past_key_values": (None,),
    "inputs_embeds": (None,),
    "cache_implementation": (None,),
    "cache_config": (None,),
    "dola_layers": (None,),
    "low_memory": (None, False),
    "prefill_chunk_size": (None,),
    "return_legacy_cache": (None,),
    "decoder_start_token_id": (None,),
    "is_assistant": (False,),
    "num_assistant_tokens": (20, None),
    "num_assistant_tokens_schedule": ("constant", None),
    "assistant_confidence_threshold": (0.4, None),
    "max_matching_ngram_size": (None,),
    "assistant_early_exit": (None,),
    "assistant_lookbehind": (10, None),
    "target_lookbehind": (10, None),
    "disable_compile": (False,),
    "compile_config": (None,),
}
# What transformers writes beside the arguments.
_METADATA = (
    "transformers_version",
    "_from_model_config",
    "_commit_hash",
    "transformers.js_config",
)

DEFAULT_NEW_TOKENS = 20
MAX_RETURN_SEQUENCES = 1024


@dataclass(frozen=True)
class GenerationConfig:
    """transformers.GenerationConfig, as far as generate() follows it.

    Attributes:
        max_length: the longest result, prompt included, in tokens; None means 20 new tokens.
        max_new_tokens: the most tokens to generate; takes precedence over max_length.
        min_length: no end token before the result has this many tokens, prompt included.
        min_new_tokens: the same, counting generated tokens only; takes precedence.
        do_sample: draw from the distribution instead of taking the likeliest token.
        temperature: scores are divided by it.
        top_k: draw from the k likeliest tokens; 0 or None for all.
        top_p: draw from the likeliest tokens that together reach this probability.
        repetition_penalty: divides positive scores of tokens that already occurred, multiplies
            negative ones.
        eos_token_id: the token or tokens that end a sequence.
        bos_token_id: not used by generate(), kept for the tokenizer.
        pad_token_id: what finished sequences are filled up with; None takes the first end token.
        num_return_sequences: results per prompt.
        seed: of the draws. One number serves the whole call; a list has one for each result. None
            takes the next of set_seed()'s numbers, or a fresh one.
        unsupported: arguments of the model's own generation_config.json that are not built yet;
            generate() raises for them unless they are set to what asks for nothing.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int = 0
    min_new_tokens: int | None = None
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    eos_token_id: int | tuple[int, ...] | None = None
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    num_return_sequences: int = 1
    seed: int | tuple[int, ...] | None = None
    unsupported: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("eos_token_id", "seed"):  # lists come from JSON and from callers
            value = getattr(self, name)
            if isinstance(value, Sequence):
                object.__setattr__(self, name, tuple(value))
        _check(self)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "GenerationConfig":
        """From the generation_config.json of a directory.

        What it asks for and is not built yet does not keep the model from loading: it is noted in
        `unsupported`.

        Raises:
            ModelFileError: the file is missing or damaged, or a value is out of range.
        """
        path = Path(directory) / GENERATION_CONFIG_FILE
        values = read_json_object(path)
        config = cls()
        unsupported = []
        for name, value in values.items():
            if name not in _FIELDS and not _asks_for_nothing(name, value):
                unsupported.append(name)
                continue
            try:
                config = config.update(**{name: value})
            except InputError as error:
                raise ModelFileError(f"{path}: {error}") from error
        return replace(config, unsupported=tuple(unsupported))

    def update(self, **changes: Any) -> "GenerationConfig":
        """A copy with other values; None takes a field back to its default.

        Raises:
            InputError: an argument that is unknown, not built yet, or out of range; it is named.
        """
        applied = {}
        for name, value in changes.items():
            if name in _FIELDS:
                applied[name] = _FIELDS[name] if value is None else _plain(value)
            elif name not in NOT_YET and name not in _METADATA:
                raise InputError(
                    f"generate() has no argument {name!r}; it has {', '.join(sorted(_FIELDS))}"
                )
            elif not _asks_for_nothing(name, value):
                raise InputError(
                    f"{name}={value!r} is not supported yet; leave it at {NOT_YET[name][0]!r}"
                )
        settled = tuple(name for name in self.unsupported if name not in changes)
        return replace(self, **applied, unsupported=settled)

    def over(self, defaults: "GenerationConfig") -> "GenerationConfig":
        """This config, with `defaults` where it sets nothing, as generate() combines them."""
        unset = [name for name, value in _FIELDS.items() if getattr(self, name) == value]
        inherited = {name: getattr(defaults, name) for name in unset}
        return replace(self, **inherited, unsupported=defaults.unsupported)

    def check_supported(self) -> None:
        """Raise InputError if the model's own config asks for what is not built yet."""
        if self.unsupported:
            name = self.unsupported[0]
            neutral = NOT_YET.get(name, (None,))[0]
            raise InputError(
                f"the model's {GENERATION_CONFIG_FILE} sets {name}, which is not supported yet; "
                f"pass {name}={neutral!r} to generate without it"
            )

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The end tokens, none, one or several."""
        if self.eos_token_id is None:
            return ()
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    @property
    def fill_token_id(self) -> int:
        """What finished sequences are filled up with."""
        if self.pad_token_id is not None:
            return self.pad_token_id
        return self.eos_token_ids[0] if self.eos_token_ids else 0


_FIELDS: dict[str, Any] = {field.name: field.default for field in fields(GenerationConfig)}
del _FIELDS["unsupported"]


def _asks_for_nothing(name: str, value: Any) -> bool:
    """Whether a value of an argument outside our fields can be passed over."""
    if name in _METADATA:
        return True
    # Numbers are compared as such (1 for 1.0), but not with booleans, which Python counts as some.
    return any(
        value is neutral
        or (
            not isinstance(value, bool)
            and isinstance(value, (int, float, str))
            and not isinstance(neutral, bool)
            and value == neutral
        )
        for neutral in NOT_YET.get(name, ())
    )


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _check(config: GenerationConfig) -> None:
    for name, least in (
        ("max_length", 1),
        ("max_new_tokens", 1),
        ("min_new_tokens", 0),
        ("top_k", 0),
        ("bos_token_id", 0),
        ("pad_token_id", 0),
    ):
        _check_integer(name, getattr(config, name), least, optional=True)
    _check_integer("min_length", config.min_length, 0)
    _check_integer("num_return_sequences", config.num_return_sequences, 1)
    if config.num_return_sequences > MAX_RETURN_SEQUENCES:
        raise InputError(
            f"num_return_sequences is {config.num_return_sequences}; "
            f"at most {MAX_RETURN_SEQUENCES} are generated together"
        )
    for token in config.eos_token_ids:
        _check_integer("eos_token_id", token, 0)
    seeds = config.seed if isinstance(config.seed, tuple) else (config.seed or 0,)
    for seed in seeds:
        _check_integer("seed", seed, 0)
    # Beyond these, float32 scores overflow.
    if config.do_sample is True or config.temperature != 0:  # greedy decoding has none
        _check_number("temperature", config.temperature, 1e-6, 1e6)
    _check_number("repetition_penalty", config.repetition_penalty, 1e-6, 1e6)
    _check_number("top_p", config.top_p, 1e-6, 1)
    if type(config.do_sample) is not bool:
        raise InputError(f"do_sample is {config.do_sample!r}; True or False is allowed")


def _check_integer(name: str, value: Any, least: int, optional: bool = False) -> None:
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; a whole number of at least {least} is allowed")


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise InputError(f"{name} is {value!r}; a number from {least:g} to {most:g} is allowed")
