"""A text that a user and the model write in turns; only new tokens go through the model."""

import sys
from collections.abc import Callable
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.config_combination import asked_length, read_config
from gptneo_onnx.runtime.generation.streamers import TextStreamer
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

HELP = (
    "Type how the text begins; the model continues it, then you again, each time on a new line. "
    "After an empty line the model writes on. /clear begins a new text, /quit or Ctrl-D ends, "
    "Ctrl-C stops the model."
)


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
        # There is one text to continue, even if the model's config asks for beams or more results.
        self.config = config.updated(
            num_beams=1, num_beam_groups=1, diversity_penalty=0.0, num_return_sequences=1
        )
        self.arguments = arguments
        self.clear()

    def clear(self) -> None:
        """Forget the text."""
        self.ids: list[int] = []
        self.cache = PromptCache()

    def turn(self, text: str, write: Callable[[str], None]) -> None:
        """Add a line to the text and have the model continue it.

        Args:
            text: the user's line; if it is empty, the model continues its own text.
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
        max_new_tokens = self._room(ids)
        self.ids = ids
        streamer = _TurnStreamer(self, write)
        output = self.model.generate(
            [ids],
            generation_config=self.config,
            streamer=streamer,
            past_key_values=self.cache,
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
        config, context = read_config(self.config), self.model.config.max_position_embeddings
        longest, limit = context, f"the model's context of {context}"
        max_length = asked_length(config) if config.max_new_tokens is None else None
        if max_length is not None and max_length < context:
            longest, limit = max_length, f"max_length, {max_length}"
        room = longest - len(ids)
        if room < 1:
            raise InputError(
                f"the text has {len(ids)} tokens and fills {limit}; /clear begins a new text"
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


def converse(conversation: Conversation) -> None:
    """Take turns, from standard input and on standard output, until the input ends."""
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    if is_terminal:
        print(HELP, file=sys.stderr)
    while (line := _next_line(is_terminal)) not in (None, "/quit"):
        if line == "/clear":
            conversation.clear()
            continue
        try:
            conversation.turn(str(line), _print)
        except KeyboardInterrupt:
            print("\n[stopped]", file=sys.stderr)
        except InputError as error:
            print(f"[{error}]", file=sys.stderr)


def _next_line(is_terminal: bool) -> str | None:
    """Return the user's next line; None at the end of the input, or for Ctrl-C at the prompt."""
    try:
        return input("> " if is_terminal else "")
    except (EOFError, KeyboardInterrupt):
        return None
    except RuntimeError as error:  # sys.stdin is None
        raise InputError("there is nothing to converse with: standard input is closed") from error
    except UnicodeDecodeError as error:
        raise InputError("standard input is not UTF-8") from error


def _print(text: str) -> None:
    print(text, end="", flush=True)
