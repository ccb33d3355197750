"""Detects green-list watermarks in text: transformers.WatermarkDetector, with its names."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids
from gptneo_onnx.runtime.generation.processors.watermarking import WatermarkingConfig
from gptneo_onnx.runtime.generation.tensors import ids_array


@dataclass
class WatermarkDetectorOutput:
    """What is known of each text, [batch] each.

    Attributes:
        num_tokens_scored: float64, tokens that could be green.
        num_green_tokens: float64, those that are.
        green_fraction: float64, their part.
        z_score: float64, how many standard deviations there are more than by chance.
        p_value: float64, the likelihood of as many by chance.
        prediction: bool, whether there is a watermark.
        confidence: float64, 1 minus the likelihood.
    """

    num_tokens_scored: NDArray[np.float64] | None = None
    num_green_tokens: NDArray[np.float64] | None = None
    green_fraction: NDArray[np.float64] | None = None
    z_score: NDArray[np.float64] | None = None
    p_value: NDArray[np.float64] | None = None
    prediction: NDArray[np.bool_] | None = None
    confidence: NDArray[np.float64] | None = None


class WatermarkDetector:
    """Tells texts with a WatermarkingConfig's watermark from others (arXiv:2306.04634).

    Args:
        model_config: the model's config: `vocab_size` and `bos_token_id` are read.
        device: "cpu", as for the processor.
        watermarking_config: what generate() was given, or a dict of its fields.
        ignore_repeated_ngrams: whether to count a run of tokens that comes again once only. (There
            it changes nothing: runs are told apart by the tensors' identity.)
        max_cache_size: runs that are remembered.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        model_config: Any,
        device: object = "cpu",
        watermarking_config: WatermarkingConfig | Mapping[str, Any] | None = None,
        ignore_repeated_ngrams: bool = False,
        max_cache_size: int = 128,
    ) -> None:
        config = watermarking_config if watermarking_config is not None else WatermarkingConfig()
        if isinstance(config, Mapping):
            config = WatermarkingConfig.from_dict(config)
        self.bos_token_id = model_config.bos_token_id
        self.greenlist_ratio = config.greenlist_ratio
        self.ignore_repeated_ngrams = ignore_repeated_ngrams
        self.processor = config.construct_processor(model_config.vocab_size, device)
        self._is_green = lru_cache(maxsize=max_cache_size)(self._look_up)

    def __call__(
        self, input_ids: Any, z_threshold: float = 3.0, return_dict: bool = False
    ) -> WatermarkDetectorOutput | NDArray[np.bool_]:
        """Return bool [batch], whether a text has the watermark; or all that is known.

        Args:
            input_ids: int [batch, length], best without the prompt; a begin token is skipped.
            z_threshold: how many standard deviations more than by chance it takes.
            return_dict: whether to return a WatermarkDetectorOutput.

        Raises:
            InputError: no token follows the context that green lists depend on.
        """
        ids = ids_array(input_ids)
        if ids is None or ids.ndim != 2 or not ids.shape[0]:
            raise InputError("input_ids are token ids [batch, length]; pass at least one text")
        if ids.shape[1] and ids[0, 0] == self.bos_token_id:
            ids = ids[:, 1:]
        least = self.processor.context_width + 1
        if ids.shape[1] < least:
            raise InputError(
                f"a text has {ids.shape[1]} tokens; at least {least} are needed, one behind the "
                "context that its list depends on"
            )
        scored, green = np.array([self._counts(row) for row in ids], np.float64).T
        ratio = self.greenlist_ratio
        z_score = (green - ratio * scored) / np.sqrt(scored * ratio * (1 - ratio))
        prediction = np.asarray(z_score > z_threshold)
        if not return_dict:
            return prediction
        p_value = 1 - 0.5 * (1 + np.sign(z_score) * (1 - np.exp(-2 * z_score**2 / np.pi)))
        return WatermarkDetectorOutput(
            scored, green, green / scored, z_score, p_value, prediction, 1 - p_value
        )

    def _counts(self, row: Ids) -> tuple[int, int]:
        """Return how many tokens of a text [length] could be green, and how many are."""
        is_selfhash = self.processor.seeding_scheme == "selfhash"
        size = self.processor.context_width + (not is_selfhash)
        runs = [tuple(run) for run in np.lib.stride_tricks.sliding_window_view(row, size).tolist()]
        if self.ignore_repeated_ngrams:
            runs = [*dict.fromkeys(runs)]
        return len(runs), sum(self._is_green(run) for run in runs)

    def _look_up(self, run: tuple[int, ...]) -> bool:
        return self.processor.is_green(np.array(run[:-1], np.int64), run[-1])
