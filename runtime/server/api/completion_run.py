"""One request of /v1/completions, from its fields to its results."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from gptneo_onnx.runtime.scheduling import FinishReason
from gptneo_onnx.runtime.server.api.choice_text import Part
from gptneo_onnx.runtime.server.api.generation_arguments import GenerationPlan, generation_plan
from gptneo_onnx.runtime.server.api.merged import merged
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
from gptneo_onnx.runtime.server.schemas.usage import Usage, usage_of
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings

DEFAULT_TOKENS = 16


class CompletionRun:
    """One request of /v1/completions.

    Raises:
        ParameterError, InputError: a field cannot be used.
    """

    def __init__(
        self, body: CompletionRequest, model: ServedModel, settings: ServerSettings
    ) -> None:
        self._body = body
        self._model = model
        self._results = body.n or 1
        self._generated = self._results if body.best_of is None else body.best_of
        is_search = body.use_beam_search or (body.num_beams or 1) > 1
        self._id, self._created = f"cmpl-{uuid4().hex}", int(time.time())
        _check(body, self._results, self._generated, settings)
        if is_search:  # the search returns the best
            self._generated = self._results
        self._prompts = prompts_of(body.prompt, body, model)
        self._plans = [self._plan(prompt, settings.timeout) for prompt in self._prompts]
        self._running: list[RunningPrompt] = []

    def start(self) -> None:
        """Add all prompts to the engine's queue, or none.

        Raises:
            InputError, QueueFullError, SchedulerClosedError: as AsyncEngine.submit().
        """
        try:
            for prompt, plan in zip(self._prompts, self._plans, strict=True):
                self._running.append(RunningPrompt(prompt, plan, self._model))
        except BaseException:
            for running in self._running:
                running.cancel()
            raise

    def cancel(self) -> None:
        """End what is left."""
        for running in self._running:
            running.cancel()

    async def completion(self) -> Completion:
        """Return the results, once all are there."""
        parts: dict[tuple[int, int], list[Part]] = {}
        async for prompt, result, part in self._parts():
            parts.setdefault((prompt, result), []).append(part)
        choices = []
        for prompt, running in enumerate(self._running):
            for place, result in enumerate(self._best(running)):
                whole = _whole(parts.get((prompt, result), ()))
                index = prompt * self._results + place
                choices.append(self._choice(index, running, whole, is_first=True))
        return Completion(**self._header(), choices=choices, usage=self._usage())

    async def chunks(self) -> AsyncIterator[Completion]:
        """Yield the results in parts, as they come."""
        usage: dict[str, Any] = {"usage": None} if self._body.wants_usage else {}
        begun: set[int] = set()
        async with aclosing(self._parts()) as parts:
            async for prompt, result, part in parts:
                for index in self._indices(prompt, result):
                    running = self._running[prompt]
                    choice = self._choice(index, running, part, is_first=index not in begun)
                    begun.add(index)
                    yield Completion(**self._header(), choices=[choice], **usage)
        if self._body.wants_usage:
            yield Completion(**self._header(), choices=[], usage=self._usage())

    async def _parts(self) -> AsyncGenerator[tuple[int, int, Part], None]:
        """Yield parts with the numbers of their prompt and result; each result has at least one."""
        begun: set[tuple[int, int]] = set()
        async with aclosing(merged([running.parts() for running in self._running])) as items:
            async for prompt, item in items:
                if item is not None:
                    result, part = item
                    begun.add((prompt, result))
                    yield prompt, result, part
        for prompt, plan in enumerate(self._plans):
            for result in range(plan.results):
                if (prompt, result) not in begun:  # nothing was to be generated
                    yield prompt, result, Part("", (), FinishReason.LENGTH)

    def _plan(self, prompt: PromptTokens, timeout: float) -> GenerationPlan:
        body = self._body
        max_tokens = new_tokens(
            "max_tokens", body.max_tokens, DEFAULT_TOKENS, prompt, self._model.context
        )
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

    def _indices(self, prompt: int, result: int) -> list[int]:
        """Return the numbers of the choices that a result becomes."""
        results = range(self._results) if self._plans[prompt].results == 1 else [result]
        return [prompt * self._results + place for place in results]

    def _best(self, running: RunningPrompt) -> list[int]:
        """Return the results that are returned: by best_of, those of the best mean."""
        if len(running.choices) == 1:
            return [0] * self._results
        if self._generated == self._results:
            return [*range(self._results)]
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
        }

    def _usage(self) -> Usage:
        copies = [1 if plan.results > 1 else self._results for plan in self._plans]
        generated = (
            running.generated_tokens * count
            for running, count in zip(self._running, copies, strict=True)
        )
        return usage_of(
            sum(len(prompt.ids) for prompt in self._prompts),
            sum(generated),
            sum(running.cached_tokens for running in self._running),
        )


def _whole(parts: Sequence[Part]) -> Part:
    """Return the parts of a result as one."""
    last = parts[-1]
    return Part(
        "".join(part.text for part in parts),
        [token for part in parts for token in part.tokens],
        last.finish_reason,
        last.stop_reason,
    )


def _check(body: CompletionRequest, results: int, generated: int, settings: ServerSettings) -> None:
    """Raise ParameterError for fields that do not go together."""
    if generated < results:
        raise ParameterError(
            f"best_of is {generated} and n {results}; at least as many are allowed", "best_of"
        )
    name = "best_of" if generated > results else "n"
    if generated > settings.max_results:
        raise ParameterError(
            f"{name} is {generated}; at most {settings.max_results} are allowed", name
        )
    if body.stream and generated > results:
        raise ParameterError(
            f"best_of is {generated}, and with stream the best of them is not known in time; "
            "leave one of them out",
            "best_of",
        )
    if body.stream_options is not None and not body.stream:
        raise ParameterError(
            "stream_options are for stream: true; leave them out", "stream_options"
        )
