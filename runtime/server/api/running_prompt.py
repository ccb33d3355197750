"""A prompt of a request while its results are generated."""

from collections.abc import AsyncGenerator, Sequence

from gptneo_onnx.runtime.scheduling import PromptEvent, SchedulerClosedError, TokenScore
from gptneo_onnx.runtime.server.api.choice_text import ChoiceText, Part
from gptneo_onnx.runtime.server.api.generation_arguments import GenerationPlan
from gptneo_onnx.runtime.server.api.prompts import PromptTokens
from gptneo_onnx.runtime.server.served_model import ServedModel


class RunningPrompt:
    """A prompt while its results are generated.

    Attributes:
        prompt: what is continued.
        choices: its results.
        scores: the log probabilities of the prompt's tokens; empty before they are there.
    """

    def __init__(self, prompt: PromptTokens, plan: GenerationPlan, model: ServedModel) -> None:
        """Add the prompt to the engine's queue.

        Raises:
            InputError, QueueFullError, SchedulerClosedError: as AsyncEngine.submit().
        """
        self.prompt = prompt
        self.scores: Sequence[TokenScore | None] = ()
        self.choices = [ChoiceText(model.tokenizer, plan.text) for _ in range(plan.results)]
        self._stopped = plan.stopped
        self._is_generated = plan.arguments["max_new_tokens"] > 0
        self._stream = model.engine.submit(**plan.arguments)

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were not read again."""
        return self._stream.statistics.cached_tokens

    @property
    def generated_tokens(self) -> int:
        """Tokens of all results."""
        return sum(choice.tokens for choice in self.choices)

    def cancel(self) -> None:
        """End what is left."""
        self._stream.cancel()

    async def parts(self) -> AsyncGenerator[tuple[int, Part] | None, None]:
        """Yield the parts of the results, each with its result's number.

        None comes first where the prompt's log probabilities were asked for, once they are there.
        All is cancelled when every result has its end, and when nobody iterates any more.

        Raises:
            GPTNeoOnnxError: what the request fails with.
        """
        try:
            async for event in self._stream:
                if isinstance(event, PromptEvent):
                    self.scores = event.scores
                    yield None
                    continue
                choice = self.choices[event.sequence]
                part = choice.add(event)
                if part is not None:
                    yield event.sequence, part
                if choice.is_finished:
                    if all(each.is_finished for each in self.choices):
                        self._stream.is_enough = True
                        return
                    if self._stopped is not None:
                        self._stopped.stop(event.sequence)
            if self._is_generated:
                raise SchedulerClosedError("the server stopped before the text was finished")
        finally:
            self.cancel()
