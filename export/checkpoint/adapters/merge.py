"""Gives a checkpoint as it is with an adapter: the same tensors, merged while they are read."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptneo_onnx.export.checkpoint.adapters.adapter_config import (
    LORA,
    TRAINABLE_TOKENS,
    AdapterConfig,
    read_adapter_config,
)
from gptneo_onnx.export.checkpoint.adapters.adapter_tensors import (
    BIAS,
    Module,
    adapter_file,
    read_modules,
)
from gptneo_onnx.export.checkpoint.adapters.merged_tensor import (
    columns_of_length,
    flattened,
    low_rank,
    rows_of_length,
    scaled,
    summed,
    transposed,
    with_rows,
)
from gptneo_onnx.export.checkpoint.checkpoint import Checkpoint
from gptneo_onnx.export.checkpoint.other_formats import ADAPTER_CONFIG
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.models.errors import ModelFileError, shown

_EMBEDDING, _HEAD = "wte", "lm_head"
# The heads of other tasks, which a language model has no place for.
_OTHER_HEADS = frozenset(("score", "classifier", "qa_outputs", "v_head.summary"))


def merge_adapter(source: Checkpoint, directory: Path, named: str | Path) -> Checkpoint:
    """Return a checkpoint whose tensors are those that merge_and_unload() of peft gives.

    Args:
        source: the base model.
        directory: the adapter: adapter_config.json with adapter_model.safetensors or .bin.
        named: how the caller names the base model.

    Raises:
        InputError: the directory holds no adapter.
        ModelFileError: the adapter is damaged, of a kind that is not merged here, or does not fit.
    """
    config = read_adapter_config(directory)
    path = adapter_file(directory)
    merge = _Merge(source, config, path)
    for module in _in_order(read_modules(path)):
        merge.replace_tensors(module)
    for module in merge.modules:
        merge.change(module)
    return merge.result(directory, _other_base(config, directory, named))


def _in_order(modules: Mapping[str, Module]) -> list[Module]:
    """Return the modules with the head last, as in the model: it may share the embedding."""
    return sorted(modules.values(), key=lambda module: module.name == _HEAD)


def _other_base(config: AdapterConfig, directory: Path, named: str | Path) -> list[str]:
    """Return a line if an adapter names another base model than it is merged into."""
    base = config.base
    if base is None or base == str(named) or os.path.realpath(base) == os.path.realpath(named):
        return []
    return [
        f"{directory}: the adapter was trained with {shown(base)}, and is merged into "
        f"{shown(str(named))}"
    ]


class _Merge:
    """A merge in progress."""

    def __init__(self, source: Checkpoint, config: AdapterConfig, path: Path) -> None:
        self.source = source
        self.config = config
        self.path = path
        self.tensors = dict(source.tensors)
        self.tied = source.config.tie_word_embeddings
        if self.tied:  # transformers ignores a head in the file
            self.tensors.pop(f"{_HEAD}.weight", None)
        self.modules: list[Module] = []
        self.ranks: set[int] = set()
        self.changed: list[str] = []
        self.replaced: list[str] = []

    def replace_tensors(self, module: Module) -> None:
        """Put the tensors of a module in place of the model's own, before others are merged."""
        self.modules.append(module)
        is_shared = module.name in (_EMBEDDING, _HEAD)
        if module.replaced and is_shared and self.config.saves(module.spelled):
            self._untie()
        for part, tensor in module.replaced.items():
            name = f"{module.name}.{part}"
            base = self.tensors.get(self._stored(name))
            if base is None and module.name not in _OTHER_HEADS:
                raise self._no_such_layer(tensor)
            if base is not None:
                resized = is_shared and len(tensor.shape) == 2
                if tensor.shape[resized:] != base.shape[resized:]:
                    raise self._misfit(tensor, base.shape)
            self.tensors[self._stored(name)] = tensor
            self.replaced.append(name)

    def change(self, module: Module) -> None:
        """Merge what an adapter adds to a module."""
        trained = dict(module.trained)
        if not trained or (self._tied_twice(module) and self.config.keeps_ties):
            return
        if "trainable_tokens_delta" in trained:
            self._replace_rows(module, trained.pop("trainable_tokens_delta"))
        elif "ia3_l" in trained:
            self._scale(module, trained.pop("ia3_l"))
        else:
            self._add_low_rank(module, trained)
        for tensor in trained.values():
            raise ModelFileError(
                f"{self.path}: {shown(tensor.name)} does not go with the other tensors of its "
                f"layer, nor with {ADAPTER_CONFIG}; save the adapter again"
            )
        self.changed.append(module.name)

    def _add_low_rank(self, module: Module, trained: dict[str, StoredTensor]) -> None:
        """Merge LoRA or DoRA; takes what it merges out of `trained`."""
        is_embedding = "lora_embedding_A" in trained or "lora_embedding_B" in trained
        names = ["lora_embedding_A", "lora_embedding_B"] if is_embedding else ["lora_A", "lora_B"]
        if self.config.decomposed:
            names.append("lora_magnitude_vector")
        self._check_parts(module, names)
        a, b, *lengths = [trained.pop(name) for name in names]
        name, base = self._weight(module, a)
        for matrix in (a, b):
            if len(matrix.shape) != 2:
                raise self._misfit(matrix, base.shape)
        self._check_rank(module, a, b)
        up, down = (transposed(a), transposed(b)) if is_embedding else (b, a)
        if (up.shape[0], down.shape[1]) != base.shape:
            raise self._misfit(a if down.shape[-1] != base.shape[-1] else b, base.shape)
        scaling = self.config.scaling_of(module.spelled)
        merged = low_rank(base, up, down, scaling)
        if lengths:
            if lengths[0].shape != (base.shape[1 if is_embedding else 0],):
                raise self._misfit(lengths[0], base.shape)
            merged = (columns_of_length if is_embedding else rows_of_length)(merged, lengths[0])
        self.tensors[name] = merged
        if BIAS in trained:
            self._add_bias(module, trained.pop(BIAS), scaling)

    def _check_parts(self, module: Module, names: list[str]) -> None:
        if self.config.kind == LORA and all(name in module.trained for name in names):
            return
        asked = ", ".join(names) if self.config.kind == LORA else self.config.method
        raise ModelFileError(
            f"{self.path}: {shown(module.spelled)} has {', '.join(sorted(module.trained))}, and "
            f"{ADAPTER_CONFIG} asks for {asked}; use the one that was saved with it"
        )

    def _check_rank(self, module: Module, a: StoredTensor, b: StoredTensor) -> None:
        rank = self.config.rank_of(module.spelled)
        if (a.shape[0], b.shape[1]) != (rank, rank):
            raise ModelFileError(
                f"{self.path}: {shown(module.spelled)} has matrices {list(a.shape)} and "
                f"{list(b.shape)}, and {ADAPTER_CONFIG} says rank {rank}; use the one "
                "that was saved with them"
            )
        self.ranks.add(rank)

    def _add_bias(self, module: Module, bias: StoredTensor, scaling: float) -> None:
        name = f"{module.name}.bias"
        base = self.tensors.get(name)
        if base is None:
            raise ModelFileError(
                f"{self.path}: {shown(bias.name)} is a bias, and {shown(module.spelled)} of a "
                "GPT-Neo has none: it cannot be merged; train the adapter without lora_bias"
            )
        if bias.shape != base.shape:
            raise self._misfit(bias, base.shape)
        self.tensors[name] = summed(base, bias, scaling)

    def _scale(self, module: Module, factors: StoredTensor) -> None:
        """Merge IA3: factors of outputs [outputs, 1] or of inputs [1, inputs]."""
        name, base = self._weight(module, factors)
        if factors.shape not in ((base.shape[0], 1), (1, base.shape[-1])):
            raise self._misfit(factors, base.shape)
        self.tensors[name] = scaled(base, factors)
        bias = self.tensors.get(f"{module.name}.bias")
        if bias is not None and factors.shape[1] == 1:
            self.tensors[f"{module.name}.bias"] = scaled(bias, flattened(factors))

    def _replace_rows(self, module: Module, rows: StoredTensor) -> None:
        """Put trained rows [tokens, hidden] in the places of their tokens."""
        name, base = self._weight(module, rows)
        tokens = self.config.tokens_of(module.spelled)
        if rows.shape != (len(tokens), *base.shape[1:]) or max(tokens) >= base.shape[0]:
            raise ModelFileError(
                f"{self.path}: {shown(rows.name)} has shape {list(rows.shape)}, for a table "
                f"{list(base.shape)} and {len(tokens)} token ids in {ADAPTER_CONFIG} (up to "
                f"{max(tokens, default=None)}); name the model that it was trained with"
            )
        self.tensors[name] = with_rows(base, tokens, rows)

    def _weight(self, module: Module, tensor: StoredTensor) -> tuple[str, StoredTensor]:
        """Return the name and the tensor of the weight that an adapter's tensor changes."""
        name = self._stored(f"{module.name}.weight")
        base = self.tensors.get(name)
        if base is None:
            raise self._no_such_layer(tensor)
        if base.dtype.kind in "biu":
            self.source.tensor(name, base.shape)  # says what is wrong with it
        return name, base

    def _stored(self, name: str) -> str:
        """Return the name of the tensor: the embedding's, where the head shares it."""
        return f"{_EMBEDDING}.weight" if self.tied and name == f"{_HEAD}.weight" else name

    def _tied_twice(self, module: Module) -> bool:
        """Return whether a module is the head, and shares a trained embedding."""
        names = {each.name for each in self.modules if each.trained}
        return self.tied and module.name == _HEAD and _EMBEDDING in names

    def _untie(self) -> None:
        """Untie the head: modules_to_save stores a copy of the module."""
        if self.tied:
            self.tied = False
            self.tensors[f"{_HEAD}.weight"] = self.source.tensors[f"{_EMBEDDING}.weight"]

    def result(self, directory: Path, notes: list[str]) -> Checkpoint:
        """Return the merged checkpoint, and the lines on what was merged."""
        source = self.source
        if not self.changed and not self.replaced:
            raise ModelFileError(f"{self.path} holds no tensors of an adapter; save it again")
        vocabulary = self.tensors[f"{_EMBEDDING}.weight"].shape[0]
        head = self.tensors.get(f"{_HEAD}.weight")
        if head is not None and head.shape[0] != vocabulary:
            raise ModelFileError(
                f"{self.path}: with it the embedding has {vocabulary} tokens, and the head "
                f"{head.shape[0]}; resize the model, and save the adapter with both"
            )
        config = replace(source.config, vocab_size=vocabulary, tie_word_embeddings=self.tied)
        changes: dict[str, Any] = {
            name: getattr(config, name)
            for name in ("vocab_size", "tie_word_embeddings")
            if getattr(config, name) != getattr(source.config, name)
        }
        kept = (note for note in source.notes if ADAPTER_CONFIG not in note)
        return replace(
            source,
            config=config,
            tensors=self.tensors,
            notes=(*kept, *notes, *self._notes(directory)),
            config_changes=changes,
            adapter=directory,
        )

    def _notes(self, directory: Path) -> list[str]:
        ranks = " and ".join(map(str, sorted(self.ranks)))
        of_rank = f" of rank {ranks}" if ranks else ""
        parts = []
        if self.changed or self.config.kind == TRAINABLE_TOKENS:
            parts.append(f"{self.config.method}{of_rank} merged into {len(self.changed)} layers")
        if self.replaced:
            parts.append(f"replaced {_listed(self.replaced)}")
        lines = [f"{directory}: {', '.join(parts)}"]
        low_rank_table = {_EMBEDDING, _HEAD} & {*self.changed} and self.ranks and self.tied
        if low_rank_table:
            lines.append(
                f"{directory}: the embedding is also the head, so what is merged changes both, as "
                "merge_and_unload() of peft does; the adapter before merging changes one of them"
            )
        if self.config.unknown:
            lines.append(
                f"{self.config.path}: not known, and not applied: {shown([*self.config.unknown])}"
            )
        others = [name for name in self.replaced if name.rpartition(".")[0] in _OTHER_HEADS]
        if others:
            lines.append(f"{directory}: {_listed(others)} is no part of a language model")
        return lines

    def _no_such_layer(self, tensor: StoredTensor) -> ModelFileError:
        return ModelFileError(
            f"{self.path}: {shown(tensor.name)} belongs to no layer of {self.source.directory}"
            f"{self._trained_with()}"
        )

    def _misfit(self, tensor: StoredTensor, shape: tuple[int, ...]) -> ModelFileError:
        return ModelFileError(
            f"{self.path}: {shown(tensor.name)} has shape {list(tensor.shape)}, which does not fit "
            f"a tensor {list(shape)} of {self.source.directory}{self._trained_with()}"
        )

    def _trained_with(self) -> str:
        return f"; the adapter was trained with {shown(self.config.base)}: export that"


def _listed(names: list[str]) -> str:
    more = len(names) - 4
    return ", ".join(names[:4]) + (f" and {more} more" if more > 0 else "")
