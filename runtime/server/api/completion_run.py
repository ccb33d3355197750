"""One request of /v1/completions, from its fields to its results."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from gptneo_onnx.runtime.server.api.choice_text import Part
from gptneo_onnx.runtime.server.api.generation_arguments import (
    GenerationPlan,
    beams_of,
    check_results,
    generation_plan,
)
from gptneo_onnx.runtime.server.api.generation_run import GenerationRun
from gptneo_onnx.runtime.server.api.prompts import PromptTokens, new_tokens, prompts_of
from gptneo_onnx.runtime.server.api.running_prompt import RunningPrompt
from gptneo_onnx.runtime.server.api.token_logprobs import (
    completion_logprobs,
    joined,
    placed_prompt,
    prompt_logprobs,
)
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.completions import (
    Completion,
    CompletionChoice,
    CompletionRequest,
)
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings

DEFAULT_TOKENS = 16


class CompletionRun:
    """One request of /v1/completions; start() comes first.

    Raises:
        ParameterError, InputError: a field cannot be used.
    """

    def __init__(
        self, body: CompletionRequest, model: ServedModel, settings: ServerSettings
    ) -> None:
        self._body = body
        self._model = model
        self._results = body.n or 1
        self._generated = _generated(body, self._results)
        self._id, self._created = f"cmpl-{uuid4().hex}", int(time.time())
        check_results(body, self._results, settings)
        self._prompts = prompts_of(body.prompt, body, model)
        sharing = model.engine.scheduler.settings
        most = sharing.max_waiting + max(1, sharing.slots // self._generated)
        if len(self._prompts) > most:
            raise ParameterError(
                f"prompt has {len(self._prompts)} prompts; at most {most} fit into "
                "the queue and the slots",
                "prompt",
            )
        self._plans = [self._plan(prompt, settings.timeout) for prompt in self._prompts]

    def start(self) -> None:
        """Add all prompts to the engine's queue, or none; errors are GenerationRun's."""
        self._run = GenerationRun(self._model, self._prompts, self._plans, self._results)

    def cancel(self) -> None:
        """End what is left."""
        self._run.cancel()

    async def completion(self) -> Completion:
        """Return the results, once all are there."""
        results = await self._run.whole_results()
        choices = []
        for prompt, running in enumerate(self._run.running):
            for place, result in enumerate(self._best(running)):
                index = prompt * self._results + place
                part = results[prompt, result]
                choices.append(self._choice(index, running, part, is_first=True))
        return Completion(**self._header(), choices=choices, usage=self._run.usage())

    async def chunks(self) -> AsyncGenerator[Completion, None]:
        """Yield the results in parts, as they come."""
        usage: dict[str, Any] = {"usage": None} if self._body.wants_usage else {}
        begun: set[int] = set()
        async with aclosing(self._run.parts()) as parts:
            async for numbers, part in parts:
                for index in self._run.indices(numbers):
                    running = self._run.running[numbers[0]]
                    choice = self._choice(index, running, part, is_first=index not in begun)
                    begun.add(index)
                    yield Completion(**self._header(), choices=[choice], **usage)
        if self._body.wants_usage:
            yield Completion(**self._header(), choices=[], usage=self._run.usage())

    def _plan(self, prompt: PromptTokens, timeout: float) -> GenerationPlan:
        body = self._body
        max_tokens = new_tokens(
            "max_tokens", body.max_tokens, self._model.default_tokens(DEFAULT_TOKENS), prompt,
            self._model.context,
        )  # fmt: skip
        is_ranked = self._generated > self._results
        wanted = [body.prompt_logprobs, body.logprobs if body.echo else None]
        if max_tokens == 0:  # the engine reads the prompt for its log probabilities only
            wanted.append(0)
        return generation_plan(
            body,
            self._model,
            prompt.ids,
            max_tokens=max_tokens,
            results=self._generated,
            logprobs=0 if is_ranked and body.logprobs is None else body.logprobs,
            prompt_logprobs=max((each for each in wanted if each is not None), default=None),
            timeout=timeout,
        )

    def _best(self, running: RunningPrompt) -> Sequence[int]:
        """Return the results that are returned: by best_of, those of the best mean."""
        if len(running.choices) == 1:
            return [0] * self._results
        if self._generated == self._results:
            return range(self._results)
        means = [choice.logprob / max(1, choice.tokens) for choice in running.choices]
        return sorted(range(len(means)), key=lambda result: -means[result])[: self._results]

    def _choice(
        self, index: int, running: RunningPrompt, part: Part, *, is_first: bool
    ) -> CompletionChoice:
        """Return a part of a result as a choice; the first part has what belongs to the prompt."""
        body, tokenizer, prompt = self._body, self._model.tokenizer, running.prompt
        has_prompt = bool(body.echo) and is_first
        choice = CompletionChoice(
            index=index,
            text=(prompt.text if has_prompt else "") + part.text,
            logprobs=None,
            finish_reason=part.finish_reason,
            stop_reason=part.stop_reason,
        )
        if body.logprobs is not None:
            most, start = body.logprobs, len(prompt.text) if body.echo else 0
            listed = [completion_logprobs(tokenizer, part.tokens, most, start)]
            if has_prompt:
                placed = placed_prompt(tokenizer, prompt.ids, running.scores)
                listed.insert(0, completion_logprobs(tokenizer, placed, most))
            choice.logprobs = joined(listed)
        if body.return_token_ids:
            choice.token_ids = [placed.token for placed in part.tokens]
            choice.prompt_token_ids = [*prompt.ids] if is_first else None
        if body.prompt_logprobs is not None and is_first:
            choice.prompt_logprobs = prompt_logprobs(
                tokenizer, running.scores, body.prompt_logprobs
            )
        return choice

    def _header(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model.name,
            "system_fingerprint": self._model.fingerprint,
        }


def _generated(body: CompletionRequest, results: int) -> int:
    """Return how many results to generate for each prompt.

    Raises:
        ParameterError: best_of is less than n, or streamed.
    """
    if body.best_of is None or beams_of(body, results) > 1:  # a search returns the best by itself
        return results
    if body.best_of < results:
        raise ParameterError(
            f"best_of is {body.best_of} and n {results}; at least as many are allowed", "best_of"
        )
    if body.stream and body.best_of > results:
        raise ParameterError(
            f"best_of is {body.best_of}, and with stream the best of them is not known in time; "
            "leave one of them out",
            "best_of",
        )
    return body.best_of
