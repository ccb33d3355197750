"""Finds GPT-Neo's tensors among the names of a checkpoint, as many tools spell them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError, shown
from gptneo_onnx.models.tasks import LM_HEAD, Head

PREFIX = "transformer."
_EMBEDDING = "wte.weight"
_TASK_HEADS = frozenset(name for head in Head if head.tensors for name in head.tensors.names)
_WEIGHT = re.compile(
    r"(wte|wpe|lm_head)\.weight|ln_f\.(weight|bias)|h\.\d{1,6}\.("
    r"ln_[12]\.(weight|bias)|mlp\.c_(fc|proj)\.(weight|bias)"
    r"|attn\.attention\.([qkv]_proj\.weight|out_proj\.(weight|bias)))"
)
# The causal masks that old versions of transformers saved with every layer.
MASK_BUFFER = re.compile(r"h\.\d+\.attn\.attention\.(bias|masked_bias)")
# Attributes in which wrappers keep a model: DataParallel, Lightning, PEFT, TRL, DeepSpeed, Flax.
_WRAPPERS = frozenset(
    ("module", "model", "base_model", "pretrained_model", "_forward_module", "params")
)
# Those in which wrappers keep any part of one: torch.compile, FSDP, activation checkpointing.
_INNER_WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class NamedTensors:
    """A GPT-Neo's tensors, by their names without the prefix `transformer.`.

    Attributes:
        tensors: each one's place in its file; of all heads that there are.
        left_out: names of the tensors that are no part of a GPT-Neo.
        notes: lines that tell the user what was done.
        as_transformers: whether from_pretrained of transformers finds the same tensors.
    """

    tensors: Mapping[str, StoredTensor]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    as_transformers: bool = True


@dataclass(frozen=True)
class _Name:
    """A name in the file, taken apart: its wrappers, and what it is called without them."""

    stored: str
    wrapper: str
    name: str

    @property
    def rank(self) -> int:
        """Order the spellings of one tensor: transformers' first."""
        is_head = self.name == LM_HEAD or self.name in _TASK_HEADS
        if self.stored == self.name:
            return 0 if is_head else 1
        return 0 if self.stored == PREFIX + self.name and not is_head else 2


def named_tensors(directory: Path, stored: Mapping[str, StoredTensor], tied: bool) -> NamedTensors:
    """Return the tensors by GPT-Neo's names, without the prefixes of tools that wrap a model.

    Args:
        directory: the checkpoint, for messages.
        stored: its tensors, by the names in its files.
        tied: whether the token embedding is also the head.

    Raises:
        ModelFileError: LoRA matrices lie beside the weights, or names have several meanings.
    """
    _refuse_lora(directory, stored)
    names = [_taken_apart(name) for name in stored]
    wrapper = _wrapper_of_the_model(directory, names)
    chosen: dict[str, _Name] = {}
    left_out = []
    for name in names:
        is_weight = _WEIGHT.fullmatch(name.name) or name.name in _TASK_HEADS
        if not is_weight or name.wrapper != wrapper:
            if not MASK_BUFFER.fullmatch(name.name):
                left_out.append(name.stored)
            continue
        other = chosen.setdefault(name.name, name)
        if other is name:
            continue
        if other.rank == name.rank:
            raise _ambiguous(directory, [other.stored, name.stored])
        chosen[name.name], loser = sorted((other, name), key=lambda each: each.rank)
        left_out.append(loser.stored)
    tensors = {name.name: stored[name.stored] for name in chosen.values()}
    ranks = {name.rank for name in chosen.values()}
    renamed = any(stored[name.stored].name != name.stored for name in chosen.values())
    notes = []
    if 2 in ranks:
        example = next(name for name in chosen.values() if name.rank == 2)
        notes.append(
            f"{directory}: its tensors are named as a wrapped model's; "
            f"{shown(example.stored)} is read as {PREFIX}{example.name}"
        )
    if tied and _EMBEDDING not in tensors and LM_HEAD in tensors:
        tensors[_EMBEDDING] = tensors[LM_HEAD]
        notes.append(f"{directory}: {LM_HEAD} is read as the token embedding too, which is missing")
    as_transformers = not notes and not renamed and len(ranks) < 2
    if left_out:
        notes.append(f"{directory}: left out, as no part of a GPT-Neo: {_listed(left_out)}")
    return NamedTensors(tensors, tuple(left_out), tuple(notes), as_transformers)


def _taken_apart(stored: str) -> _Name:
    parts = [part for part in stored.split(".") if part not in _INNER_WRAPPERS]
    start = 0
    while start < len(parts) and parts[start] in _WRAPPERS:
        start += 1
    name = ".".join(parts[start:]).removeprefix(PREFIX)
    return _Name(stored, ".".join(parts[:start]), name)


def _wrapper_of_the_model(directory: Path, names: Iterable[_Name]) -> str:
    """Return the wrapper in which the model lies; weights without any are transformers' own."""
    wrappers: dict[str, str] = {}
    for name in names:
        if _WEIGHT.fullmatch(name.name):
            wrappers.setdefault(name.wrapper, name.stored)
    if "" in wrappers or not wrappers:
        return ""
    if len(wrappers) > 1:
        raise _ambiguous(directory, list(wrappers.values())[:2])
    return next(iter(wrappers))


def _ambiguous(directory: Path, names: list[str]) -> ModelFileError:
    return ModelFileError(
        f"{directory}: its tensors {shown(names[0])} and {shown(names[1])} are of two models; "
        "save the state dict of the one to export"
    )


def _refuse_lora(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        if any(part.startswith("lora_") for part in name.split(".")):
            raise ModelFileError(
                f"{directory} holds LoRA matrices beside the weights ({shown(name)}); merge them: "
                "save_pretrained what merge_and_unload() of the PEFT model returns, and export that"
            )


def _listed(names: list[str]) -> str:
    first = ", ".join(shown(name)[1:-1] for name in names[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return first if more <= 0 else f"{first} and {more} more"
