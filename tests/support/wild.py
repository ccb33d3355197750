"""Draws checkpoint directories in which every part has one of the forms that people's have.

The parts are those of wild_config.py, wild_tokenizer.py and wild_weights.py, and the model's
shape. A directory has a twin: the same files beside weights as save_pretrained writes them, which
transformers loads where it does not read the drawn form (a wrapped model's names, Flax's file).
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from checkpoints import Shape, Tensors, draw_tensors
from torch_archive import save_torch
from wild_config import GENERATIONS, MODELS, OLD, combined
from wild_tokenizer import Draw
from wild_weights import save_any_safetensors, save_flax, save_legacy, save_shared

from gptneo_onnx.models.activations import ACTIVATIONS

HEAD, EMBEDDING = "lm_head.weight", "transformer.wte.weight"
# MODELS' forms that say nothing about layers, of which a drawn model has any number.
_CONFIGS = ("without ids", "without model_type", "a wide epsilon", "no epsilon")
_CONFIGS += ("a number for tied", "types of numbers", "training's keys")
_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.", "pretrained_model.", "model.")
_DTYPES = ("float32", "float32", "float16", "bfloat16", "float64", "mixed")
_DEBRIS = {
    "optimizer.pt": b"PK", "scheduler.pt": b"PK", "rng_state.pth": b"PK", "rng_state_0.pth": b"PK",
    "training_args.bin": b"PK", "trainer_state.json": b"{}", "latest": b"global_step9",
    "README.md": b"# A model", "model.onnx": b"", "vocab.txt": b"a", "tf_model.h5": b"\x89HDF",
    "modules.json": b"[]", "rust_model.ot": b"", ".gitattributes": b"",
}  # fmt: skip


@dataclass
class Wild:
    """What was drawn.

    Attributes:
        directory: the checkpoint.
        twin: the same with plain weights.
        variant: to pass to whoever reads the directory.
        is_plain: whether from_pretrained of transformers finds the same weights in both.
        shape: the model's.
        forms: what is odd about it, for messages.
    """

    directory: Path
    twin: Path
    shape: Shape
    variant: str | None = None
    is_plain: bool = True
    forms: list[str] = field(default_factory=list)


def draw_wild(directory: Path, random: np.random.Generator) -> Wild:
    """Write a directory and its twin."""
    return _Drawing(directory, random).write()


class _Drawing:
    def __init__(self, directory: Path, random: np.random.Generator) -> None:
        self.random = random
        self.draw = Draw(directory, random)
        self.chance, self.choice = self.draw.chance, self.draw.choice
        self.wild = Wild(directory, directory.with_name(f"{directory.name}-twin"), self.shape())

    def shape(self) -> Shape:
        """Heads of any size, any pattern of layers, windows from 1 to beyond the context.

        At least 12 numbers wide: the variance of fewer may be next to nothing, and dividing by it
        makes float32's rounding large, in transformers too.
        """
        head_size = self.choice([1, 2, 3, 4, 5, 8, 12, 16, 20])
        num_heads = self.choice([1, 2, 3, 4]) * -(-12 // head_size)
        hidden = num_heads * head_size
        kinds = ("global", "local")
        return Shape(
            vocab_size=self.choice([267, 301, 301, 320]),
            hidden_size=hidden,
            num_heads=num_heads,
            layers=tuple(self.choice([*kinds]) for _ in range(self.choice([1, 2, 3, 4]))),
            window_size=self.choice([1, 2, 3, 5, 7, 8, 63, 64, 65, 1000, 2**40]),
            max_position_embeddings=self.choice([16, 33, 64, 64]),
            intermediate_size=self.choice([None, None, 1, 24, 30]),
            activation_function=self.choice(sorted(ACTIVATIONS)),
            tie_word_embeddings=self.chance(0.6),
        )

    def write(self) -> Wild:
        wild = self.wild
        self.write_tokenizer()
        self.write_config()
        if self.chance(0.4):
            for name in self.some([*_DEBRIS], 6):
                (wild.directory / name).write_bytes(_DEBRIS[name])
        shutil.copytree(wild.directory, wild.twin)
        self.write_weights()
        return wild

    def some(self, values: list[str], most: int) -> list[str]:
        count = int(self.random.integers(most + 1))
        return [values[index] for index in self.random.permutation(len(values))[:count]]

    def note(self, form: str) -> None:
        self.wild.forms.append(form)

    def write_tokenizer(self) -> None:
        if self.chance(0.9):
            self.draw.write()
        else:
            self.wild.directory.mkdir(parents=True)
            self.note("no tokenizer")

    def write_config(self) -> None:
        """Write config.json, and generation_config.json or the settings of old releases."""
        directory = self.wild.directory
        names = self.some([*_CONFIGS], 2)
        forms = [MODELS[name] for name in names]
        for place, table in (("old", OLD), ("generation", GENERATIONS)):
            for name in self.some(sorted(table), 2) if self.chance(0.5) else []:
                names.append(f"{place}: {name}")
                forms.append(table[name])
        form = combined(forms)
        written = json.loads((directory / "config.json").read_text()) if self.has_tokenizer else {}
        config = written | self.wild.shape.config | self.spelling() | form.config
        if self.chance(0.2):
            config = self.with_aliases(config)
        if not self.wild.shape.tie_word_embeddings:
            config["tie_word_embeddings"] = False
        config = {name: value for name, value in config.items() if name not in form.without}
        content = json.dumps(config, indent=self.choice([None, 2]))
        (directory / "config.json").write_text(content)
        if form.generation is not None:
            (directory / "generation_config.json").write_text(json.dumps(form.generation))
        self.wild.forms += names

    @property
    def has_tokenizer(self) -> bool:
        return (self.wild.directory / "config.json").exists()

    def spelling(self) -> dict[str, Any]:
        """Spell the layers in one of the ways that give the same."""
        layers = [*self.wild.shape.layers]
        more = {"attention_layers": layers}
        spellings = [
            {"attention_types": [[[kind], 1] for kind in layers]},
            {"attention_types": [[layers, 1]], **more},
            {"attention_types": [[layers, 1], [["global"], 0]]},
            {"attention_types": [[["global"], len(layers)]], **more},
            {"attention_types": [[layers, 1]], "attention_layers": [*layers, "local"]},
        ]
        return self.choice(spellings)

    def with_aliases(self, config: dict[str, Any]) -> dict[str, Any]:
        self.note("aliases")
        renamed = dict(config)
        renamed["num_attention_heads"] = renamed.pop("num_heads")
        if self.chance(0.5):
            renamed["num_hidden_layers"] = renamed["num_layers"]
        return renamed

    def write_weights(self) -> None:
        wild = self.wild
        tensors = draw_tensors(wild.shape, self.random)
        dtype = self.choice([*_DTYPES])
        tensors = {name: self.typed(array, dtype) for name, array in tensors.items()}
        self.note(dtype)
        save_any_safetensors(wild.twin / "model.safetensors", tensors)
        tensors = self.with_others(tensors)
        if self.chance(0.1):
            self.write_flax(tensors)
        elif wild.shape.tie_word_embeddings and dtype != "bfloat16" and self.chance(0.1):
            self.note("save_model")
            wild.is_plain = False
            tensors.pop(HEAD, None)
            save_shared(wild.directory / "model.safetensors", tensors)
        else:
            self.write_files(self.prefixed(tensors))

    def typed(self, array: Any, dtype: str) -> Any:
        if dtype == "mixed":
            dtype = self.choice(["float32", "float16", "bfloat16"])
        return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)

    def with_others(self, tensors: Tensors) -> Tensors:
        """Add what other tools leave beside the weights; all of it changes nothing."""
        tensors = dict(tensors)
        hidden, layers = self.wild.shape.hidden_size, len(self.wild.shape.layers)
        if self.wild.shape.tie_word_embeddings and self.chance(0.6):
            is_other = self.chance(0.3)
            self.note("a tied head that differs" if is_other else "a tied head")
            tensors[HEAD] = tensors[EMBEDDING][::-1].copy() if is_other else tensors[EMBEDDING]
        if self.chance(0.3):
            self.note("masks")
            for layer in range(layers):
                block = f"transformer.h.{layer}.attn.attention"
                tensors[f"{block}.bias"] = np.tril(np.ones((1, 1, 16, 16), np.uint8))
                tensors[f"{block}.masked_bias"] = np.array([-1e9], np.float32)
        if self.chance(0.2):
            self.note("a classifier's head")
            tensors["score.weight"] = np.ones((2, hidden), np.float32)
        if self.chance(0.15):
            self.note("more layers")
            first = {name: array for name, array in tensors.items() if ".h.0." in name}
            for name, array in first.items():
                tensors[name.replace(".h.0.", f".h.{layers}.")] = array[::-1].copy()
        return tensors

    def prefixed(self, tensors: Tensors) -> Tensors:
        wrapper = self.choice(["", "", "", *_WRAPPERS])
        if wrapper:
            self.wild.is_plain = False
        elif HEAD not in tensors and "score.weight" not in tensors and self.chance(0.3):
            self.note("without transformer.")
            return {name.removeprefix("transformer."): each for name, each in tensors.items()}
        self.note(f"prefix {wrapper!r}")
        return {wrapper + name: array for name, array in tensors.items()}

    def write_flax(self, tensors: Tensors) -> None:
        self.note("Flax")
        self.wild.is_plain = False
        # Flax has no masks; a float64 array needs a flag of JAX's, and is read all the same.
        kept = {name: each for name, each in tensors.items() if ".attention.bias" not in name}
        save_flax(self.wild.directory / "flax_model.msgpack", kept)

    def write_files(self, tensors: Tensors) -> None:
        """Write one file or several shards, perhaps with a variant, of one of three formats."""
        wild = self.wild
        save = self.choice([save_any_safetensors, save_torch, save_legacy])
        suffix = "safetensors" if save is save_any_safetensors else "bin"
        stem = "model" if suffix == "safetensors" else "pytorch_model"
        wild.variant = "fp16" if self.chance(0.15) else None
        dot = f".{wild.variant}" if wild.variant else ""
        parts = np.array_split(self.random.permutation([*tensors]), self.choice([1, 1, 2, 4]))
        self.note(f"{len(parts)} {save.__name__}{dot}")
        if len(parts) == 1:
            save(wild.directory / f"{stem}{dot}.{suffix}", tensors)
            self.write_losers(suffix, dot)
            return
        weight_map = {}
        for number, part in enumerate(parts, 1):
            shard = f"{stem}{dot}-{number:05}-of-{len(parts):05}.{suffix}"
            save(wild.directory / shard, {str(name): tensors[str(name)] for name in part})
            weight_map |= dict.fromkeys(map(str, part), shard)
        index = wild.directory / f"{stem}.{suffix}.index{dot}.json"
        index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
        self.write_losers(suffix, dot)

    def write_losers(self, suffix: str, dot: str) -> None:
        """Write files that count less than those there are: of another model, or damaged."""
        if suffix == "safetensors" and self.chance(0.2):
            self.note("a bin that does not count")
            (self.wild.directory / f"pytorch_model{dot}.bin").write_bytes(b"damaged")
        if self.chance(0.1):
            self.note("a Flax file that does not count")
            (self.wild.directory / "flax_model.msgpack").write_bytes(b"damaged")
