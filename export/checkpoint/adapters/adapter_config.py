"""Reads adapter_config.json, and refuses the kinds of adapters that are not merged here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from gptneo_onnx.export.checkpoint.other_formats import ADAPTER_CONFIG
from gptneo_onnx.models.errors import InputError, ModelFileError, shown
from gptneo_onnx.models.json_file import read_json_object
from gptneo_onnx.models.manifest import CONFIG_FILE

LORA, IA3, TRAINABLE_TOKENS = "LORA", "IA3", "TRAINABLE_TOKENS"
# Kinds that change what a model reads, or how it computes, so that there are no merged weights.
_UNMERGEABLE = (
    *("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT"),
    *("CPT", "CARTRIDGE", "XLORA", "POLY"),
)
# Fields of LoraConfig that make it another method when they are set. peft may merge these.
_OTHER_METHODS = (
    *("layer_replication", "target_parameters", "use_qalora", "use_bdlora", "arrow_config"),
    *("alora_invocation_tokens", "velora_config", "monteclora_config", "kasa_config"),
)
# Fields that change no merged weight, or that are read here; of others the user is told.
_KNOWN = frozenset(
    (
        *("peft_type", "base_model_name_or_path", "r", "lora_alpha", "rank_pattern", "use_rslora"),
        *("alpha_pattern", "use_dora", "modules_to_save", "init_lora_weights", "lora_bias", "bias"),
        *("trainable_token_indices", "token_indices", "auto_mapping", "inference_mode", "revision"),
        *("task_type", "peft_version", "target_modules", "exclude_modules", "fan_in_fan_out"),
        *("layers_to_transform", "layers_pattern", "lora_dropout", "feedforward_modules"),
        *("init_ia3_weights", "init_weights", "megatron_config", "megatron_core", "loftq_config"),
        *("eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config"),
        *("ensure_weight_tying", "merge_weights", "enable_lora"),
        *_OTHER_METHODS,
    )
)
# Other values of init_lora_weights, such as "pissa", change the base model's weights on loading.
_INITIALIZATIONS = (True, False, None, "gaussian", "eva", "orthogonal")
_MERGE_WITH_PEFT = (
    "merge it with peft: save_pretrained what merge_and_unload() of the PeftModel returns, and "
    "export that"
)
_MAX_PATTERNS = 1024
_MAX_PATTERN_LENGTH = 256
_MAX_REPETITIONS = 4


@dataclass(frozen=True)
class AdapterConfig:
    """What adapter_config.json says about merging.

    Attributes:
        path: the file.
        kind: LORA, IA3 or TRAINABLE_TOKENS.
        base: the name or path of the model that the adapter was trained with, if the file has it.
        rank, alpha: of LoRA, for modules that no pattern matches.
        rank_pattern, alpha_pattern: by patterns of modules' names.
        rank_stabilized: whether alpha is divided by the rank's root.
        decomposed: whether LoRA is DoRA.
        saved: endings of the names of modules whose tensors the adapter replaces, which are then
            no longer shared with others.
        keeps_ties: whether the head's tensors are those of the embedding, written twice, where the
            model shares them.
        unknown: names of fields that are set and not known here.
        tokens: the ids of trainable tokens, by endings of modules' names; "" for every module.
    """

    path: Path
    kind: str
    base: str | None
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rank_stabilized: bool
    decomposed: bool
    saved: tuple[str, ...]
    keeps_ties: bool
    unknown: tuple[str, ...]
    tokens: Mapping[str, tuple[int, ...]]

    @property
    def method(self) -> str:
        """The method's name, for people."""
        if self.kind != LORA:
            return {IA3: "IA3", TRAINABLE_TOKENS: "trainable tokens"}[self.kind]
        lora = "DoRA" if self.decomposed else "LoRA"
        return f"rank-stabilized {lora}" if self.rank_stabilized else lora

    def rank_of(self, module: str) -> int:
        """Return the rank of a module, named as in the base model."""
        return int(_matching(self.rank_pattern, module, self.rank))

    def scaling_of(self, module: str) -> float:
        """Return what a module's low-rank product is multiplied by."""
        rank = self.rank_of(module)
        alpha = float(_matching(self.alpha_pattern, module, self.alpha))
        return alpha / (sqrt(rank) if self.rank_stabilized else rank)

    def saves(self, module: str) -> bool:
        """Return whether modules_to_save names a module, as peft matches it."""
        return module.endswith(self.saved) if self.saved else False

    def tokens_of(self, module: str) -> tuple[int, ...]:
        """Return the ids of the tokens that were trained in a module, which may be none."""
        return next((ids for name, ids in self.tokens.items() if module.endswith(name)), ())


def read_adapter_config(directory: Path) -> AdapterConfig:
    """Read a directory's adapter_config.json.

    Raises:
        InputError: the directory holds no adapter.
        ModelFileError: the file is damaged, or of a kind that is not merged here.
    """
    path = directory / ADAPTER_CONFIG
    if not path.is_file():
        what = (
            "a checkpoint and no adapter" if (directory / CONFIG_FILE).is_file() else "no adapter"
        )
        raise InputError(
            f"adapter is {shown(str(directory))}, which holds {what}: {ADAPTER_CONFIG} is missing; "
            "name a directory or a hub id that save_pretrained() of a PeftModel wrote"
        )
    values = read_json_object(path)
    kind = _kind(path, values)
    _refuse_other_methods(path, values)
    base = values.get("base_model_name_or_path")
    return AdapterConfig(
        path=path,
        kind=kind,
        base=base if isinstance(base, str) and base else None,
        rank=_number(path, "r", values.get("r", 8), whole=True),
        alpha=_number(path, "lora_alpha", values.get("lora_alpha", 8)),
        rank_pattern=_patterns(path, "rank_pattern", values, whole=True),
        alpha_pattern=_patterns(path, "alpha_pattern", values),
        rank_stabilized=bool(values.get("use_rslora")),
        decomposed=bool(values.get("use_dora")),
        saved=_names(path, "modules_to_save", values.get("modules_to_save")),
        keeps_ties=bool(values.get("ensure_weight_tying")),
        unknown=tuple(name for name, value in values.items() if value and name not in _KNOWN),
        tokens=_tokens(path, kind, values),
    )


def _kind(path: Path, values: Mapping[str, Any]) -> str:
    kind = values.get("peft_type")
    if kind in (LORA, IA3, TRAINABLE_TOKENS):
        return str(kind)
    if kind in _UNMERGEABLE:
        raise ModelFileError(
            f"{path}: the adapter is of kind {kind}, which is not a change of weights and cannot "
            "be merged into them; train one of LoRA, DoRA or IA3"
        )
    raise ModelFileError(
        f"{path}: the adapter is of kind {shown(kind)}; {LORA}, {IA3} and {TRAINABLE_TOKENS} are "
        f"merged here; {_MERGE_WITH_PEFT}"
    )


def _refuse_other_methods(path: Path, values: Mapping[str, Any]) -> None:
    for name in _OTHER_METHODS:
        if values.get(name):
            raise ModelFileError(
                f"{path}: {name} is {shown(values[name])}, which is not merged here; "
                + _MERGE_WITH_PEFT
            )
    start = values.get("init_lora_weights")
    if start not in _INITIALIZATIONS:
        raise ModelFileError(
            f"{path}: init_lora_weights is {shown(start)}, and may have changed the weights that "
            f"the adapter belongs to; {_MERGE_WITH_PEFT}"
        )


def _number(path: Path, name: str, value: Any, whole: bool = False) -> Any:
    """Return a positive whole number, or a finite one."""
    allowed = "a whole number above 0" if whole else "a finite number"
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not is_number or abs(value) > 1e9 or not isfinite(value) or (whole and value <= 0):
        raise ModelFileError(f"{path}: {name} is {shown(value)}; {allowed} is allowed")
    return value


def _patterns(
    path: Path, name: str, values: Mapping[str, Any], whole: bool = False
) -> dict[str, Any]:
    """Return numbers by patterns of modules' names.

    Patterns that could take very long to match are refused: those of many repetitions, and
    repetitions of groups.
    """
    patterns = values.get(name) or {}
    if not isinstance(patterns, dict) or len(patterns) > _MAX_PATTERNS:
        raise ModelFileError(
            f"{path}: {name} is {shown(patterns)}; an object of at most {_MAX_PATTERNS} patterns "
            "is allowed"
        )
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ModelFileError(
                f"{path}: {shown(pattern)} in {name} is not a regular expression ({error})"
            ) from error
        repetitions = len(re.findall(r"[*+{]", pattern))
        if (
            len(pattern) > _MAX_PATTERN_LENGTH
            or repetitions > _MAX_REPETITIONS
            or re.search(r"\)[*+{]", pattern)
        ):
            raise ModelFileError(
                f"{path}: {shown(pattern)} in {name} could take too long to match; write the "
                "names of the modules instead"
            )
    return {key: _number(path, f"{name} of {shown(key)}", patterns[key], whole) for key in patterns}


def _names(path: Path, name: str, value: Any) -> tuple[str, ...]:
    names = value or []
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ModelFileError(f"{path}: {name} is {shown(value)}; a list of names is allowed")
    return tuple(names)


def _tokens(path: Path, kind: str, values: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    name = "token_indices" if kind == TRAINABLE_TOKENS else "trainable_token_indices"
    given = values.get(name) or {}
    by_module = {"": given} if isinstance(given, list) else given
    lists = by_module.values() if isinstance(by_module, dict) else [None]
    for ids in lists:
        if not isinstance(ids, list) or not all(type(each) is int and each >= 0 for each in ids):
            raise ModelFileError(
                f"{path}: {name} is {shown(given)}; a list of token ids, or one for each module, "
                "is allowed"
            )
    return {module: tuple(ids) for module, ids in by_module.items()}


def _matching(patterns: Mapping[str, Any], module: str, otherwise: Any) -> Any:
    """Return the value of the first pattern that matches the end of a name, as peft does."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return otherwise
