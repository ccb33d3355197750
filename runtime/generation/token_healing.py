"""Token healing: a prompt that was cut within a word goes on as if it had not been.

"univer" is encoded as "un" + "i" + "ver", and no text that the model has read goes on from there to
"university". So the last token is taken back, and the model chooses again among those that begin
with it (transformers.GenerationMixin.heal_tokens; the idea is Lundberg's, in guidance).
"""

from collections.abc import Callable, Sequence

from gptneo_onnx.runtime.tokenizer import Tokenizer

# transformers' numbers: extensions win over anything else, the token itself over a close extension.
_EXTENSION_BIAS = 10.0
_TAIL_BIAS = 1.0

SequenceBias = dict[tuple[int, ...], float]
ContinueOne = Callable[[list[int], SequenceBias], int]


def heal_prompt(
    ids: Sequence[int],
    tokenizer: Tokenizer,
    continue_one: ContinueOne,
    bos_token_id: int | None = None,
) -> list[int]:
    """The prompt with its last token replaced by its likeliest extension.

    As in transformers, special tokens are dropped, white space at both ends is stripped and the
    text is encoded anew. Where transformers does not do what it means to, this does:

    - it looks for extensions of a token with a space in front under a misspelt name (a tokenizer of
      GPT-2's kind has no token " " to ask for the letter of), finds none and leaves such prompts
      alone. Here bytes are compared, so tokens that begin within a character are extended too.
    - a special token extends no text ("<|endoftext|>" is no longer "<").
    - should something other than an extension win in spite of the bias, it would replace text of
      the prompt. Here the prompt's own token stays.

    Args:
        ids: the prompt, without padding.
        tokenizer: of the model.
        continue_one: given the ids without the last one, and a bias for the scores of tokens
            ({(id,): bias}), returns the id of the likeliest next token. Not called if there is
            nothing to choose from.
        bos_token_id: what a prompt of a single token is continued from; it is not in the result.
            Without one such a prompt stays as it is: so does transformers leave it, unless it is
            padded in a batch.
    """
    healed = tokenizer.encode(tokenizer.decode(ids, skip_special_tokens=True).strip())
    if not healed:
        return healed
    *trimmed, tail = healed
    context = trimmed or ([] if bos_token_id is None else [bos_token_id])
    extensions = _extensions(tail, tokenizer)
    if not context or len(extensions) == 1:
        return healed
    bias: SequenceBias = {(token,): _EXTENSION_BIAS for token in extensions}
    bias[(tail,)] += _TAIL_BIAS
    chosen = continue_one(context, bias)
    return [*trimmed, chosen if (chosen,) in bias else tail]


def _extensions(tail: int, tokenizer: Tokenizer) -> list[int]:
    """Tokens whose bytes begin with the tail's; it is one of them."""
    beginning = tokenizer.token_bytes(tail)
    return [
        token
        for token, text in tokenizer.vocabulary_bytes.items()
        if token == tail
        or (text.startswith(beginning) and token not in tokenizer.special_token_ids)
    ]
