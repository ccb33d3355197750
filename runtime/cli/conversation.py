"""A text that a user and the model write in turns; only new tokens go through the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.call import prepare_call
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import asked_length, read_config
from gptneo_onnx.runtime.generation.streamers import TextStreamer
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

_KEPT_STEPS = 1000


@dataclass(frozen=True)
class _Step:
    """What a step changed: a turn, /load or /reset.

    Attributes:
        before: the ids before it.
        prompt: for a turn, the ids that the model continued.
    """

    before: list[int]
    prompt: list[int] | None = None


class Conversation:
    """A text written in turns: its token ids, and the model's cache of them."""

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        config: GenerationConfig,
        **arguments: Any,
    ) -> None:
        """
        Args:
            model: continues the text.
            tokenizer: the model's.
            config: how each turn is generated. max_new_tokens bounds a turn, max_length the text.
            arguments: other arguments of generate().
        """
        self.model = model
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.cache = PromptCache()
        self._cache_before = PromptCache()
        self._steps: list[_Step] = []
        self.configure(config, arguments)

    def configure(self, config: GenerationConfig, arguments: dict[str, Any]) -> None:
        """Change how the following turns are generated; arguments as the constructor's."""
        self.config = _of_one_text(config)
        self.arguments = arguments

    @property
    def text(self) -> str:
        """The text so far."""
        return self.tokenizer.decode(self.ids, True, False)

    @property
    def context(self) -> int:
        """Tokens that the text can have."""
        return self.model.config.max_position_embeddings

    def clear(self) -> None:
        """Forget the text; undo() brings it back."""
        self._replace([])

    def load(self, text: str) -> None:
        """Replace the text; undo() brings the one before back.

        Raises:
            InputError: it is empty, or it fills the model's context.
        """
        if not text:
            raise InputError("the text to load is empty; /reset begins a new one")
        ids = self.tokenizer.encode(text)
        self._room(ids)
        self._replace(ids)

    def undo(self) -> None:
        """Take back the last turn, or what replaced the text.

        Raises:
            InputError: there is nothing to take back.
        """
        if not self._steps:
            raise InputError("there is nothing to take back")
        self.ids = self._steps.pop().before

    def check_retry(self) -> None:
        """Check that the last step was a turn.

        Raises:
            InputError: it was not, or there was none.
        """
        self._last_prompt()

    def retry(self, write: Callable[[str], None]) -> None:
        """Have the model continue what it continued last, in place of what it wrote then.

        Args:
            write: as turn()'s.

        Raises:
            InputError: the last step was no turn.
        """
        self._continue(self._last_prompt(), write, self._cache_before)

    def _last_prompt(self) -> list[int]:
        if not self._steps or self._steps[-1].prompt is None:
            raise InputError("the model has written nothing that could be written again")
        return self._steps[-1].prompt

    def _replace(self, ids: list[int]) -> None:
        self._keep(_Step(self.ids))
        self.ids = ids

    def _keep(self, step: _Step) -> None:
        self._steps = [*self._steps[1 - _KEPT_STEPS :], step]

    def turn(self, text: str, write: Callable[[str], None]) -> None:
        """Add a line to the text and have the model continue it.

        Args:
            text: what the user adds, a line or several; if it is empty, the model continues its
                own text.
            write: is given the model's text piece by piece.

        Raises:
            InputError: the whole text is empty, or it fills the model's context.
        """
        if text:
            line = f"\n{text}" if self.ids else text
            # Tokens around a text belong around the whole.
            ids = [*self.ids, *self.tokenizer.encode(line, add_special_tokens=not self.ids)]
        elif self.ids:
            ids = self.ids
        else:
            raise InputError("the text is still empty; type how it begins")
        self._room(ids)
        self._keep(_Step(self.ids, ids))
        self._cache_before = self.cache
        try:
            self._continue(ids, write, self.cache)
        except GPTNeoOnnxError:  # a setting that cannot be used: the text stays as it was
            self.undo()
            raise

    def _continue(self, ids: list[int], write: Callable[[str], None], cache: PromptCache) -> None:
        max_new_tokens = self._room(ids)
        self.ids = ids
        streamer = _TurnStreamer(self, write)
        output = self.model.generate(
            [ids],
            generation_config=self.config,
            streamer=streamer,
            past_key_values=cache,
            return_dict_in_generate=True,
            tokenizer=self.tokenizer,
            max_new_tokens=max_new_tokens,
            **self.arguments,
        )
        self.cache = output.past_key_values
        if self.ids[-1] == self.tokenizer.eos_token_id:
            self.ids = self.ids[:-1]  # the next turn continues the text

    def _room(self, ids: list[int]) -> int:
        """Return how many tokens the model may add."""
        config, context = read_config(self.config), self.context
        longest, limit = context, f"the model's context of {context}"
        max_length = asked_length(config) if config.max_new_tokens is None else None
        if max_length is not None and max_length < context:
            longest, limit = max_length, f"max_length, {max_length}"
        room = longest - len(ids)
        if room < 1:
            raise InputError(
                f"the text has {len(ids)} tokens and fills {limit}; /reset begins a new text"
            )
        return min(config.max_new_tokens or room, room)


class _TurnStreamer(TextStreamer):
    """Writes a turn's text; adds its ids at once, so that an interruption does not lose them."""

    def __init__(self, conversation: Conversation, write: Callable[[str], None]) -> None:
        super().__init__(
            conversation.tokenizer,
            skip_prompt=True,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        self._conversation = conversation
        self._write = write

    def put(self, ids: Any) -> None:
        if not self._is_prompt:
            self._conversation.ids = [*self._conversation.ids, *map(int, ids)]
        super().put(ids)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._write(text + "\n" if stream_end else text)


def check_call(
    model: GPTNeoForCausalLM,
    tokenizer: Tokenizer,
    config: GenerationConfig,
    arguments: dict[str, Any],
) -> None:
    """Check what a turn would be generated with; no token is.

    Raises:
        InputError: a value that generate() would refuse.
    """
    longest = model.config.max_position_embeddings - 1
    prepare_call(
        model.engine,
        model.generation_config,
        input_ids=[[0]],
        generation_config=_of_one_text(config),
        tokenizer=tokenizer,
        max_new_tokens=min(read_config(config).max_new_tokens or longest, longest),
        **arguments,
    )


def _of_one_text(config: GenerationConfig) -> GenerationConfig:
    """Return a config for one text, even if the model's asks for beams or more results."""
    return config.updated(
        num_beams=1, num_beam_groups=1, diversity_penalty=0.0, num_return_sequences=1
    )
