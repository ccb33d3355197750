"""Make tests/golden/*.npz: small checkpoints, with the logits that transformers computes for them.

    make golden

Needs the `optimum` extra, and takes seconds. Each file holds the config (JSON), the tensors
(t/NAME), ids, the logits of the whole sequence, and the greedy continuation of its first third.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from checkpoints import Shape, draw_tensors, write_checkpoint
from transformers import GPTNeoForCausalLM

GOLDEN = Path(__file__).parent
SEED = 2700
SMALL = Shape(vocab_size=67, hidden_size=16, num_heads=2, max_position_embeddings=40)
SHAPES = {
    "alternating": SMALL,
    "all-local": SMALL.but(layers=("local", "local"), window_size=3),
    "untied-gelu": SMALL.but(tie_word_embeddings=False, activation_function="gelu"),
    "peaked": SMALL.but(layers=("local", "global", "local"), window_size=1, peak=6.0),
}


def make(name: str, shape: Shape) -> None:
    ids = np.random.default_rng(SEED + 1).integers(0, shape.vocab_size, 40)
    with tempfile.TemporaryDirectory() as folder:
        directory = write_checkpoint(Path(folder), shape, np.random.default_rng(SEED))
        model = GPTNeoForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        model.generation_config.eos_token_id = None
        with torch.no_grad():
            logits = model(torch.from_numpy(ids)[None]).logits[0].numpy()
            prompt = torch.from_numpy(ids[: len(ids) // 3])[None]
            greedy = model.generate(prompt, max_new_tokens=24, do_sample=False)[0].numpy()
    tensors = {f"t/{n}": t for n, t in draw_tensors(shape, np.random.default_rng(SEED)).items()}
    config = json.dumps(shape.config)
    path = GOLDEN / f"{name}.npz"
    np.savez_compressed(path, config=config, ids=ids, logits=logits, greedy=greedy, **tensors)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, shape in SHAPES.items():
        make(name, shape)
