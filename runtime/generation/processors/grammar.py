"""Grammars as llguidance reads them: from what people write to a matcher of texts.

llguidance (https://github.com/guidance-ai/llguidance) is an optional package, imported when it is
needed: pip install 'gptneo-onnx[structured]'.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from gptneo_onnx.models.errors import InputError, MissingDependencyError, shown
from gptneo_onnx.runtime.tokenizer import Tokenizer

_LONGEST_REASON = 300


@dataclass(frozen=True)
class Grammar:
    """What a text has to match.

    Attributes:
        kind: what people call it.
        source: as people write it.
        syntax: what llguidance calls it: LLMatcher.grammar_from_{syntax}.
    """

    kind: str
    source: str
    syntax: str

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise InputError(f"the {self.kind} is {shown(self.source)}; a text is allowed")

    def matcher(self, vocabulary: Any) -> "Matcher":
        """At the beginning of a text.

        Args:
            vocabulary: from ll_tokenizer().

        Raises:
            InputError: the grammar is wrong, or no text matches it.
        """
        llguidance = import_llguidance()
        # A verbose error holds the whole grammar and the text so far.
        limits = llguidance.LLParserLimits(verbose_errors=False)
        try:
            compiled = getattr(llguidance.LLMatcher, f"grammar_from_{self.syntax}")(self.source)
            is_wrong, messages = llguidance.LLMatcher.validate_grammar_with_warnings(
                compiled, vocabulary, limits=limits
            )
        except ValueError as error:  # lone surrogates
            is_wrong, messages = True, [str(error)]
        if is_wrong:
            raise InputError(
                f"the {self.kind} {shown(self.source)} cannot be used: {_reason(messages[0])}"
            )
        matcher: Matcher = llguidance.LLMatcher(vocabulary, compiled, log_level=0, limits=limits)
        check_health(matcher)
        return matcher


class Matcher(Protocol):
    """What is used of llguidance.LLMatcher: how far a text has come in its grammar."""

    def deep_copy(self) -> "Matcher": ...
    def try_consume_tokens(self, tokens: list[int]) -> int: ...
    def is_accepting(self) -> bool: ...
    def is_error(self) -> bool: ...
    def get_error(self) -> str: ...


def import_llguidance() -> Any:
    """The package, with its numpy module.

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


# Making one takes a fifth of a second for GPT-2's vocabulary; a server needs it for each request.
_LL_TOKENIZERS: WeakKeyDictionary[Tokenizer, dict[tuple[int, ...], Any]] = WeakKeyDictionary()


def ll_tokenizer(tokenizer: Tokenizer, eos_token_ids: tuple[int, ...]) -> Any:
    """llguidance.LLTokenizer of a tokenizer and its end tokens.

    Raises:
        InputError: a kind of tokenizer that llguidance cannot read.
    """
    made = _LL_TOKENIZERS.setdefault(tokenizer, {})
    if eos_token_ids not in made:
        llguidance, text = import_llguidance(), tokenizer.backend.to_str()
        try:
            made[eos_token_ids] = llguidance.LLTokenizer(text, eos_token=list(eos_token_ids))
        except ValueError as error:
            raise InputError(
                f"the tokenizer cannot be used for structured output: {_reason(str(error))}; take "
                "one of GPT-2's kind"
            ) from error
    return made[eos_token_ids]


def check_health(matcher: Matcher) -> None:
    """Raise InputError if the matcher gave up: then it allows the end token, whatever the text."""
    if matcher.is_error():
        raise InputError(
            f"the text's grammar cannot be followed: {_reason(matcher.get_error())}; simplify it"
        )


def _reason(message: str) -> str:
    """The line that says what is wrong: the first, unless (regular expressions) one is marked."""
    marked = re.search(r"^error: (.+)$", message, re.MULTILINE)
    line = marked[1] if marked else message.strip().split("\n")[0]
    return "".join(c if c.isprintable() else "?" for c in line)[:_LONGEST_REASON]


def schema_text(schema: str | dict[str, Any] | bool, whitespace: bool) -> str:
    """The schema as JSON; a text is read too, since llguidance's columns in it would be others.

    Raises:
        InputError: it is not JSON.
    """
    try:
        content = json.loads(schema) if isinstance(schema, str) else schema
        if isinstance(content, dict) and not whitespace:
            options = content.get("x-guidance", {})
            content = {**content, "x-guidance": {**options, "whitespace_flexible": False}}
        return json.dumps(content, allow_nan=False)
    except RecursionError as error:
        raise InputError("the JSON schema is nested too deeply; make it flatter") from error
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the JSON schema {shown(schema)} is not JSON: {_reason(str(error))}; an object, its "
            "text or a boolean is allowed"
        ) from error
