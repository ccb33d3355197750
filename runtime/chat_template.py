"""Renders chats by a template of jinja, in the environment that transformers gives templates.

Source: transformers.utils.chat_template_utils, in version 4.57.6.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from gptneo_onnx.models.errors import InputError, printable
from gptneo_onnx.runtime.template_environment import limited_environment
from gptneo_onnx.runtime.template_limits import check_size, limited_filter, limited_work

_MAX_TEMPLATE = 1_000_000
# What stands where the last message ends, while the template adds what comes after messages.
_END = "CONTINUE_FINAL_MESSAGE_TAG "
Message = Mapping[str, Any]
Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class ChatRenderer:
    """A template with what it is given besides the messages.

    Attributes:
        template: of jinja.
        add_generation_prompt: whether the answer's header follows the messages.
        continue_final_message: whether the text ends where the last message ends.
        values: tools, documents, special tokens and whatever the caller adds, by name.
    """

    template: str
    add_generation_prompt: bool
    continue_final_message: bool
    values: Mapping[str, Any]

    def render(self, messages: Sequence[Message]) -> tuple[str, Spans]:
        """Return the text of a chat, and the characters of it that the assistant generates.

        Raises:
            InputError: the template refuses the chat, or cannot be read.
            MissingDependencyError: jinja2 is not installed.
        """
        template = _compiled(self.template)
        if self.continue_final_message:
            messages, ending = _marked(messages)
        spans: Spans = []
        blocks: list[str] = []
        try:
            with limited_work(), template.environment.track_generation(blocks, spans):
                for block in template.generate(
                    messages=messages,
                    add_generation_prompt=self.add_generation_prompt,
                    **self.values,
                ):
                    check_size(len(block))
                    blocks.append(block)  # one by one: spans count what is there
        except Exception as error:  # a template calls what it is given, which raises anything
            raise InputError(f"the chat template refuses the chat: {_line(error)}") from error
        text = "".join(blocks)
        return (_cut_at_end(text, ending) if self.continue_final_message else text), spans


def check_template(template: str) -> None:
    """Raise InputError unless a template can be compiled; MissingDependencyError without jinja2."""
    _compiled(template)


def checked_messages(chat: Any) -> Sequence[Message]:
    """Return a chat's messages; raise InputError unless they are a list with messages."""
    chat = getattr(chat, "messages", chat)
    if not isinstance(chat, list | tuple) or not all(isinstance(each, Mapping) for each in chat):
        raise InputError(
            f"a chat is of type {type(chat).__name__}; a list of messages is expected, each as "
            "{'role': 'user', 'content': 'Hello'}"
        )
    if not chat:
        raise InputError(
            "a chat has no messages; give one, as {'role': 'user', 'content': 'Hello'}"
        )
    return chat


def checked_tools(tools: Any) -> list[Mapping[str, Any]] | None:
    """Return tools as JSON schemas; raise InputError for others."""
    if tools is None:
        return None
    for tool in tools:
        if not isinstance(tool, Mapping):
            raise InputError(
                f"tools has something of type {type(tool).__name__}; JSON schemas are allowed: "
                "transformers.utils.get_json_schema makes one of a function"
            )
    return [*tools]


def _marked(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """Return messages with a mark where the last one ends, and the last one's text."""
    chat: Any = deepcopy([*messages])
    content = chat[-1].get("content")
    if isinstance(content, str):
        chat[-1]["content"] = content + _END
        return chat, content
    for part in reversed(content if isinstance(content, list | tuple) else ()):
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            ending = part["text"]
            part["text"] = ending + _END
            return chat, ending
    raise InputError("continue_final_message is set, and the last message has no text to continue")


def _cut_at_end(text: str, ending: str) -> str:
    if ending.strip() not in text or _END.strip() not in text:
        raise InputError(
            "continue_final_message is set, and the chat template leaves out the last message, or "
            "a part of it; leave it out"
        )
    place = text.rindex(_END.strip())
    if text[place : place + len(_END)] == _END:
        return text[:place]
    return text[:place].rstrip()  # the template strips messages


def _line(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:  # it may be made of anything, such as a number that Python does not write out
        text = ""
    lines = text.strip().splitlines()
    return printable(lines[0], 300) if lines else type(error).__name__


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON: jinja's own filter escapes letters for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def refuse(message: str) -> None:
    """End a template, with a message."""
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)


@lru_cache
def _compiled(template: str) -> Any:
    """Compile a template in a sandbox; raises as ChatRenderer.render()."""
    if len(template) > _MAX_TEMPLATE:
        raise InputError(
            f"the chat template has {len(template)} characters; at most {_MAX_TEMPLATE} are read"
        )
    environment = limited_environment()
    environment.filters["tojson"] = limited_filter("tojson", _to_json)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = _now
    try:
        with limited_work():  # what is constant is calculated here
            return environment.from_string(template)
    except Exception as error:  # such as RecursionError, of Python's own compiler
        raise InputError(f"the chat template cannot be read: {_line(error)}") from error
