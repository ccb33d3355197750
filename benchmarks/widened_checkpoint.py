"""The embedded model in a published shape: it writes the same text, with that shape's weights.

Random weights say nothing of how often two precisions of a model agree. A trained model does; here
the embedded one is widened until every step reads as many bytes as the published shape's:

- Each channel of the hidden size is there several times (n), and so is each unit of the MLP: what
  reads them has 1/n of the weight. The statistics of layer normalization stay as they are, and so
  do the blocks that share a scale, but for those of the attention's output.
- Each head is there several times, and each of its dimensions too; keys have 1/n of the weight.
- Layers after the model's own have random weights inside, and zeros where they add to the stream.
- Tokens after the model's own have an embedding that is never chosen: final states have a
  direction in common, and it points the other way.
- Its window stays: 64 positions, where the published shapes have 256.

So the two precisions agree as often as those of the embedded model, 9 times in 10 (docs/precision
.md). Rounding hurts a model of 6 million parameters more than one of billions, which agree more
often: ratios measured on it are rather too small.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_checkpoint import CONTEXT, SCALE, SHAPES, VOCABULARY
from safetensors.numpy import load_file

from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.runtime import GPTNeoModel, Tokenizer
from gptneo_onnx.runtime.embedded import embedded_model

Array = NDArray[np.float32]
TEXT = Path(__file__).parent.parent / "examples/train_tiny/corpus/persuasion.txt"
# By how much the likeliest token must be ahead of those that are not the model's, in logits.
_LEAST_DISTANCE = 20


def write_widened_checkpoint(directory: Path, name: str, seed: int = 0) -> Path:
    """Write the embedded model in a published shape: config, tokenizer and float32 weights."""
    small = json.loads((EMBEDDED_CHECKPOINT / "config.json").read_text())
    shape = SHAPES[name]
    layers = shape["num_layers"]
    config = {key: value for key, value in small.items() if key != "attention_layers"} | {
        **shape,
        "attention_types": [[["global", "local"], layers // 2]],
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "intermediate_size": None,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (EMBEDDED_CHECKPOINT / file).exists():
            shutil.copy(EMBEDDED_CHECKPOINT / file, directory)
    _write(directory / "model.safetensors", Widened(small, config, seed))
    return directory


class Widened:
    """The tensors of the widened model by name, each made when it is asked for."""

    def __init__(self, small: dict[str, Any], config: dict[str, Any], seed: int) -> None:
        tensors = load_file(EMBEDDED_CHECKPOINT / "model.safetensors")
        self.tensors = {
            name.removeprefix("transformer."): tensor.astype(np.float32)
            for name, tensor in tensors.items()
        }
        self.random = np.random.default_rng(seed)
        self.hidden, self.layers = config["hidden_size"], config["num_layers"]
        self.own_layers, self.own_heads = small["num_layers"], small["num_heads"]
        self.own_head_size = small["hidden_size"] // self.own_heads
        self.copies = self.hidden // small["hidden_size"]
        self.head_copies = config["num_heads"] // self.own_heads
        self.dim_copies = self.copies // self.head_copies
        assert self.copies * small["hidden_size"] == self.hidden
        assert self.head_copies * self.dim_copies == self.copies

    def __iter__(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of every tensor."""
        hidden = self.hidden
        yield "wte.weight", (VOCABULARY, hidden)
        yield "wpe.weight", (CONTEXT, hidden)
        for layer in range(self.layers):
            block, attention = f"h.{layer}", f"h.{layer}.attn.attention"
            for norm in ("ln_1", "ln_2"):
                yield f"{block}.{norm}.weight", (hidden,)
                yield f"{block}.{norm}.bias", (hidden,)
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield f"{attention}.{part}.weight", (hidden, hidden)
            yield f"{attention}.out_proj.bias", (hidden,)
            yield f"{block}.mlp.c_fc.weight", (4 * hidden, hidden)
            yield f"{block}.mlp.c_fc.bias", (4 * hidden,)
            yield f"{block}.mlp.c_proj.weight", (hidden, 4 * hidden)
            yield f"{block}.mlp.c_proj.bias", (hidden,)
        yield "ln_f.weight", (hidden,)
        yield "ln_f.bias", (hidden,)

    def tensor(self, name: str, shape: tuple[int, ...]) -> Array:
        if name.startswith("h.") and int(name.split(".")[1]) >= self.own_layers:
            return self._idle(name, shape)
        own = self.tensors[name]
        if name == "wte.weight":
            others = np.broadcast_to(unlikely_embedding(own), (VOCABULARY - len(own), own.shape[1]))
            own = np.concatenate([own, others])
        if name == "wpe.weight":
            own = np.resize(own, (CONTEXT, own.shape[1]))
        if name in ("wte.weight", "wpe.weight"):
            return np.tile(own, self.copies)
        if name.startswith("ln_f"):  # the embedding, as the head, reads every copy
            return np.tile(own, self.copies) / self.copies
        if own.ndim == 1:
            return np.tile(own, len(self._rows(name, len(own))) // len(own))
        widened = own[self._rows(name, len(own))][:, self._columns(name, own.shape[1])]
        return widened / (self.copies * (self.dim_copies if "k_proj" in name else 1))

    def _rows(self, name: str, rows: int) -> NDArray[np.int64]:
        return self._head_rows() if name[-13:-8] in ("q_pro", "k_pro", "v_pro") else self._all(rows)

    def _columns(self, name: str, columns: int) -> NDArray[np.int64]:
        return self._head_rows() if "out_proj" in name else self._all(columns)

    def _all(self, count: int) -> NDArray[np.int64]:
        return np.tile(np.arange(count), self.copies)

    def _head_rows(self) -> NDArray[np.int64]:
        """Each head's dimensions several times, and all heads several times."""
        dimensions = np.arange(self.own_heads * self.own_head_size)
        by_head = dimensions.reshape(self.own_heads, self.own_head_size)
        return np.tile(np.tile(by_head, self.dim_copies).ravel(), self.head_copies)

    def _idle(self, name: str, shape: tuple[int, ...]) -> Array:
        """A layer's tensor that adds nothing to the stream, at the cost of one that does."""
        if "out_proj" in name or "c_proj" in name or name.endswith("bias"):
            return np.zeros(shape, np.float32)
        if "ln_" in name:
            return np.ones(shape, np.float32)
        return SCALE * self.random.standard_normal(shape, np.float32)


def unlikely_embedding(embedding: Array) -> Array:
    """Return the row [hidden] of a token that is never chosen, sampled or not."""
    directory = embedded_model()
    ids = Tokenizer.from_pretrained(directory).encode(TEXT.read_text()[:40_000])
    windows = np.array(ids[: len(ids) // 256 * 256]).reshape(-1, 256)
    model = GPTNeoModel.from_pretrained(directory)
    states = np.concatenate([model(row[None]).last_hidden_state[0] for row in windows])
    row = -np.linalg.lstsq(states, np.ones(len(states), np.float32))[0]
    away = states @ row  # [tokens], around -1
    needed = (states @ embedding.T).max(axis=1) - _LEAST_DISTANCE
    assert away.max() < 0, "some state points away from the others"
    return np.asarray(row * max(1.0, float((needed / away).max())), np.float32)


def _write(path: Path, model: Widened) -> None:
    records, end = {}, 0
    for name, shape in model:
        first, end = end, end + 4 * int(np.prod(shape))
        records[f"transformer.{name}"] = {
            "dtype": "F32", "shape": shape, "data_offsets": [first, end],
        }  # fmt: skip
    header = json.dumps(records).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name, shape in model:
            tensor = np.ascontiguousarray(model.tensor(name, shape), np.float32)
            assert tensor.shape == shape, (name, tensor.shape, shape)
            file.write(tensor.data)
