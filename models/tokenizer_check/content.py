"""Checks what a tokenizer.json holds, and has the tokenizers package read it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any, TypeVar

from gptneo_onnx.models.errors import GPTNeoOnnxError, InputError, ModelFileError, printable, shown
from gptneo_onnx.models.tokenizer_check.components import PartError, Pipeline

# Characters of one token. Real ones have a few hundred at most: a line of dashes, a licence.
MAX_TOKEN = 16_384
# Characters of all added tokens, with a shared beginning counted once: the size of the tree that
# they are looked up in. 200,000 numbered tokens have 420,000.
MAX_ADDED_TEXT = 500_000
MAX_ADDED = 200_000
_MAX_WORD = 1000  # WordPiece takes time with the square of it
_TEXTS = ("unk_token", "continuing_subword_prefix", "end_of_word_suffix")

Backend = TypeVar("Backend")


def read_backend(
    from_str: Callable[[str], Backend], content: Mapping[str, Any], source: str
) -> Backend:
    """Return the tokenizer of what a tokenizer.json holds.

    Args:
        from_str: tokenizers.Tokenizer.from_str.
        content: what the file holds.
        source: what to call it, with its verb: "PATH is".

    Raises:
        ModelFileError: it is not a tokenizer, or one that could take too long or fail with texts.
    """
    try:
        check_content(content)
    except PartError as error:
        raise ModelFileError(f"{source} not a tokenizer that is accepted: {error}") from error
    with backend_errors(ModelFileError, lambda: f"{source} not a tokenizer"):
        return from_str(json.dumps(content))


@contextmanager
def backend_errors(kind: type[GPTNeoOnnxError], what: Callable[[], str]) -> Iterator[None]:
    """Raise errors of the tokenizers package as errors of a kind, with a short line.

    It raises bare Exceptions. A panic of its code is no Exception: pyo3_runtime.PanicException
    derives from BaseException, and has no name to import.

    Args:
        kind: the class of the errors.
        what: returns what cannot be done.
    """
    try:
        yield
    except GPTNeoOnnxError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind(f"{what()}: {printable(str(error), 200)}") from error


def text_errors(text: str) -> AbstractContextManager[None]:
    """Return backend_errors() for a text that is encoded."""
    return backend_errors(
        InputError, lambda: f"the tokenizer cannot encode {shown(text[:MAX_TOKEN])}"
    )


def check_content(content: Mapping[str, Any]) -> None:
    """Check every part of a tokenizer.json.

    Raises:
        PartError: one is not accepted.
    """
    encoding = Pipeline()
    encoding.check("normalizer", content.get("normalizer"))
    encoding.check("pre_tokenizer", content.get("pre_tokenizer"))
    for kind in ("decoder", "post_processor"):
        Pipeline().check(kind, content.get(kind))
    _check_added(content.get("added_tokens"))
    model = content.get("model")
    if not isinstance(model, dict):
        raise PartError(f"model is {shown(model)}; an object is expected")
    _check_model(model)


def _check_added(entries: object) -> None:
    if entries is None:
        return
    if not isinstance(entries, list):
        raise PartError(f"added_tokens is {shown(entries)}; a list is expected")
    values = (entry.get("content") for entry in entries if isinstance(entry, dict))
    texts = sorted(value for value in values if isinstance(value, str))
    _check_texts("added_tokens", texts)
    size = sum(len(text) - _common(before, text) for before, text in pairwise(["", *texts]))
    if len(entries) > MAX_ADDED or size > MAX_ADDED_TEXT:
        raise PartError(
            f"added_tokens has {len(entries)} tokens with {size} characters that no other begins "
            f"with; at most {MAX_ADDED} with {MAX_ADDED_TEXT} are allowed"
        )


def _common(first: str, second: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def _check_model(model: Mapping[str, Any]) -> None:
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        _check_texts("vocab", vocabulary)
    elif isinstance(vocabulary, list):  # pairs of a token and its score
        _check_texts("vocab", (pair[0] for pair in vocabulary if isinstance(pair, list) and pair))
    else:
        raise PartError(f"vocab of the model is {shown(vocabulary)}; an object is expected")
    for name in _TEXTS:
        value = model.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > MAX_TOKEN):
            raise PartError(f"{name} of the model is {shown(value)}; a short text is expected")
    longest = model.get("max_input_chars_per_word", 100)
    if type(longest) is not int or not 0 <= longest <= _MAX_WORD:
        raise PartError(
            f"max_input_chars_per_word is {shown(longest)}; 0 to {_MAX_WORD} is allowed"
        )
    prefix = model.get("continuing_subword_prefix")
    if prefix and model.get("type", "BPE") == "BPE":
        _check_prefixed(model.get("merges"), prefix)


def _check_prefixed(merges: object, prefix: str) -> None:
    """Check that the second part of every merge begins with the prefix, which is cut off."""
    for merge in merges if isinstance(merges, list) else ():
        parts = merge.split(" ") if isinstance(merge, str) else merge
        second = parts[1] if isinstance(parts, list) and len(parts) == 2 else prefix
        if not isinstance(second, str) or not second.startswith(prefix):
            raise PartError(
                f"merges has {shown(merge)}, whose second part does not begin with {shown(prefix)},"
                " the continuing_subword_prefix"
            )


def _check_texts(name: str, texts: Any) -> None:
    for text in texts:
        if isinstance(text, str) and len(text) > MAX_TOKEN:
            raise PartError(
                f"{name} has a token of {len(text)} characters, {shown(text)}; at most {MAX_TOKEN} "
                "are allowed"
            )
