"""How to generate: the arguments of generate(), with transformers' names, meaning and defaults."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import GENERATION_CONFIG_FILE
from gptneo_onnx.runtime.generation.config_fields import (
    INAPPLICABLE,
    METADATA,
    asks_for_nothing,
    check_fields,
)
from gptneo_onnx.runtime.generation.processors.checks import plain
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
    coerce_watermark,
)

DEFAULT_NEW_TOKENS = 20

Schedule = Literal["constant", "heuristic", "heuristic_transient"]


@dataclass(frozen=True)
class GenerationConfig:
    """transformers.GenerationConfig, as far as it concerns a decoder; what else there is raises.

    Attributes:
        max_length: the longest result, prompt included, in tokens; None means 20 new tokens.
        max_new_tokens: the most tokens to generate; takes precedence over max_length.
        min_length: no end token before the result has this many tokens, prompt included.
        min_new_tokens: the same, counting generated tokens only.
        max_time: seconds after which no further token is begun.
        stop_strings: texts that end a sequence; generate() then needs tokenizer=.
        do_sample: draw from the distribution instead of taking the likeliest token.
        num_beams: sequences kept in beam search; 1 for none.
        num_beam_groups: groups of beams that are kept apart (Vijayakumar et al. 2016).
        diversity_penalty: for tokens that another group just took.
        length_penalty: exponent of the length by which a finished beam's score is divided.
        early_stopping: True stops at num_beams finished beams, False when better ones are
            unlikely, "never" when they are impossible.
        temperature: scores are divided by it.
        top_k: draw from the k likeliest tokens; 0 or None for all.
        top_p: draw from the likeliest tokens that together reach this probability.
        min_p: draw from tokens at least this likely, relative to the likeliest.
        typical_p, epsilon_cutoff, eta_cutoff: other ways to cut the distribution's tail.
        repetition_penalty: divides positive scores of tokens that already occurred, multiplies
            negative ones.
        encoder_repetition_penalty: the other way round, for tokens of the prompt.
        no_repeat_ngram_size: no run of that many tokens occurs twice.
        encoder_no_repeat_ngram_size: nor does one of the prompt.
        bad_words_ids: runs of tokens that may not occur.
        sequence_bias: added to the score of a run's last token, by run.
        suppress_tokens, begin_suppress_tokens: tokens never generated, or not at the start.
        forced_bos_token_id, forced_eos_token_id: the first token, and the last that max_length
            leaves room for.
        exponential_decay_length_penalty: (start, factor) of a growing bonus for end tokens.
        renormalize_logits: whether scores are log probabilities behind all processors.
        remove_invalid_values: whether NaN and infinities are taken out of the scores.
        guidance_scale: weight of the prompt against the negative prompt (arXiv:2306.17806).
        watermarking_config: a WatermarkingConfig, SynthIDTextWatermarkingConfig, or their dict.
        token_healing: whether a prompt's last token is chosen anew; needs tokenizer=.
        prefill_chunk_size: tokens of a prompt per step; None for what the model has.
        num_assistant_tokens: most tokens that a draft model proposes in a round.
        num_assistant_tokens_schedule: taken, but how many are proposed always follows how many
            were accepted; no result depends on it.
        assistant_confidence_threshold: a draft ends at a token less likely than this.
        prompt_lookup_num_tokens: tokens proposed from the text itself; None for none.
        max_matching_ngram_size: longest run looked for there; None means 2.
        eos_token_id: the token or tokens that end a sequence.
        bos_token_id: not used by generate(), kept for the tokenizer.
        pad_token_id: what finished sequences are filled up with; None takes the first end token.
        num_return_sequences: results per prompt.
        return_dict_in_generate: a GenerateDecoderOnlyOutput instead of the ids alone.
        output_scores, output_logits: whether that has each step's scores, and logits.
        seed: of the draws. One number serves the whole call; a list has one for each prompt's
            result. None takes the next of set_seed()'s numbers, or a fresh one.
        unsupported: arguments of the model's own generation_config.json that do not apply here;
            generate() raises for them unless they are set to what asks for nothing.
        explicit: names that update() was given, which over() keeps even at their defaults.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int = 0
    min_new_tokens: int | None = None
    max_time: float | None = None
    stop_strings: str | tuple[str, ...] | None = None
    do_sample: bool = False
    num_beams: int = 1
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    temperature: float = 1.0
    top_k: int | None = 50
    top_p: float = 1.0
    min_p: float | None = None
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.0
    encoder_repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: Any = None
    sequence_bias: Any = None
    suppress_tokens: tuple[int, ...] | None = None
    begin_suppress_tokens: tuple[int, ...] | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | tuple[int, ...] | None = None
    exponential_decay_length_penalty: tuple[int, float] | None = None
    renormalize_logits: bool = False
    remove_invalid_values: bool = False
    guidance_scale: float | None = None
    watermarking_config: WatermarkingConfig | SynthIDTextWatermarkingConfig | None = None
    token_healing: bool = False
    prefill_chunk_size: int | None = None
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: Schedule = "constant"
    assistant_confidence_threshold: float = 0.4
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    bos_token_id: int | None = None
    pad_token_id: int | None = None
    num_return_sequences: int = 1
    return_dict_in_generate: bool = False
    output_scores: bool = False
    output_logits: bool = False
    seed: int | tuple[int, ...] | None = None
    unsupported: tuple[str, ...] = ()
    explicit: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in _FIELDS or ():
            object.__setattr__(self, name, plain(getattr(self, name)))
        watermark = coerce_watermark(self.watermarking_config)
        object.__setattr__(self, "watermarking_config", watermark)
        check_fields(vars(self))

    @classmethod
    def coerce(cls, generation_config: Any) -> "GenerationConfig":
        """What a call was given; none sets nothing.

        Raises:
            InputError: something else than a GenerationConfig.
        """
        if generation_config is None:
            return cls()
        if not isinstance(generation_config, cls):
            raise InputError(
                f"generation_config is of type {type(generation_config).__name__}; a "
                "GenerationConfig is expected, which GenerationConfig.from_dict() makes of a dict"
            )
        return generation_config

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> "GenerationConfig":
        """From the generation_config.json of a directory.

        What it asks for and does not apply here does not keep the model from loading: it is noted
        in `unsupported`.

        Raises:
            ModelFileError: the file is missing or damaged, or a value is out of range.
        """
        path = Path(directory) / GENERATION_CONFIG_FILE
        values = read_json_object(path)
        known = {name: value for name, value in values.items() if name in _FIELDS}
        unsupported = tuple(
            name
            for name, value in values.items()
            if name not in _FIELDS and not asks_for_nothing(name, value)
        )
        try:
            return replace(cls.from_dict(known), unsupported=unsupported)
        except InputError as error:
            raise ModelFileError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "GenerationConfig":
        """From names and values; raises InputError as update() does."""
        return replace(cls().update(**values), explicit=frozenset())

    def to_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON can hold them."""
        values = {name: getattr(self, name) for name in _FIELDS}
        given = {name: value for name, value in values.items() if value != _FIELDS[name]}
        watermark = given.get("watermarking_config")
        if watermark is not None:
            given["watermarking_config"] = asdict(watermark)
        if isinstance(given.get("sequence_bias"), Mapping):
            bias = given["sequence_bias"]
            given["sequence_bias"] = [[ids, value] for ids, value in bias.items()]
        return {name: _as_json(value) for name, value in given.items()}

    def save_pretrained(self, directory: str | Path) -> None:
        """Write generation_config.json into a directory, for a checkpoint that is to be exported.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / GENERATION_CONFIG_FILE).write_text(text)

    def update(self, **changes: Any) -> "GenerationConfig":
        """A copy with other values; None takes a field back to its default.

        Raises:
            InputError: an argument that is unknown, inapplicable, or out of range; it is named.
        """
        applied = {}
        for name, value in changes.items():
            if name in _FIELDS:
                applied[name] = _FIELDS[name] if value is None else value
            elif name not in INAPPLICABLE and name not in METADATA:
                close = get_close_matches(name, _FIELDS, n=3)
                known = ", ".join(close) or "those of GenerationConfig (docs/generation.md)"
                raise InputError(f"generate() has no argument {name!r}; it has {known}")
            elif not asks_for_nothing(name, value):
                raise InputError(
                    f"{name}={value!r} is not supported; leave it at {INAPPLICABLE[name][0]!r}"
                )
        settled = tuple(name for name in self.unsupported if name not in changes)
        explicit = self.explicit.union(changes)
        return replace(self, **applied, unsupported=settled, explicit=explicit)

    def over(self, defaults: "GenerationConfig") -> "GenerationConfig":
        """This config, with `defaults` where it sets nothing, as generate() combines them.

        A field at its default is one that was not set, unless update() set it so.
        """
        inherited = {
            name: getattr(defaults, name)
            for name, value in _FIELDS.items()
            if name not in self.explicit and getattr(self, name) == value
        }
        unsupported = tuple(name for name in defaults.unsupported if name not in self.explicit)
        return replace(self, **inherited, unsupported=unsupported)

    def check_supported(self) -> None:
        """Raise InputError if the model's own config asks for what does not apply here."""
        if self.unsupported:
            name = self.unsupported[0]
            neutral = INAPPLICABLE.get(name, (None,))[0]
            raise InputError(
                f"the model's {GENERATION_CONFIG_FILE} sets {name}, which is not supported; "
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


_FIELDS: dict[str, Any] = {}
_FIELDS.update({each.name: each.default for each in fields(GenerationConfig)})
for _own in ("unsupported", "explicit"):
    del _FIELDS[_own]


def _as_json(value: Any) -> Any:
    """numpy's numbers and arrays as Python's, and sequences as lists."""
    if isinstance(value, Mapping):
        return {name: _as_json(each) for name, each in value.items()}
    value = plain(value)
    return [_as_json(each) for each in value] if isinstance(value, tuple) else value
