"""A text that a person and the model write in turns; only what is new goes through the model."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache
from gptneo_onnx.runtime.generation.config import GenerationConfig
from gptneo_onnx.runtime.generation.streamers import TextStreamer
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

HELP = (
    "Type how the text begins; the model goes on, and you after it, each time on a new line. "
    "An empty line lets the model write on. /clear begins anew, /quit or Ctrl-D ends, Ctrl-C stops "
    "the model."
)


class Conversation:
    """The text so far, its ids and their cache."""

    def __init__(
        self,
        model: GPTNeoForCausalLM,
        tokenizer: Tokenizer,
        config: GenerationConfig,
        **arguments: Any,
    ) -> None:
        """
        Args:
            config: how every turn is generated: lengths are a turn's, max_length the whole text's.
            arguments: what generate() takes besides it.
        """
        self.model = model
        self.tokenizer = tokenizer
        # A text that is written in turns is a single one, whatever the model's config says.
        self.config = config.update(
            num_beams=1, num_beam_groups=1, diversity_penalty=0.0, num_return_sequences=1
        )
        self.arguments = arguments
        self.clear()

    def clear(self) -> None:
        """Forget the text."""
        self.ids: list[int] = []
        self.cache = PromptCache()

    def turn(self, text: str, write: Callable[[str], None]) -> None:
        """Add a line, and what the model makes of it, which `write` is given as it comes.

        Raises:
            InputError: nothing was written yet, or the text fills the model's context.
        """
        if text:
            line = f"\n{text}" if self.ids else text
            ids = [*self.ids, *self.tokenizer.encode(line)]
        elif self.ids:
            ids = self.ids
        else:
            raise InputError("the text is still empty; type how it begins")
        limit = self._limit(ids)
        self.ids = ids
        streamer = _Written(self, write)
        output = self.model.generate(
            [ids],
            generation_config=self.config,
            streamer=streamer,
            past_key_values=self.cache,
            return_dict_in_generate=True,
            tokenizer=self.tokenizer,
            max_new_tokens=limit,
            **self.arguments,
        )
        self.cache = output.past_key_values
        if self.ids[-1] == self.tokenizer.eos_token_id:
            self.ids = self.ids[:-1]  # the text goes on, whatever the model thinks

    def _limit(self, ids: list[int]) -> int:
        """How many tokens may be added."""
        config, context = self.config, self.model.config.max_position_embeddings
        most = context
        if config.max_new_tokens is None and config.max_length is not None:
            most = min(context, config.max_length)
        room = most - len(ids)
        if room < 1:
            what = f"the model's context of {context}" if most == context else f"max_length, {most}"
            raise InputError(f"the text has {len(ids)} tokens and fills {what}; /clear begins anew")
        return min(config.max_new_tokens or room, room)


class _Written(TextStreamer):
    """Keeps the ids as they come: what was written before an interruption has been written."""

    def __init__(self, conversation: Conversation, write: Callable[[str], None]) -> None:
        super().__init__(conversation.tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._conversation = conversation
        self._write = write

    def put(self, ids: Sequence[int]) -> None:
        if not self._is_prompt:
            self._conversation.ids = [*self._conversation.ids, *ids]
        super().put(ids)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._write(text + "\n" if stream_end else text)


def converse(conversation: Conversation) -> None:
    """Take turns on the terminal until the input ends."""
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
