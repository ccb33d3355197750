"""Log probabilities of tokens in the forms of OpenAI's API."""

from collections.abc import Iterable, Sequence

from gptneo_onnx.runtime.scheduling import TokenScore
from gptneo_onnx.runtime.server.api.choice_text import PlacedToken
from gptneo_onnx.runtime.server.api.incremental_text import incremental_text
from gptneo_onnx.runtime.server.schemas.chats import ChatLogprob, ChatLogprobs, TopLogprob
from gptneo_onnx.runtime.server.schemas.completions import CompletionLogprobs, PromptLogprob
from gptneo_onnx.runtime.tokenizer import Tokenizer

# JSON has no infinity: the logarithm of a probability of 0, as vLLM shows it.
_LEAST = -9999.0


def token_text(tokenizer: Tokenizer, token: int) -> str:
    r"""Return a token's text; of one with a part of a character its bytes, as bytes:\xe2\x80."""
    raw = tokenizer.vocabulary_bytes.get(token, b"")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def finite(logprob: float) -> float:
    """Return a log probability that JSON can hold."""
    return max(logprob, _LEAST)


def completion_logprobs(
    tokenizer: Tokenizer, tokens: Iterable[PlacedToken], most: int, start: int = 0
) -> CompletionLogprobs:
    """Return log probabilities in the form of /v1/completions.

    Args:
        tokenizer: the model's.
        tokens: each with its score; without one its entries are null.
        most: how many others to name beside each.
        start: the character that the tokens' text begins at.
    """
    listed = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for placed in tokens:
        score = placed.score
        listed.tokens.append(token_text(tokenizer, placed.token))
        listed.token_logprobs.append(None if score is None else finite(score.logprob))
        listed.top_logprobs.append(None if score is None else _by_text(tokenizer, score, most))
        listed.text_offset.append(start + placed.offset)
    return listed


def joined(parts: Sequence[CompletionLogprobs]) -> CompletionLogprobs:
    """Return the log probabilities of several parts of a text as those of one."""
    return CompletionLogprobs(
        tokens=[each for part in parts for each in part.tokens],
        token_logprobs=[each for part in parts for each in part.token_logprobs],
        top_logprobs=[each for part in parts for each in part.top_logprobs],
        text_offset=[each for part in parts for each in part.text_offset],
    )


def chat_logprobs(tokenizer: Tokenizer, tokens: Iterable[PlacedToken], most: int) -> ChatLogprobs:
    """Return log probabilities in the form of /v1/chat/completions.

    Args:
        tokenizer: the model's.
        tokens: each with its score.
        most: how many of the likeliest to name beside each.
    """
    content = []
    for placed in tokens:
        score = placed.score
        assert score is not None
        top = [_top(tokenizer, *each) for each in score.top[:most]]
        own = _top(tokenizer, score.token, score.logprob)
        content.append(ChatLogprob(**own.model_dump(), top_logprobs=top))
    return ChatLogprobs(content=content, refusal=None)


def _top(tokenizer: Tokenizer, token: int, logprob: float) -> TopLogprob:
    raw = tokenizer.vocabulary_bytes.get(token, b"")
    return TopLogprob(token=token_text(tokenizer, token), logprob=finite(logprob), bytes=[*raw])


def placed_prompt(
    tokenizer: Tokenizer, ids: Sequence[int], scores: Sequence[TokenScore | None]
) -> list[PlacedToken]:
    """Return a prompt's tokens, each with the character of the prompt's text that it begins in."""
    text = incremental_text(tokenizer, skip_special_tokens=False)
    placed, offset = [], 0
    for token, score in zip(ids, scores, strict=True):
        placed.append(PlacedToken(token, score, offset))
        offset += len(text.add(token))
    return placed


def prompt_logprobs(
    tokenizer: Tokenizer, scores: Sequence[TokenScore | None], most: int
) -> list[dict[str, PromptLogprob] | None]:
    """Return a prompt's log probabilities in vLLM's form: by token id."""
    return [None if score is None else _by_id(tokenizer, score, most) for score in scores]


def _by_text(tokenizer: Tokenizer, score: TokenScore, most: int) -> dict[str, float]:
    """Return the likeliest tokens, and the token itself where it is not among them."""
    by_text: dict[str, float] = {}
    for token, logprob in (*score.top[:most], (score.token, score.logprob)):
        by_text.setdefault(token_text(tokenizer, token), finite(logprob))
    return by_text


def _by_id(tokenizer: Tokenizer, score: TokenScore, most: int) -> dict[str, PromptLogprob]:
    top = ((token, logprob, rank) for rank, (token, logprob) in enumerate(score.top[:most], 1))
    return {
        str(token): PromptLogprob(
            logprob=finite(logprob), rank=rank, decoded_token=token_text(tokenizer, token)
        )
        for token, logprob, rank in (*top, (score.token, score.logprob, score.rank))
    }
