"""From the messages of a chat to a prompt, by the model's template."""

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.chat_tokenizer import ChatTokenizer
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.messages import Message
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings

_ARGUMENTS = frozenset(inspect.signature(ChatTokenizer.apply_chat_template).parameters)
_OF_RENDERER = frozenset({"messages", "tools", "documents"})


def chat_template_of(model: ServedModel, settings: ServerSettings) -> str | None:
    """Return the template that chats with a model are rendered by: its own, or the server's.

    Raises:
        InputError: the server's file cannot be read.
    """
    if model.tokenizer.chat_template is not None:
        return model.tokenizer.get_chat_template()
    return None if settings.chat_template is None else _read(settings.chat_template)


def rendered_chat(
    messages: Sequence[Message],
    model: ServedModel,
    settings: ServerSettings,
    *,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    values: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a chat.

    Args:
        messages: the chat's.
        model: that answers.
        settings: may name a template.
        add_generation_prompt, continue_final_message: as apply_chat_template() takes them.
        values: for the template besides.

    Raises:
        ParameterError: there is no template, or two arguments exclude each other.
        InputError: the template refuses the chat.
        MissingDependencyError: jinja2 is not installed.
    """
    template = chat_template_of(model, settings)
    if template is None:
        raise ParameterError(
            f"the model {model.name} is a base model without a chat template: it continues texts, "
            "at /v1/completions; for chats start the server with --chat-template FILE",
            "messages",
        )
    for name in values or {}:
        if name in _ARGUMENTS | _OF_RENDERER:
            raise ParameterError(
                f"chat_template_kwargs has {shown(name)}, which is set by other fields; leave it "
                "out",
                "chat_template_kwargs",
            )
    text: str = model.tokenizer.apply_chat_template(
        [message.for_template() for message in messages],
        chat_template=template,
        add_generation_prompt=add_generation_prompt and not continue_final_message,
        continue_final_message=continue_final_message,
        tokenize=False,
        **(values or {}),
    )
    return text


@lru_cache
def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the chat template {path} cannot be read: {error}") from error
