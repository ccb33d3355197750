"""The arguments of a model's call that transformers has and a graph has no input for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Ids, Logits

# What to do instead; None passes everywhere, as do these arguments' other neutral values.
_WITHOUT_INPUT = {
    "past_key_values": "a call reads its whole text; generate() continues what prefill() saved",
    "inputs_embeds": "the graph looks embeddings up itself; pass input_ids",
    "head_mask": "the graph has no input for it; leave it out",
    "token_type_ids": "GPT-Neo adds the embeddings of these ids to those of the text, and the "
    "graph does not; leave it out",
    "output_attentions": "the graph does not give attention weights; leave it at False",
    "cache_position": "a call reads its text from column 0 on; leave it out, or pass position_ids",
}
_FLAGS = ("return_dict", "use_cache")


def check_call_arguments(arguments: Mapping[str, Any], columns: int) -> bool:
    """Check the arguments that change no result; return whether an output is asked for.

    Args:
        arguments: what a call was given beyond its own arguments.
        columns: of input_ids.

    Returns:
        Whether the result is an output; with return_dict=False it is a tuple.

    Raises:
        InputError: an argument is unknown, or asks for what no graph gives.
    """
    for name, value in arguments.items():
        if name in _FLAGS:
            if value is not None and not isinstance(value, bool | np.bool_):
                raise InputError(f"{name} is {shown(value)}; True or False is allowed")
        elif name not in _WITHOUT_INPUT:
            allowed = ", ".join((*_FLAGS, *_WITHOUT_INPUT))
            raise InputError(f"a call has no argument {name!r}; besides its own it has {allowed}")
        elif not _is_neutral(name, value, columns):
            raise InputError(f"{name} is of type {type(value).__name__}: {_WITHOUT_INPUT[name]}")
    return arguments.get("return_dict") in (None, True)


def _is_neutral(name: str, value: Any, columns: int) -> bool:
    if value is None:
        return True
    if name == "output_attentions":
        return isinstance(value, bool | np.bool_) and not value
    if name == "head_mask":  # transformers takes a list with a mask for each layer
        return isinstance(value, list | tuple) and all(each is None for each in value)
    if name == "cache_position":
        return bool(np.array_equal(_plain(value), np.arange(columns)))
    return False


def _plain(value: Any) -> Any:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def kept_columns(logits_to_keep: Any, columns: int) -> Ids:
    """Return the numbers of the columns whose logits are asked for.

    Args:
        logits_to_keep: a number of the last columns, 0 for all; or numbers of columns [kept].
        columns: how many there are.

    Raises:
        InputError: another kind of value, or a column that is not there.
    """
    kept = _plain(logits_to_keep)
    is_whole = kept is not None and np.issubdtype(kept.dtype, np.integer)
    if is_whole and kept.ndim == 0 and kept >= 0:
        return np.arange(columns)[-int(kept) :]
    if not (is_whole and kept.ndim == 1 and len(kept) and (np.abs(kept + 0.5) < columns).all()):
        raise InputError(
            f"logits_to_keep is {shown(logits_to_keep)}; a number of the last columns, or a list "
            f"of columns below {columns}, is allowed"
        )
    chosen: Ids = np.arange(columns)[kept]
    return chosen


def causal_loss(logits: Logits, labels: Ids, ignored: int = -100) -> np.float32:
    """Return the mean cross entropy of each label by the logits of the column before it.

    Source: transformers.loss.loss_utils.ForCausalLMLoss. NaN where every label is ignored.

    Args:
        logits: [batch, sequence, vocab].
        labels: [batch, sequence].
        ignored: the label that does not count.
    """
    following = labels[:, 1:]
    counts = following != ignored
    chosen = logits[:, :-1][counts]  # [labels, vocab]
    if len(chosen) == 0:
        return np.float32("nan")
    highest = chosen.max(-1, keepdims=True)
    totals = np.log(np.exp(chosen - highest).sum(-1, dtype=np.float64)) + highest[:, 0]
    return np.float32((totals - chosen[np.arange(len(chosen)), following[counts]]).mean())
