"""The ways to generate, and which of them a config asks for."""

from enum import StrEnum
from typing import Any

from gptneo_onnx.runtime.generation.config_file import is_same
from gptneo_onnx.runtime.generation.generation_fields import GenerationFields
from gptneo_onnx.runtime.generation.processors.checks import plain


class GenerationMode(StrEnum):
    """The ways to generate, by transformers' names; some of them it fetches from the hub."""

    CONTRASTIVE_SEARCH = "contrastive_search"
    GREEDY_SEARCH = "greedy_search"
    SAMPLE = "sample"
    ASSISTED_GENERATION = "assisted_generation"
    DOLA_GENERATION = "dola_generation"
    BEAM_SEARCH = "beam_search"
    BEAM_SAMPLE = "beam_sample"
    CONSTRAINED_BEAM_SEARCH = "constrained_beam_search"
    GROUP_BEAM_SEARCH = "group_beam_search"


def generation_mode(config: GenerationFields, is_drafted: bool) -> GenerationMode:
    """Return the way to generate (transformers.GenerationConfig.get_generation_mode).

    Args:
        config: as a caller set it.
        is_drafted: whether there is an assistant_model.
    """
    mode = _base_mode(config)
    if mode not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        return mode
    is_looked_up = config.prompt_lookup_num_tokens is not None
    if is_drafted or is_looked_up or config.assistant_early_exit is not None:
        return GenerationMode.ASSISTED_GENERATION
    return mode if config.dola_layers is None else GenerationMode.DOLA_GENERATION


def _base_mode(config: GenerationFields) -> GenerationMode:
    if config.constraints is not None or config.force_words_ids is not None:
        return GenerationMode.CONSTRAINED_BEAM_SEARCH
    if not is_same(config.num_beams, 1):
        if _is_above(config.num_beam_groups, 1):
            return GenerationMode.GROUP_BEAM_SEARCH
        return (
            GenerationMode.BEAM_SAMPLE if config.do_sample is True else GenerationMode.BEAM_SEARCH
        )
    if config.do_sample is not False:
        return GenerationMode.SAMPLE
    is_contrastive = _is_above(config.penalty_alpha, 0) and _is_above(config.top_k, 1)
    return GenerationMode.CONTRASTIVE_SEARCH if is_contrastive else GenerationMode.GREEDY_SEARCH


def _is_above(value: Any, bound: int) -> bool:
    """Tell whether a value, which nobody has checked yet, is a number above another."""
    number = plain(value)
    return isinstance(number, int | float) and number > bound
