"""Text in a given form: a regular expression, a JSON schema or a grammar, through llguidance."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.generation.processors.base import Ids, Scores
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
    """What every constructor of StructuredOutput takes besides the grammar."""

    eos_token_id: int | Sequence[int] | None
    prompt_length: int | None


class StructuredOutput:
    """A logits processor that keeps what is generated within a grammar.

    Once the text is complete only the end token is left, also where another processor (of a least
    length, say) ruled that out: text behind the end would spoil the whole. Where the text may end
    or go on, the end token is one choice among others. A text that left the grammar all the same,
    because another processor enforced a token, or as a beam with no other way, is ended. A text
    that max_new_tokens cuts short is incomplete.

    To be called once a step, with all rows. Rows may change places or be replaced between calls,
    as beams are. The text begins behind the prompt, and the first call shows how long that is. The
    next generate() is noticed by its prompts; where one can be mistaken for the last call's next
    step, being that call's whole result, call reset() between the two.

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
        """from_regex(), from_json_schema() and from_grammar() call this.

        Args:
            tokenizer: of the model.
            grammar: what the text has to match.
            eos_token_id: the end token or tokens; None takes the tokenizer's.
            prompt_length: columns of input_ids before the text, padding included, where the first
                call's length is not that number. With 0 the prompt is the text's beginning.

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
        """The whole text matches a regular expression, in the syntax of Rust's regex.

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
        """The text is JSON of a schema; keywords that cannot be enforced are refused.

        Args:
            tokenizer: of the model.
            schema: a JSON Schema, or its text; {} or True is any JSON.
            whitespace: allow white space between the parts, of which a small model may write no
                end. Without it the JSON is compact.
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
        """The text is a sentence of a context-free grammar, whose first rule is `start`.

        In llguidance's variant of Lark's syntax, see docs/syntax.md there. For errors see the
        constructor.
        """
        return cls(tokenizer, Grammar("grammar", grammar, "lark"), **options)

    def reset(self) -> None:
        """Forget the last generate(): the next call's input_ids are prompts."""
        self._start = 0
        self._length = -1
        self._prompts: set[bytes] = set()
        self._matchers: dict[bytes, Matcher | None] = {}

    def __call__(self, input_ids: Ids, scores: Scores, /) -> Scores:
        """Scores [batch, vocab] in which tokens that cannot come next are -inf.

        Raises:
            InputError: a grammar too complex to follow, nothing that can come next, or fewer
                tokens than prompt_length.
        """
        ids = np.ascontiguousarray(input_ids, np.int64)
        generated = ids[:, self._text_start(ids) :]
        # Only this call's rows: the next call's are behind them, or are read from their beginning.
        self._matchers = {row.tobytes(): self._advanced(row) for row in generated}
        matchers = [self._matchers[row.tobytes()] for row in generated]
        constrained = scores.copy()
        self._llguidance.numpy.apply_token_bitmask_inplace(constrained, self._masks(matchers))
        for row in np.flatnonzero(np.isneginf(constrained).all(-1)):
            constrained[row, self._ends(matchers[row], scores.shape[1])] = 0
        return constrained

    def _ends(self, matcher: Matcher | None, vocab_size: int) -> list[int]:
        """The end tokens, for a text that no token can follow."""
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
        """The first column behind the prompts."""
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
        """The matcher behind these tokens [length]; None if only the end token can follow."""
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
        matcher = matcher.deep_copy()  # other beams may go on from the same text
        if matcher.try_consume_tokens(tokens) == len(tokens):
            return matcher
        check_health(matcher)
        return None

    def _masks(self, matchers: "list[Matcher | None]") -> NDArray[np.int32]:
        """A bit for each token that may come next: [batch, vocab / 32]."""
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
    given = tokenizer.eos_token_id if eos_token_id is None else eos_token_id
    if given is None:
        raise InputError(
            "eos_token_id is None and the tokenizer has no end token, so a complete text could not "
            "be ended; pass the id of the model's end token"
        )
    ids = tuple(given) if isinstance(given, list | tuple) else (given,)
    vocabulary = tokenizer.vocabulary_bytes
    if not ids or not all(type(i) is int and i in vocabulary for i in ids):
        raise InputError(
            f"eos_token_id is {shown(given)}; ids of the tokenizer's tokens are allowed, one or a "
            f"list, from 0 to {max(vocabulary)}"
        )
    return ids


def _keys(rows: Ids) -> list[bytes]:
    return [row.tobytes() for row in rows]


def _bitmask(ids: Sequence[int], vocab_size: int) -> NDArray[np.int32]:
    """As llguidance writes them: token i is bit i % 32 of word i // 32."""
    bits = np.zeros(-(-vocab_size // 32) * 32, np.bool_)
    bits[list(ids)] = True
    return np.packbits(bits, bitorder="little").view(np.int32)
