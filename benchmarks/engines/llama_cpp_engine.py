"""llama.cpp, on a GPT-2 of the same shape.

llama.cpp has no GPT-Neo. GPT-2 is the same arithmetic: learned positions, LayerNorm, GELU, and a
tied embedding. Its attention has no windows and reads more in long texts; its query, key and value
have biases, which are zeros here.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

MODEL = "model.gguf"
# Room after the prompt of each sequence.
_ROOM = 64


def export(checkpoint: str, out: str, quantization: str) -> None:
    """Write the checkpoint's tensors as a GPT-2 in GGUF.

    Args:
        quantization: F32, Q8_0 or Q4_0, for matrices. With Q4_0 the embedding, which is the head
            too, is Q8_0: llama.cpp's own tool keeps it finer as well.
    """
    import gguf
    from safetensors import safe_open

    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(checkpoint) / "config.json", directory)
    config = json.loads((directory / "config.json").read_text())
    writer = gguf.GGUFWriter(directory / MODEL, "gpt2", use_temp_file=True)
    _write_keys(writer, config)
    _write_tokenizer(writer, config["vocab_size"], Path(checkpoint) / "tokenizer.json")
    kind = gguf.GGMLQuantizationType[quantization]
    with safe_open(Path(checkpoint) / "model.safetensors", "numpy") as tensors:
        for name, array in _gpt2_tensors(tensors, config["num_layers"]):
            is_matrix = array.ndim == 2 and not name.startswith("position")
            tensor_kind = kind if is_matrix else gguf.GGMLQuantizationType.F32
            if name.startswith("token_embd") and quantization == "Q4_0":
                tensor_kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(array, tensor_kind), raw_dtype=tensor_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_keys(writer: Any, config: dict[str, Any]) -> None:
    """Write the model's dimensions."""
    hidden = config["hidden_size"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(4 * hidden)
    writer.add_block_count(config["num_layers"])
    writer.add_head_count(config["num_heads"])
    writer.add_layer_norm_eps(1e-5)


def _write_tokenizer(writer: Any, size: int, file: Path) -> None:
    """Write the checkpoint's tokenizer; without one, one that is never used."""
    model = json.loads(file.read_text())["model"] if file.exists() else {}
    tokens = {number: token for token, number in model.get("vocab", {}).items()}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges", ())]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens.get(number, f"token{number}") for number in range(size)])
    writer.add_token_merges(merges or ["t o"])
    writer.add_eos_token_id(size - 1)


def _gpt2_tensors(tensors: Any, layers: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield GPT-2's tensors by their names in GGUF."""

    def read(name: str) -> NDArray[np.float32]:
        array: NDArray[np.float32] = tensors.get_tensor(f"transformer.{name}")
        return array

    def pair(target: str, source: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
        for part in ("weight", "bias"):
            yield f"{target}.{part}", read(f"{source}.{part}")

    yield "token_embd.weight", read("wte.weight")
    yield "position_embd.weight", read("wpe.weight")
    yield from pair("output_norm", "ln_f")
    for layer in range(layers):
        block, source = f"blk.{layer}", f"h.{layer}"
        attention = f"{source}.attn.attention"
        qkv = np.concatenate([read(f"{attention}.{part}_proj.weight") for part in "qkv"])
        yield f"{block}.attn_qkv.weight", qkv
        yield f"{block}.attn_qkv.bias", np.zeros(len(qkv), np.float32)
        yield from pair(f"{block}.attn_norm", f"{source}.ln_1")
        yield from pair(f"{block}.attn_output", f"{attention}.out_proj")
        yield from pair(f"{block}.ffn_norm", f"{source}.ln_2")
        yield from pair(f"{block}.ffn_up", f"{source}.mlp.c_fc")
        yield from pair(f"{block}.ffn_down", f"{source}.mlp.c_proj")


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        import llama_cpp

        self.llama = llama_cpp
        self.threads = threads
        # A reference is kept: llama.cpp calls it later.
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        path = str(Path(directory) / MODEL).encode()
        self.model = llama_cpp.llama_model_load_from_file(path, parameters)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {directory}")
        self.context: Any = None
        self.size = (0, 0)

    def prefill(self, ids: Ids) -> None:
        """Start a new sequence of each prompt [batch, length]."""
        self._make_room(len(ids), ids.shape[1] + _ROOM)
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), False)
        self.length = ids.shape[1]
        for sequence, prompt in enumerate(ids):
            positions = np.arange(self.length)
            self._run(prompt, positions, np.full(self.length, sequence), positions[-1:])

    def decode(self, tokens: Ids) -> None:
        """Append one token [batch] to each sequence."""
        sequences = np.arange(len(tokens))
        self._run(tokens, np.full(len(tokens), self.length), sequences, sequences)
        self.length += 1

    def _make_room(self, batch: int, length: int) -> None:
        """Make a context for that many sequences, unless the last one has that size."""
        if self.size == (batch, length):
            return
        if self.context:
            self.llama.llama_free(self.context)
        parameters = self.llama.llama_context_default_params()
        parameters.n_ctx = batch * length
        parameters.n_batch = parameters.n_ctx
        parameters.n_seq_max = batch
        parameters.n_threads = parameters.n_threads_batch = self.threads
        self.context = self.llama.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError(f"llama.cpp makes no context for {batch} sequences")
        self.size = (batch, length)

    def _run(self, ids: Ids, positions: Ids, sequences: Ids, wanted: Ids) -> None:
        """Run one batch; logits are computed for the tokens with the indices `wanted`."""
        batch = self.llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for index, (token, position, sequence) in enumerate(
            zip(ids.tolist(), positions.tolist(), sequences.tolist(), strict=True)
        ):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = False
        for index in wanted.tolist():
            batch.logits[index] = True
        status = self.llama.llama_decode(self.context, batch)
        self.llama.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode returned {status}")
