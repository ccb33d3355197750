"""From chats to texts and tokens: the method apply_chat_template of transformers' tokenizers."""

from collections.abc import Mapping, Sequence
from typing import Any

from gptneo_onnx.models.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.batch_encoding import BatchEncoding, as_tensors
from gptneo_onnx.runtime.chat_template import (
    ChatRenderer,
    Message,
    Spans,
    checked_messages,
    checked_tools,
)
from gptneo_onnx.runtime.text_encoder import TextEncoder

_TOOLS_TEMPLATE = "tool_use"


class ChatTokenizer(TextEncoder):
    """The part of a tokenizer that knows chats.

    Attributes:
        chat_template: a template of jinja, or several by name; None for none.
    """

    chat_template: ChatTemplate | None

    def apply_chat_template(
        self,
        conversation: Sequence[Message] | Sequence[Sequence[Message]],
        tools: Sequence[Any] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: Any = None,
        return_dict: bool = False,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Make the text of a chat, by the model's template, and encode it; needs jinja2.

        Args:
            conversation: messages {"role": ..., "content": ...}, or a list of such chats.
            tools: JSON schemas of functions, for templates that know tools.
            documents: objects with title and text, for templates that know documents.
            chat_template: a template, or the name of one of several; None takes the tokenizer's.
            add_generation_prompt: whether the header of the assistant's answer comes last.
            continue_final_message: whether the text ends where the last message ends.
            tokenize: whether to return token ids; else texts.
            padding: as in a call.
            truncation: as in a call.
            max_length: as in a call.
            return_tensors: as in a call.
            return_dict: whether to return all that a call returns.
            return_assistant_tokens_mask: whether assistant_masks is returned too: 1 for tokens
                within the template's tag `generation`.
            tokenizer_kwargs: further arguments of the call.
            kwargs: further values for the template.

        Returns:
            The ids of the chat, its text, or a BatchEncoding; a list of them for several chats.

        Raises:
            InputError: there is no template, or it refuses the chat; arguments that exclude each
                other.
            MissingDependencyError: jinja2 is not installed.
        """
        if return_dict and not tokenize:
            raise InputError("return_dict returns tokens, and tokenize is False; pass one of them")
        if return_assistant_tokens_mask and not return_dict:
            raise InputError("return_assistant_tokens_mask needs return_dict=True")
        if continue_final_message and (add_generation_prompt or return_assistant_tokens_mask):
            raise InputError(
                "continue_final_message excludes add_generation_prompt, which starts a new message,"
                " and return_assistant_tokens_mask; pass one of them"
            )
        renderer = ChatRenderer(
            self.get_chat_template(chat_template, tools),
            add_generation_prompt,
            continue_final_message,
            {
                **self.special_tokens_map,
                "tools": checked_tools(tools),
                "documents": documents,
                **kwargs,
            },
        )
        is_batch = _has_several(conversation)
        chats = conversation if is_batch else [conversation]
        rendered = [renderer.render(checked_messages(chat)) for chat in chats]
        texts = [text for text, _ in rendered]
        if not tokenize:
            return texts if is_batch else texts[0]
        encoded = self(
            texts if is_batch else texts[0],
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            add_special_tokens=False,
            return_tensors=return_tensors,
            **(tokenizer_kwargs or {}),
        )
        if not return_dict:
            return encoded["input_ids"]
        if return_assistant_tokens_mask:
            masks = [_mask(encoded, row, spans) for row, (_, spans) in enumerate(rendered)]
            is_one = not is_batch and return_tensors is None
            columns = {"assistant_masks": masks[0] if is_one else masks}
            encoded.update(columns if is_one else as_tensors(columns, return_tensors))
        return encoded

    def get_chat_template(
        self, chat_template: str | None = None, tools: Sequence[Any] | None = None
    ) -> str:
        """Return the template that a call of apply_chat_template() with these arguments takes.

        Raises:
            InputError: the tokenizer has no such template.
        """
        own = self.chat_template
        if not isinstance(own, dict):
            template = own if chat_template is None else chat_template
            if template is None:
                raise InputError(
                    "the tokenizer has no chat template (chat_template.jinja, or chat_template in "
                    "tokenizer_config.json); pass texts, or chat_template="
                )
            return template
        if chat_template is not None:
            return own.get(chat_template, chat_template)
        for name in (*([_TOOLS_TEMPLATE] if tools is not None else ()), DEFAULT_TEMPLATE):
            if name in own:
                return own[name]
        raise InputError(
            f"the tokenizer has several chat templates, and none is {DEFAULT_TEMPLATE}; pass "
            f"chat_template= one of {', '.join(sorted(own))}"
        )


def _has_several(conversation: Any) -> bool:
    if not isinstance(conversation, list | tuple) or not conversation:
        return False
    return isinstance(conversation[0], list | tuple) or hasattr(conversation[0], "messages")


def _mask(encoded: BatchEncoding, row: int, spans: Spans) -> list[int]:
    """Return 1 for the tokens of a row that are within the spans of characters, else 0."""
    mask = [0] * len(encoded[row].ids)
    for start, end in spans:
        first, last = (encoded.char_to_token(row, place) for place in (start, end - 1))
        if first is None:  # cut off
            break
        for token in range(first, last + 1 if last else len(mask)):
            mask[token] = 1
    return mask
