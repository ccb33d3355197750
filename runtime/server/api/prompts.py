"""From the prompts of a request to token ids that fit the model's context."""

from collections.abc import Sequence
from dataclasses import dataclass

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.completions import Prompt
from gptneo_onnx.runtime.server.schemas.sampling import SamplingFields
from gptneo_onnx.runtime.server.served_model import ServedModel

# What a prompt that is cut to what fits leaves for new tokens, where nobody says how many follow.
_ROOM = 16


@dataclass(frozen=True)
class PromptTokens:
    """A prompt.

    Attributes:
        text: as it was given, or decoded.
        ids: its tokens, at least one.
    """

    text: str
    ids: Sequence[int]


def prompts_of(
    prompt: Prompt | None, fields: SamplingFields, model: ServedModel
) -> list[PromptTokens]:
    """Return the prompts of a request, cut if it asks for that.

    Raises:
        InputError: a text cannot be encoded.
        ParameterError: a token id is out of range, or an empty text has no first token.
    """
    return [_cut(_prompt(each, fields, model), fields, model) for each in each_of(prompt or "")]


def each_of(prompts: Prompt) -> Sequence[str | Sequence[int]]:
    """Return prompts as a list, whether they are one or several, of text or of token ids."""
    if isinstance(prompts, str) or isinstance(prompts[0], int):
        return [prompts]
    return prompts


def checked_ids(name: str, ids: Sequence[int], model: ServedModel) -> Sequence[int]:
    """Return token ids; raise ParameterError for those that the model lacks."""
    vocab_size = model.model.config.vocab_size
    for token in ids:
        if not 0 <= token < vocab_size:
            raise ParameterError(
                f"{name} has the token id {token}; 0 to {vocab_size - 1} are allowed", name
            )
    return ids


def _prompt(given: str | Sequence[int], fields: SamplingFields, model: ServedModel) -> PromptTokens:
    if not isinstance(given, str):
        return PromptTokens(model.tokenizer.decode([*given]), checked_ids("prompt", given, model))
    return _of_text(given, fields.add_special_tokens is not False, model)


def prompt_of_text(
    text: str, fields: SamplingFields, model: ServedModel, *, adds_special_tokens: bool
) -> PromptTokens:
    """Return a text as a prompt, cut if the request asks for that.

    Args:
        text: to be continued.
        fields: the request's.
        model: whose tokenizer encodes it.
        adds_special_tokens: what counts where the request does not say.

    Raises:
        InputError, ParameterError: as prompts_of().
    """
    asked = fields.add_special_tokens
    adds = adds_special_tokens if asked is None else asked
    return _cut(_of_text(text, adds, model), fields, model)


def _of_text(text: str, adds_special_tokens: bool, model: ServedModel) -> PromptTokens:
    ids = model.tokenizer.encode(text, adds_special_tokens)
    return PromptTokens(text, checked_ids("prompt", ids, model) or [first_token(model)])


def first_token(model: ServedModel) -> int:
    """Return the token that a text without any begins after, as OpenAI's models do.

    Raises:
        ParameterError: the model names none.
    """
    config = model.generation_config
    for token in (config.bos_token_id, *model.end_tokens):
        if token is not None:
            return int(token)
    raise ParameterError(
        "the prompt is empty, and the model has no token that begins a text; give a prompt",
        "prompt",
    )


def _cut(prompt: PromptTokens, fields: SamplingFields, model: ServedModel) -> PromptTokens:
    kept = fields.truncate_prompt_tokens
    if kept is None:
        return prompt
    if kept == 0:
        raise ParameterError(
            "truncate_prompt_tokens is 0; at least 1 is allowed, or -1 for as many as fit",
            "truncate_prompt_tokens",
        )
    wanted = fields.max_tokens
    room = max(1, model.context + 1 - max(1, _ROOM if wanted is None else wanted))
    kept = min(kept, room) if kept > 0 else room
    if len(prompt.ids) <= kept:
        return prompt
    ids = prompt.ids[-kept:]
    return PromptTokens(model.tokenizer.decode([*ids]), ids)


def new_tokens(
    name: str, wanted: int | None, default: int | None, prompt: PromptTokens, context: int
) -> int:
    """Return how many tokens to generate at most.

    Args:
        name: the field's.
        wanted: its value; None if it is missing.
        default: what counts then, as far as it fits; None for all that fits.
        prompt: what the tokens follow.
        context: the model's, in tokens.

    Raises:
        InputError: the prompt does not fit, or leaves too little room.
    """
    length = len(prompt.ids)
    room = context + 1 - length  # the last token is not read
    if length > context:
        raise InputError(
            f"the prompt has {length} tokens, more than the model's context of {context}; shorten "
            "it, or give truncate_prompt_tokens: -1"
        )
    if wanted is None:
        return room if default is None else min(default, room)
    if wanted > room:
        raise ParameterError(
            f"{name} is {wanted} and the prompt has {length} tokens, more than the model's context "
            f"of {context}; at most {room} can be generated",
            name,
        )
    return wanted
