"""Classifier-free guidance as a processor that calls a model for the negative prompt's scores."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.base import log_probabilities
from gptneo_onnx.runtime.generation.processors.conversions import number
from gptneo_onnx.runtime.generation.tensors import (
    as_array,
    ids_array,
    is_tensor,
    scores_array,
    tensor_like,
)


def guided_scores(scores: Scores, unconditional: Scores, scale: float) -> Scores:
    """Return guided scores [..., vocab] (Sanchez et al. 2023, arXiv:2306.17806)."""
    free = log_probabilities(unconditional)
    return scores.dtype.type(scale) * (log_probabilities(scores) - free) + free


class UnbatchedClassifierFreeGuidanceLogitsProcessor:
    """Moves scores away from what follows a negative prompt; a weight of 1 changes nothing.

    A processor appends the newest token of every call to the negative prompts, so it can serve only
    one text. generate() itself takes guidance_scale and negative_prompt_ids, steps both prompts in
    one batch, and gives the same results: there, use those. A model cannot be called by a processor
    while it generates.

    Args:
        guidance_scale: weight of the prompt against the negative prompt.
        model: a GPTNeoForCausalLM; or anything that is called as transformers' models are, and
            returns an output with logits [batch, length, vocab].
        unconditional_ids: negative prompts, int [batch, length]; by default the last token.
        unconditional_attention_mask: their mask, padding on the left.
        use_cache: whether a model of another kind is passed the newest token only, with the cache
            that it returned.

    Raises:
        InputError: guidance_scale is not a number, or there are not as many negative prompts as
            rows of scores, nor one.
    """

    def __init__(
        self,
        guidance_scale: float,
        model: Any,
        unconditional_ids: ArrayLike | None = None,
        unconditional_attention_mask: ArrayLike | None = None,
        use_cache: bool = True,
    ) -> None:
        self.guidance_scale = number("guidance_scale", guidance_scale)
        self.model = model
        self.use_cache = use_cache
        self._ids: Ids | None = ids_array(unconditional_ids)
        self._mask: Ids | None = ids_array(unconditional_attention_mask)
        self._saved: Any = None
        self._has_begun = False

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        array = scores_array(scores)
        if self.guidance_scale == 1:
            processed = log_probabilities(array)
        else:
            self._append(ids_array(input_ids))
            unconditional = self._logits(scores)
            if len(unconditional) not in (1, len(array)):
                raise InputError(
                    f"there are {len(unconditional)} negative prompts and {len(array)} rows of "
                    "scores; as many are allowed, or one"
                )
            processed = guided_scores(array, unconditional, self.guidance_scale)
        return tensor_like(processed, scores) if is_tensor(scores) else processed

    def _append(self, input_ids: Ids) -> None:
        """Append the newest token of each row to its negative prompt, but for the first call."""
        newest = input_ids[:, -1:]
        if self._ids is None:
            self._ids = newest
        elif self._has_begun:
            prompts = np.broadcast_to(self._ids, (len(newest), self._ids.shape[1]))
            self._ids = np.concatenate([prompts, newest], axis=1)
        if self._mask is None:
            self._mask = np.ones_like(self._ids)
        missing = self._ids.shape[1] - self._mask.shape[1]
        mask = np.broadcast_to(self._mask, (len(self._ids), self._mask.shape[1]))
        self._mask = np.pad(mask, ((0, 0), (0, missing)), constant_values=1)

    def _logits(self, scores: Any) -> Scores:
        """Return the logits after the negative prompts, [prompts, vocab].

        A model of another kind gets tensors if the scores are one.
        """
        has_begun, self._has_begun = self._has_begun, True
        if hasattr(self.model, "prefill"):
            self._saved = self.model.prefill(self._ids, self._mask, self._saved)
            return np.stack([sequence.logits for sequence in self._saved.sequences])
        assert self._ids is not None
        assert self._mask is not None
        is_continued = self.use_cache and has_begun
        arguments: list[Any] = [self._ids[:, -1:] if is_continued else self._ids, self._mask]
        if is_tensor(scores):
            arguments = [tensor_like(each, scores) for each in arguments]
        output = self.model(
            arguments[0],
            attention_mask=arguments[1],
            use_cache=self.use_cache,
            past_key_values=self._saved,
        )
        self._saved = output.get("past_key_values", None)
        return scores_array(as_array(output.logits)[:, -1])
