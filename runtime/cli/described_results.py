"""Text generation whose results tell how they ended, of what tokens, and how long they took."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
from gptneo_onnx.runtime.generation.stopping_criteria import StopStringCriteria
from gptneo_onnx.runtime.pipelines.arguments import CallArguments
from gptneo_onnx.runtime.pipelines.prompts import PipelinePrompt
from gptneo_onnx.runtime.pipelines.text_generation import (
    Results,
    TextGenerationPipeline,
    without_padding,
)

STOP, LENGTH, TIME = "stop", "length", "time"
# The entries that are the same in all results of a prompt.
OF_PROMPT = ("prompt_tokens", "seed", "timing")


class DescribingPipeline(TextGenerationPipeline):
    """Continues prompts, and adds to every result:

    - finish_reason: STOP, LENGTH or TIME, by OpenAI's names (TIME has none there)
    - stop_reason: the stop string that ended the text, as vLLM names it; None for an end token
    - new_tokens: how many tokens were generated, the end token included
    - complete: whether the text is whole by the form that it had to have; only with a form
    - prompt_tokens: how many tokens the model continued
    - seed: a seed that gives the prompt's results again, when it is generated first in a call; a
      list where results have several; None for greedy decoding
    - timing: of the prompts that were generated together

    Attributes:
        form: what the texts have to be, if they have to.
    """

    form: StructuredOutput | None = None
    _seconds: tuple[float, float] = (0.0, 0.0)  # for the prompts, and for all, of the last batch

    def _generate(
        self, prompts: list[PipelinePrompt], config: GenerationConfig, others: Mapping[str, Any]
    ) -> Any:
        engine = self.model.engine
        engine.decoder(1).prefill_seconds = 0.0
        start = time.perf_counter()
        output = super()._generate(prompts, config, others)
        # A larger decoder may have taken the first one's place; it counts from 0 too.
        self._seconds = engine.decoder(1).prefill_seconds, time.perf_counter() - start
        return output

    def _results(
        self,
        prompts: list[PipelinePrompt],
        output: Any,
        arguments: CallArguments,
        config: GenerationConfig,
        has_limits: bool,
    ) -> list[Results]:
        results = super()._results(prompts, output, arguments, config, has_limits)
        sequences = output if isinstance(output, np.ndarray) else output.sequences
        width = max(len(prompt.input_ids) for prompt in prompts)
        count = config.num_return_sequences
        for row, (prompt, of_prompt) in enumerate(zip(prompts, results, strict=True)):
            for index, result in enumerate(of_prompt, row * count):
                end = width + prompt.max_new_tokens if has_limits else None
                ids = without_padding(sequences[index, width:end].tolist(), config)
                result |= self._end_of(prompt, ids, config, prompt.max_new_tokens)
                result["prompt_tokens"] = len(prompt.input_ids)
                result["seed"] = _shared(prompt.seeds)
        timing = self._timing([result for of_prompt in results for result in of_prompt])
        for of_prompt in results:
            for result in of_prompt:
                result["timing"] = timing | {"batch_size": len(prompts)}
        return results

    def _end_of(
        self, prompt: PipelinePrompt, ids: list[int], config: GenerationConfig, limit: int
    ) -> dict[str, Any]:
        """Return how a result ended, of whose new tokens `ids` at most `limit` were allowed."""
        is_ended = bool(ids) and ids[-1] in config.eos_token_ids
        # Nothing is generated after a stop string: an end token there fills up a batch.
        own = ids[:-1] if is_ended else ids
        stop = self._stop_string([*prompt.input_ids, *own], config) if own else None
        if stop is not None:
            ids = own
        reason = LENGTH
        if is_ended or stop is not None:
            reason = STOP
        elif config.max_time is not None and len(ids) < limit:
            reason = TIME
        end = {"finish_reason": reason, "stop_reason": stop, "new_tokens": len(ids)}
        return end if self.form is None else end | {"complete": self.form.is_complete(ids)}

    def _stop_string(self, ids: list[int], config: GenerationConfig) -> str | None:
        """Return the first stop string that ends within the last token."""
        given = config.stop_strings
        strings = [given] if isinstance(given, str) else [*(given or ())]
        rows = np.array([ids], np.int64)
        for string in strings:
            if StopStringCriteria(self.tokenizer, string)(rows, None)[0]:
                return string
        return None

    def _timing(self, results: Results) -> dict[str, Any]:
        """Return seconds, and the tokens per second after the first of each result."""
        prefill, total = self._seconds
        decode = total - prefill
        later = sum(max(0, result["new_tokens"] - 1) for result in results)
        return {
            "prefill_seconds": round(prefill, 6),
            "decode_seconds": round(decode, 6),
            "tokens_per_second": round(later / decode, 3) if later and decode > 0 else None,
        }


def _shared(seeds: tuple[int, ...]) -> int | list[int] | None:
    """Return the seed of all results; a list if they differ, None without any."""
    if len(set(seeds)) > 1:
        return [*seeds]
    return seeds[0] if seeds else None
