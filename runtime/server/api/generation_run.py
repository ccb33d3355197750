"""The prompts of one request, while their results are generated."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from gptneo_onnx.runtime.scheduling import FinishReason
from gptneo_onnx.runtime.server.api.choice_text import Part
from gptneo_onnx.runtime.server.api.generation_arguments import GenerationPlan
from gptneo_onnx.runtime.server.api.merged import merged
from gptneo_onnx.runtime.server.api.prompts import PromptTokens
from gptneo_onnx.runtime.server.api.running_prompt import RunningPrompt
from gptneo_onnx.runtime.server.schemas.usage import Usage, usage_of
from gptneo_onnx.runtime.server.served_model import ServedModel

# The numbers of a prompt and of one of its results.
Numbers = tuple[int, int]


class GenerationRun:
    """The prompts of one request, while their results are generated.

    Attributes:
        running: the prompts.
    """

    def __init__(
        self,
        model: ServedModel,
        prompts: Sequence[PromptTokens],
        plans: Sequence[GenerationPlan],
        results: int,
    ) -> None:
        """Add all prompts to the engine's queue, or none.

        Args:
            model: that generates.
            prompts: what is continued.
            plans: what each asks of the engine.
            results: that are returned for each.

        Raises:
            InputError, QueueFullError, SchedulerClosedError: as AsyncEngine.submit().
        """
        self.running: list[RunningPrompt] = []
        self._plans = plans
        self._results = results
        try:
            for prompt, plan in zip(prompts, plans, strict=True):
                self.running.append(RunningPrompt(prompt, plan, model))
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """End what is left."""
        for running in self.running:
            running.cancel()

    async def parts(self) -> AsyncGenerator[tuple[Numbers, Part], None]:
        """Yield the parts of all results as they come; each result has at least one.

        Raises:
            GPTNeoOnnxError: what the request fails with.
        """
        begun: set[Numbers] = set()
        async with aclosing(merged([running.parts() for running in self.running])) as items:
            async for prompt, item in items:
                if item is not None:
                    result, part = item
                    begun.add((prompt, result))
                    yield (prompt, result), part
        for prompt, plan in enumerate(self._plans):
            for result in range(plan.results):
                if (prompt, result) not in begun:  # nothing was to be generated
                    yield (prompt, result), Part("", (), FinishReason.LENGTH)

    async def whole_results(self) -> Mapping[Numbers, Part]:
        """Return all results, each as one part."""
        parts: dict[Numbers, list[Part]] = {}
        async with aclosing(self.parts()) as stream:
            async for numbers, part in stream:
                parts.setdefault(numbers, []).append(part)
        return {numbers: _whole(each) for numbers, each in parts.items()}

    def indices(self, numbers: Numbers) -> Sequence[int]:
        """Return the numbers of the choices that a result becomes: all, where it is the only one.

        Args:
            numbers: of the prompt and its result.
        """
        prompt, result = numbers
        is_only = self._plans[prompt].results == 1
        places = range(self._results) if is_only else (result,)
        return [prompt * self._results + place for place in places]

    def usage(self) -> Usage:
        """Return how many tokens were read and generated so far."""
        generated = 0
        for running, plan in zip(self.running, self._plans, strict=True):
            copies = self._results if plan.results == 1 else 1
            generated += running.generated_tokens * copies
        return usage_of(
            sum(len(running.prompt.ids) for running in self.running),
            generated,
            sum(running.cached_tokens for running in self.running),
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
