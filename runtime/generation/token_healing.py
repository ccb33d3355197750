"""Token healing: a prompt that was cut within a word goes on as if it had not been.

"univer" is encoded as "un" + "i" + "ver", and no text that the model has read goes on from there to
"university". So the last token is taken back, and the model chooses again among those that begin
with it (transformers.GenerationMixin.heal_tokens; the idea is Lundberg's, in guidance).
"""

from collections.abc import Callable, Sequence

from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.tokenizer import Tokenizer

# transformers' numbers: extensions win over anything else, the token itself over a close extension.
_EXTENSION_BIAS = 10.0
_TAIL_BIAS = 1.0

SequenceBias = dict[tuple[int, ...], float]
ContinueOne = Callable[[list[int], SequenceBias], int]


def heal_prompts(
    engine: Engine, prompts: Sequence[Sequence[int]], tokenizer: Tokenizer
) -> list[list[int]]:
    """Each prompt's ids, without padding, with the last one chosen anew by the model."""

    def continue_one(ids: list[int], bias: SequenceBias) -> int:
        [checked] = PaddedInputs.check([ids], None, engine.config).input_ids
        with engine.exclusive():
            decoder = engine.decoder(slots=1)
            decoder.cache.clear(0)
            scores = decoder.prefill(0, checked)  # [vocab]
        for (token,), value in bias.items():
            scores[token] += value
        return int(scores.argmax())

    return [heal_prompt(ids, tokenizer, continue_one) for ids in prompts]


def text_ids(ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """What of a prompt is healed: as in transformers, its text, stripped and encoded anew."""
    return tokenizer.encode(tokenizer.decode(ids, skip_special_tokens=True).strip())


def heal_prompt(ids: Sequence[int], tokenizer: Tokenizer, continue_one: ContinueOne) -> list[int]:
    """The prompt with its last token replaced by its likeliest extension.

    Special tokens and white space at both ends are dropped. A prompt of a single token stays as it
    is, as in transformers (unless it is padded in a batch, there). Where transformers does not do
    what it means to, this does:

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
    """
    read = text_ids(ids, tokenizer)
    if len(read) < 2:
        return read
    *trimmed, tail = read
    extensions = _extensions(tail, tokenizer)
    if len(extensions) == 1:
        return read
    bias: SequenceBias = {(token,): _EXTENSION_BIAS for token in extensions}
    bias[(tail,)] += _TAIL_BIAS
    chosen = continue_one(trimmed, bias)
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
