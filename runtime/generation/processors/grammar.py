"""Compile regular expressions, JSON schemas and grammars with llguidance, into matchers of texts.

llguidance (https://github.com/guidance-ai/llguidance) is an optional package, imported when it is
needed: pip install 'gptneo-onnx[structured]'.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.runtime.tokenizer import Tokenizer

_MAX_REASON_LENGTH = 300
_MAX_MULTIPLE = 100_000


@dataclass(frozen=True)
class Grammar:
    """A grammar that a text has to match.

    Attributes:
        kind: its kind, in the words of an error message.
        source: the grammar's text, as the caller wrote it.
        syntax: llguidance's name for the kind: LLMatcher.grammar_from_{syntax}.
    """

    kind: str
    source: str
    syntax: str

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise InputError(f"the {self.kind} is {shown(self.source)}; a text is allowed")

    def matcher(self, vocabulary: Any) -> "Matcher":
        """Return a matcher at the beginning of a text.

        Args:
            vocabulary: from ll_tokenizer().

        Raises:
            InputError: the grammar is wrong, or no text matches it.
        """
        llguidance = import_llguidance()
        # Verbose errors contain the whole grammar and the text so far.
        limits = llguidance.LLParserLimits(verbose_errors=False)
        try:
            compiled = getattr(llguidance.LLMatcher, f"grammar_from_{self.syntax}")(self.source)
            is_wrong, messages = llguidance.LLMatcher.validate_grammar_with_warnings(
                compiled, vocabulary, limits=limits
            )
        except ValueError as error:  # lone surrogates
            is_wrong, messages = True, [str(error)]
        except BaseException as error:
            # A panic of Rust's is no Exception, and its class cannot be imported.
            if type(error).__name__ != "PanicException":
                raise
            is_wrong, messages = True, [f"llguidance fails at it: {error}"]
        if is_wrong:
            raise InputError(
                f"the {self.kind} {shown(self.source)} cannot be used: {_reason(messages[0])}"
            )
        matcher: Matcher = llguidance.LLMatcher(vocabulary, compiled, log_level=0, limits=limits)
        check_health(matcher)
        return matcher


class Matcher(Protocol):
    """The part of llguidance.LLMatcher that is used: the state of a grammar after some tokens."""

    def deep_copy(self) -> "Matcher": ...
    def try_consume_tokens(self, tokens: list[int]) -> int: ...
    def is_accepting(self) -> bool: ...
    def is_error(self) -> bool: ...
    def get_error(self) -> str: ...


def import_llguidance() -> Any:
    """Return the package llguidance, with its numpy module imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import llguidance
        import llguidance.numpy
    except ImportError as error:
        raise MissingDependencyError(
            "structured output needs llguidance, which is not installed: "
            "pip install 'gptneo-onnx[structured]'"
        ) from error
    return llguidance


# Kept for later calls: making one takes a fifth of a second for GPT-2's vocabulary, and a server
# would do it for each request.
_LL_TOKENIZERS: WeakKeyDictionary[Tokenizer, dict[tuple[int, ...], Any]] = WeakKeyDictionary()


def ll_tokenizer(tokenizer: Tokenizer, eos_token_ids: tuple[int, ...]) -> Any:
    """Return the llguidance.LLTokenizer of a tokenizer with these end tokens.

    Raises:
        InputError: a kind of tokenizer that llguidance cannot read.
    """
    by_end_tokens = _LL_TOKENIZERS.setdefault(tokenizer, {})
    if eos_token_ids not in by_end_tokens:
        llguidance, text = import_llguidance(), tokenizer.backend.to_str()
        try:
            by_end_tokens[eos_token_ids] = llguidance.LLTokenizer(
                text, eos_token=list(eos_token_ids)
            )
        except ValueError as error:
            raise InputError(
                f"the tokenizer cannot be used for structured output: {_reason(str(error))}; take "
                "one of GPT-2's kind"
            ) from error
    return by_end_tokens[eos_token_ids]


def check_health(matcher: Matcher) -> None:
    """Raise InputError if the matcher gave up: it would then allow the end token after any text."""
    if matcher.is_error():
        raise InputError(
            f"the text's grammar cannot be followed: {_reason(matcher.get_error())}; simplify it"
        )


def _reason(message: str) -> str:
    """Return the line that says what is wrong: the one marked "error:", otherwise the first."""
    marked = re.search(r"^error: (.+)$", message, re.MULTILINE)
    line = marked[1] if marked else message.strip().split("\n")[0]
    return "".join(c if c.isprintable() else "?" for c in line)[:_MAX_REASON_LENGTH]


def _check_multiples(schema: Any) -> None:
    """Refuse a multipleOf that llguidance cannot finish with.

    It counts remainders: there are as many as the digits of the least common multiple say.
    """
    waiting, together = [schema], 1
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        if not isinstance(value, dict):
            continue
        waiting += value.values()
        step = value.get("multipleOf")
        if isinstance(step, int | float) and not isinstance(step, bool):
            digits = str(step).partition("e")[0].replace(".", "").strip("-0")
            together = math.lcm(together, int(digits or 1))
    if together > _MAX_MULTIPLE:
        raise InputError(
            f"the JSON schema's multipleOf, all taken together, have the common multiple "
            f"{shown(together)}, and at most {_MAX_MULTIPLE} is allowed, apart from zeros at the "
            "end; allow any number, or fewer digits"
        )


def schema_text(schema: str | dict[str, Any] | bool, whitespace: bool) -> str:
    """Return the schema as JSON text; without `whitespace` it asks llguidance for compact JSON.

    A text is parsed here too, so that an error gives the position in the caller's text.

    Raises:
        InputError: it is not JSON.
    """
    try:
        content = json.loads(schema) if isinstance(schema, str) else schema
        if isinstance(content, dict) and not whitespace:
            options = content.get("x-guidance", {})
            content = {**content, "x-guidance": {**options, "whitespace_flexible": False}}
        text = json.dumps(content, allow_nan=False)
    except RecursionError as error:
        raise InputError("the JSON schema is nested too deeply; make it flatter") from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the JSON schema {shown(schema)} is not JSON: {_reason(str(error))}; an object, its "
            "text or a boolean is allowed"
        ) from error
    _check_multiples(content)
    return text
