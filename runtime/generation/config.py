"""GenerationConfig: the arguments of generate(), with transformers' names and defaults."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal, get_args

from gptneo_onnx.models.config import is_whole_float
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.generation_settings import GenerationSettings, as_arguments, refused
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE
from gptneo_onnx.runtime.generation.config_fields import (
    MAX_RETURN_SEQUENCES,
    Integer,
    OneOrSeveral,
    attributes_section,
    check_decay,
    check_fields,
    check_stop_string,
    choice,
    declare,
    flag,
    integer,
    known_values,
    number,
    token,
    tokens,
    unchecked,
)
from gptneo_onnx.runtime.generation.config_file import saved_values
from gptneo_onnx.runtime.generation.processors.checks import plain
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
    coerce_watermark,
)

DEFAULT_NEW_TOKENS = 20

Schedule = Literal["constant", "heuristic", "heuristic_transient"]
# Fields that None switches off; it resets the others to their default.
_OFF_BY_NONE = ("top_k",)
# Fields that transformers takes as 3.0 too.
_LENGTHS = ("max_length", "max_new_tokens")
# Fields that are not arguments of generate().
_BOOKKEEPING = ("unsupported", "explicit")


@dataclass
class GenerationConfig:
    """The arguments of generate() as transformers.GenerationConfig has them.

    Arguments that do not apply to a decoder raise InputError.
    """

    max_length: int | None = integer(
        None, 1, "longest result in tokens, prompt included; None means 20 new tokens"
    )
    max_new_tokens: int | None = integer(
        None, 1, "most tokens to generate; takes precedence over max_length"
    )
    min_length: int = integer(0, 0, "shortest result in tokens, prompt included")
    min_new_tokens: int | None = integer(
        None, 0, "fewest tokens to generate; takes precedence over min_length"
    )
    max_time: float | None = number(None, 0, 1e9, "seconds after which no further token is started")
    stop_strings: str | tuple[str, ...] | None = declare(
        None,
        OneOrSeveral(check_stop_string),
        "texts that end a sequence; generate() needs tokenizer=",
    )
    do_sample: bool = flag(False, "whether to draw tokens rather than take the likeliest")
    num_beams: int = integer(1, 1, "beams to search with; 1 for no search", MAX_RETURN_SEQUENCES)
    num_beam_groups: int = integer(
        1, 1, "beam groups that are kept different (Vijayakumar et al. 2016)", MAX_RETURN_SEQUENCES
    )
    diversity_penalty: float = number(0.0, 0, 1e6, "penalty for tokens other groups just chose")
    # 2048 tokens to the 8th power, times the -1e9 of beams that are ruled out, fits into float32.
    length_penalty: float = number(
        1.0, -8, 8, "a finished beam's score is divided by its length to the power of this"
    )
    early_stopping: bool | Literal["never"] = choice(
        False,
        (True, False, "never"),
        "when a beam search stops: True at num_beams finished beams, False when better ones are "
        "unlikely, 'never' when they are impossible",
    )
    temperature: float = number(1.0, 1e-6, 1e6, "number that scores are divided by")
    top_k: int | None = integer(
        50, 0, "draw from this many of the likeliest tokens; 0 or None for all"
    )
    top_p: float = number(1.0, 0, 1e6, "draw from the likeliest tokens of this total probability")
    min_p: float | None = number(
        None, 0, 1, "draw from tokens at least this likely, relative to the likeliest"
    )
    typical_p: float = number(1.0, 1e-6, 1e6, "draw from typical tokens of this total probability")
    epsilon_cutoff: float = number(0.0, -1e6, 1e6, "draw from tokens at least this likely")
    eta_cutoff: float = number(
        0.0, -1e6, 1e6, "draw from tokens above a likelihood that falls as the entropy rises"
    )
    repetition_penalty: float = number(
        1.0, 1e-6, 1e6, "divides positive scores of tokens that occurred, multiplies negative ones"
    )
    encoder_repetition_penalty: float = number(
        1.0, 1e-6, 1e6, "multiplies positive scores of the prompt's tokens, divides negative ones"
    )
    no_repeat_ngram_size: int = integer(
        0, 0, "length of the runs of tokens that may not occur twice; 0 for none"
    )
    encoder_no_repeat_ngram_size: int = integer(
        0, 0, "length of the runs of the prompt's tokens that may not occur again; 0 for none"
    )
    bad_words_ids: Any = unchecked(None, "runs of tokens that may not occur")
    sequence_bias: Any = unchecked(None, "{(id, ...): number added to the score of the last id}")
    suppress_tokens: tuple[int, ...] | None = tokens(None, "tokens that are never generated")
    begin_suppress_tokens: tuple[int, ...] | None = tokens(None, "tokens that may not come first")
    forced_bos_token_id: int | None = token(None, "token that must follow a prompt of one token")
    forced_eos_token_id: int | tuple[int, ...] | None = tokens(
        None, "tokens of which one must be the last where a result reaches its greatest length"
    )
    exponential_decay_length_penalty: tuple[int, float] | None = declare(
        None, check_decay, "(start, factor) of a growing bonus for end tokens"
    )
    renormalize_logits: bool = flag(False, "whether processed scores become log probabilities")
    remove_invalid_values: bool = flag(False, "whether to replace NaN and infinities in scores")
    guidance_scale: float | None = number(
        None, -1e6, 1e6, "weight of the prompt against the negative prompt (arXiv:2306.17806)"
    )
    watermarking_config: WatermarkingConfig | SynthIDTextWatermarkingConfig | None = unchecked(
        None, "a WatermarkingConfig, a SynthIDTextWatermarkingConfig, or the dict of one"
    )
    token_healing: bool = flag(
        False, "whether to choose a prompt's last token again; generate() needs tokenizer="
    )
    prefill_chunk_size: int | None = integer(
        None, 1, "tokens of a prompt per step; None takes the model's number"
    )
    num_assistant_tokens: int = integer(20, 1, "most tokens that a draft model proposes in a round")
    num_assistant_tokens_schedule: Schedule = choice(
        "constant",
        get_args(Schedule),
        "without effect: the number accepted sets the number proposed",
    )
    assistant_confidence_threshold: float = number(
        0.4, 0, 1, "a draft ends at a token less likely than this"
    )
    prompt_lookup_num_tokens: int | None = integer(
        None, 1, "most tokens to propose from the text itself; None for none"
    )
    max_matching_ngram_size: int | None = integer(
        None, 1, "longest run of tokens to look for in the text; None means 2"
    )
    eos_token_id: int | tuple[int, ...] | None = tokens(None, "tokens that end a sequence")
    bos_token_id: int | None = token(None, "not used by generate(); kept for the tokenizer")
    pad_token_id: int | None = token(
        None, "token that fills up finished sequences; None takes the first end token"
    )
    num_return_sequences: int = integer(1, 1, "results per prompt", MAX_RETURN_SEQUENCES)
    return_dict_in_generate: bool = flag(False, "whether to return a GenerateDecoderOnlyOutput")
    output_scores: bool = flag(False, "whether that output has the scores of each step")
    output_logits: bool = flag(False, "whether that output has the logits of each step")
    seed: int | tuple[int, ...] | None = declare(
        None,
        OneOrSeveral(Integer(0)),
        "number that sets the draws of the whole call, or a list with one for each result; None "
        "takes the next of set_seed()'s numbers, or a random one",
    )
    unsupported: tuple[str, ...] = unchecked(
        (), "arguments of the model's generation_config.json that generate() refuses until reset"
    )
    explicit: frozenset[str] = field(
        default=frozenset(),
        compare=False,
        repr=False,
        metadata={"meaning": "names that update() was given; over() keeps them even at defaults"},
    )

    def __post_init__(self) -> None:
        for name in _DEFAULTS:
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in _LENGTHS:
            if is_whole_float(length := getattr(self, name)):
                object.__setattr__(self, name, int(length))
        watermark = coerce_watermark(self.watermarking_config)
        object.__setattr__(self, "watermarking_config", watermark)
        check_fields(_ARGUMENTS, vars(self))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field to what update() makes of the value; raises InputError as that does."""
        if "explicit" in vars(self):  # the last field that the constructor sets
            vars(self).update(vars(self.update(**{name: value})))
        else:
            object.__setattr__(self, name, value)

    @classmethod
    def coerce(cls, generation_config: Any) -> "GenerationConfig":
        """Return a caller's generation_config; None becomes one that sets nothing.

        Raises:
            InputError: it is not a GenerationConfig.
        """
        if generation_config is None:
            return cls()
        if callable(getattr(generation_config, "to_diff_dict", None)):  # transformers' own
            values = generation_config.to_diff_dict()
            return cls.from_dict({k: v for k, v in values.items() if not k.startswith("_")})
        if not isinstance(generation_config, cls):
            raise InputError(
                f"generation_config is of type {type(generation_config).__name__}; a "
                "GenerationConfig is expected, which GenerationConfig.from_dict() makes of a dict"
            )
        return generation_config

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "GenerationConfig":
        """Read the generation_config.json of a directory.

        What no token depends on is passed over; `unsupported` lists what generate() lacks.

        Raises:
            ModelFileError: the file is missing or damaged, or a value is out of range.
        """
        path = Path(directory) / GENERATION_CONFIG_FILE
        return cls._from_settings(path, read_json_object(path))

    @classmethod
    def of_model(cls, directory: Path) -> "GenerationConfig":
        """Read what a model's directory sets; raises ModelFileError as from_pretrained does."""
        settings = GenerationSettings.read(directory)
        return cls._from_settings(settings.path, settings.values)

    @classmethod
    def _from_settings(cls, path: Path, values: Mapping[str, Any]) -> "GenerationConfig":
        known = {name: v for name, v in as_arguments(values).items() if name in _DEFAULTS}
        try:
            return replace(cls.from_dict(known), unsupported=refused(values))
        except InputError as error:
            raise ModelFileError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GenerationConfig":
        """Make a config from names and values; raises InputError as update() does."""
        return replace(cls().update(**values), explicit=frozenset())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, in a form that JSON can hold."""
        return saved_values(vars(self), _DEFAULTS)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write generation_config.json into a directory, such as a checkpoint before its export.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / GENERATION_CONFIG_FILE).write_text(text)

    def update(self, **changes: Any) -> "GenerationConfig":
        """Return a copy with other values; None resets a field to its default, or is top_k's off.

        Raises:
            InputError: an argument is unknown, does not apply here, or is out of range.
        """
        applied = known_values(changes, _DEFAULTS, _OFF_BY_NONE)
        unsupported = tuple(name for name in self.unsupported if name not in changes)
        explicit = self.explicit.union(changes)
        return replace(self, **applied, unsupported=unsupported, explicit=explicit)

    def over(self, defaults: "GenerationConfig") -> "GenerationConfig":
        """Return this config with the values of `defaults` where it sets none itself.

        A field at its default counts as not set, unless update() set it.
        """
        inherited = {
            name: getattr(defaults, name)
            for name, value in _DEFAULTS.items()
            if name not in self.explicit and getattr(self, name) == value
        }
        unsupported = tuple(name for name in defaults.unsupported if name not in self.explicit)
        return replace(self, **inherited, unsupported=unsupported)

    def check_supported(self) -> None:
        """Raise InputError if the model's own config asks for tokens that generate() lacks."""
        # penalty_alpha has an effect on greedy decoding among several tokens alone.
        is_contrastive = not self.do_sample and self.num_beams == 1 and (self.top_k or 0) > 1
        for name in self.unsupported:
            if name != "penalty_alpha" or is_contrastive:
                raise InputError(
                    f"the model's {GENERATION_CONFIG_FILE} sets {name}, which is not supported; "
                    f"pass {name}=None to generate without it, or export again from a checkpoint "
                    "whose file does not set it"
                )

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The end tokens: none, one or several."""
        if self.eos_token_id is None:
            return ()
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    @property
    def fill_token_id(self) -> int:
        """The token that fills up finished sequences."""
        if self.pad_token_id is not None:
            return self.pad_token_id
        return self.eos_token_ids[0] if self.eos_token_ids else 0


_ARGUMENTS = [each for each in fields(GenerationConfig) if each.name not in _BOOKKEEPING]
_DEFAULTS: dict[str, Any] = {each.name: each.default for each in _ARGUMENTS}
GenerationConfig.__doc__ = "\n\n".join(
    [cleandoc(GenerationConfig.__doc__ or ""), attributes_section(fields(GenerationConfig))]
)
