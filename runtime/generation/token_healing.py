"""Token healing: continue a prompt that was cut within a word.

"univer" is encoded as "un" + "i" + "ver", which no text that the model has read continues to
"university". So the last token is taken back, and the model chooses again among the tokens that
begin with it (transformers.GenerationMixin.heal_tokens; the idea is Lundberg's, in guidance).
"""

from collections.abc import Callable, Sequence

from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.tokenizer import Tokenizer

# As in transformers: extensions win over anything else, the token itself over close extensions.
_EXTENSION_BIAS = 10.0
_TAIL_BIAS = 1.0

SequenceBias = dict[tuple[int, ...], float]
ContinueOne = Callable[[list[int], SequenceBias], int]


def heal_prompts(
    engine: Engine, prompts: Sequence[Sequence[int]], tokenizer: Tokenizer
) -> list[list[int]]:
    """Return each prompt's ids, without padding, the last one chosen again by the model."""

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
    """Return the part of a prompt that is healed: its text, stripped and encoded again."""
    return tokenizer.encode(tokenizer.decode(ids, skip_special_tokens=True).strip())


def heal_prompt(ids: Sequence[int], tokenizer: Tokenizer, continue_one: ContinueOne) -> list[int]:
    """Replace a prompt's last token by its likeliest extension.

    Special tokens and white space at both ends are dropped. A prompt of a single token stays as it
    is, as in transformers (there only if it is not padded). Three cases differ from transformers,
    which misses its own intention there:

    - It looks for extensions of a token with a leading space under a wrong name, since GPT-2's
      vocabulary has no token " ", and leaves such prompts alone. Here bytes are compared, so
      tokens that begin within a character are extended too.
    - A special token extends no text: "<|endoftext|>" is no extension of "<".
    - If something other than an extension wins in spite of the bias, it replaces text of the
      prompt. Here the prompt's token stays.

    Args:
        ids: the prompt, without padding.
        tokenizer: the model's tokenizer.
        continue_one: takes the ids without the last one and a bias for the scores of tokens
            ({(id,): bias}), and returns the likeliest next token. It is not called if there is
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
    """Return the tokens whose bytes begin with the tail's, the tail included."""
    beginning = tokenizer.token_bytes(tail)
    return [
        token
        for token, text in tokenizer.vocabulary_bytes.items()
        if token == tail
        or (text.startswith(beginning) and token not in tokenizer.special_token_ids)
    ]
