"""StructuredOutput: keeps text within a regular expression, JSON schema or grammar."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Scores
from gptneo_onnx.runtime.generation.processors.grammar import (
    Grammar,
    Matcher,
    check_health,
    import_llguidance,
    ll_tokenizer,
    schema_text,
)
from gptneo_onnx.runtime.tokenizer import Tokenizer

_BYTES_PER_ID = 8


class StructuredOptions(TypedDict, total=False):
    """The options that every constructor of StructuredOutput takes besides the grammar."""

    eos_token_id: int | Sequence[int] | None
    prompt_length: int | None


class StructuredOutput:
    """A logits processor that keeps generated text within a grammar.

    Once the text is complete, only the end token is left, even if another processor (for a minimum
    length, say) ruled it out: more text would no longer match. Where the text may end or go on,
    the end token is one choice among others. A text that left the grammar nevertheless, because
    another processor forced a token or a beam had no other choice, is ended. A text that
    max_new_tokens cuts short is incomplete.

    Call it once a step, with all rows. Rows may change places or be replaced between calls, as
    beams are. The text begins after the prompt, whose length the first call shows. A new
    generate() is recognized by its prompts. Where its prompt is the whole result of the last call,
    it would be mistaken for that call's next step: call reset() between the two.

    Attributes:
        eos_token_ids: the end tokens.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        grammar: Grammar,
        *,
        eos_token_id: int | Sequence[int] | None = None,
        prompt_length: int | None = None,
    ) -> None:
        """Prepare a grammar; from_regex(), from_json_schema() and from_grammar() call this.

        Args:
            tokenizer: the model's tokenizer.
            grammar: the grammar that the text has to match.
            eos_token_id: the end token or tokens; None takes the tokenizer's.
            prompt_length: columns of input_ids before the text, padding included; None takes the
                first call's length. With 0 the prompt is the beginning of the text.

        Raises:
            InputError: a grammar, end token or length that cannot be used.
            MissingDependencyError: llguidance is not installed.
        """
        if prompt_length is not None and (type(prompt_length) is not int or prompt_length < 0):
            raise InputError(
                f"prompt_length is {shown(prompt_length)}; a whole number of at least 0 is "
                "allowed, or None, which takes the first call's length"
            )
        self._prompt_length = prompt_length
        self._llguidance = import_llguidance()
        self.eos_token_ids = _checked_end_tokens(tokenizer, eos_token_id)
        vocabulary = ll_tokenizer(tokenizer, self.eos_token_ids)
        self._vocab_size = int(vocabulary.vocab_size)
        self._end_mask = _bitmask(self.eos_token_ids, self._vocab_size)
        self._beginning = grammar.matcher(vocabulary)
        self.reset()

    @classmethod
    def from_regex(
        cls, tokenizer: Tokenizer, pattern: str, **options: Unpack[StructuredOptions]
    ) -> "StructuredOutput":
        """Let the whole text match a regular expression, in the syntax of Rust's regex.

        Look-around and back-references are refused. For errors see the constructor.
        """
        return cls(tokenizer, Grammar("regular expression", pattern, "regex"), **options)

    @classmethod
    def from_json_schema(
        cls,
        tokenizer: Tokenizer,
        schema: str | dict[str, Any] | bool,
        whitespace: bool = True,
        **options: Unpack[StructuredOptions],
    ) -> "StructuredOutput":
        """Let the text be JSON of a schema; keywords that cannot be enforced are refused.

        Args:
            tokenizer: the model's tokenizer.
            schema: a JSON Schema, or its text; {} or True allows any JSON.
            whitespace: whether white space is allowed between the parts; a small model may go on
                writing it without end. Without it the JSON is compact.
            options: the constructor's.

        Raises:
            InputError, MissingDependencyError: as from the constructor.
        """
        text = schema_text(schema, whitespace)
        return cls(tokenizer, Grammar("JSON schema", text, "json_schema"), **options)

    @classmethod
    def from_grammar(
        cls, tokenizer: Tokenizer, grammar: str, **options: Unpack[StructuredOptions]
    ) -> "StructuredOutput":
        """Let the text be a sentence of a context-free grammar, whose first rule is `start`.

        The syntax is llguidance's variant of Lark's: see docs/syntax.md in its repository. For
        errors see the constructor.
        """
        return cls(tokenizer, Grammar("grammar", grammar, "lark"), **options)

    def reset(self) -> None:
        """Forget the last generate(): the next call's input_ids are prompts."""
        self._start = 0
        self._length = -1
        self._prompts: set[bytes] = set()
        self._matchers: dict[bytes, Matcher | None] = {}

    def is_complete(self, generated: Sequence[int]) -> bool:
        """Return whether the tokens after a prompt are a whole text of the grammar.

        An end token may follow the text. A text that max_new_tokens or a stop string cut short is
        whole only if the grammar lets it end there.
        """
        ids = [*generated]
        if ids and ids[-1] in self.eos_token_ids:
            ids.pop()
        matcher = self._beginning.deep_copy()
        return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores:
        """Return the scores [batch, vocab] with -inf for tokens that cannot come next.

        Raises:
            InputError: the grammar is too complex to follow, no token can come next, or there are
                fewer tokens than prompt_length.
        """
        ids = np.ascontiguousarray(input_ids, np.int64)
        generated = ids[:, self._text_start(ids) :]
        # Only this call's rows: those of the next call continue them, or are read from the start.
        self._matchers = {row.tobytes(): self._advanced(row) for row in generated}
        matchers = [self._matchers[row.tobytes()] for row in generated]
        constrained = scores.copy()
        self._llguidance.numpy.apply_token_bitmask_inplace(constrained, self._masks(matchers))
        for row in np.flatnonzero(np.isneginf(constrained).all(-1)):
            constrained[row, self._forced_ends(matchers[row], scores.shape[1])] = 0
        return constrained

    def _forced_ends(self, matcher: Matcher | None, vocab_size: int) -> list[int]:
        """Return the model's end tokens, for a text that no other token can follow."""
        if matcher is not None and not matcher.is_accepting():
            raise InputError(
                "no token that the grammar allows next is left: another logits processor rules "
                "them out, or the model does not know them; relax the processor or the grammar"
            )
        ends = [token for token in self.eos_token_ids if token < vocab_size]
        if not ends:
            raise InputError(
                f"eos_token_id is {shown(self.eos_token_ids)}, and the model's ids end at "
                f"{vocab_size - 1}; pass the id of the model's end token"
            )
        return ends

    def _text_start(self, ids: Ids) -> int:
        """Return the first column after the prompts."""
        length = ids.shape[1]
        if self._prompt_length is not None:
            if length < self._prompt_length:
                raise InputError(
                    f"prompt_length is {self._prompt_length}, and there are {length} tokens; give "
                    "the prompt's true length, or None"
                )
            return self._prompt_length
        is_next_step = self._start <= length <= self._length + 1
        if not is_next_step or not self._prompts.issuperset(_keys(ids[:, : self._start])):
            self._start = length
            self._prompts = set(_keys(ids))
        self._length = length
        return self._start

    def _advanced(self, generated: Ids) -> "Matcher | None":
        """Return the matcher after these tokens [length]; None if only the end token can follow."""
        key = generated.tobytes()
        if key in self._matchers:
            return self._matchers[key]
        if len(generated) and key[:-_BYTES_PER_ID] in self._matchers:
            matcher, tokens = self._matchers[key[:-_BYTES_PER_ID]], generated[-1:].tolist()
        else:
            matcher, tokens = self._beginning, generated.tolist()
        is_ended = any(t in self.eos_token_ids or not 0 <= t < self._vocab_size for t in tokens)
        if matcher is None or is_ended:
            return None
        matcher = matcher.deep_copy()  # other beams may continue the same text
        if matcher.try_consume_tokens(tokens) == len(tokens):
            return matcher
        check_health(matcher)
        return None

    def _masks(self, matchers: "list[Matcher | None]") -> NDArray[np.int32]:
        """Return a bit for each token that may come next: [batch, vocab / 32]."""
        numpy_bridge = self._llguidance.numpy
        masks: NDArray[np.int32] = numpy_bridge.allocate_token_bitmask(
            len(matchers), self._vocab_size
        )
        for row, matcher in enumerate(matchers):
            if matcher is None:
                masks[row] = self._end_mask
            else:
                numpy_bridge.fill_next_token_bitmask(matcher, masks, row)
                check_health(matcher)
        return masks


def _checked_end_tokens(
    tokenizer: Tokenizer, eos_token_id: int | Sequence[int] | None
) -> tuple[int, ...]:
    eos_token_id = tokenizer.eos_token_id if eos_token_id is None else eos_token_id
    if eos_token_id is None:
        raise InputError(
            "eos_token_id is None and the tokenizer has no end token, so a complete text could not "
            "be ended; pass the id of the model's end token"
        )
    ids = tuple(eos_token_id) if isinstance(eos_token_id, list | tuple) else (eos_token_id,)
    vocabulary = tokenizer.vocabulary_bytes
    if not ids or not all(type(i) is int and i in vocabulary for i in ids):
        raise InputError(
            f"eos_token_id is {shown(eos_token_id)}; ids of the tokenizer's tokens are allowed, "
            f"one or a list, from 0 to {max(vocabulary)}"
        )
    return ids


def _keys(rows: Ids) -> list[bytes]:
    return [row.tobytes() for row in rows]


def _bitmask(ids: Sequence[int], vocab_size: int) -> NDArray[np.int32]:
    """Return llguidance's bitmask of some tokens: token i is bit i % 32 of word i // 32."""
    bits = np.zeros(-(-vocab_size // 32) * 32, np.bool_)
    bits[list(ids)] = True
    return np.packbits(bits, bitorder="little").view(np.int32)
