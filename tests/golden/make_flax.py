"""Makes tests/golden/flax with Flax: python tests/golden/make_flax.py

Needs flax, jax and transformers 4.57. Arrays of more than CHUNK_BYTES are written in pieces, as
those of more than a gigabyte are.
"""

from pathlib import Path

import flax.serialization
import numpy as np
from transformers import FlaxGPTNeoForCausalLM, GPTNeoConfig

OUT = Path(__file__).parent / "flax"
CHUNK_BYTES = 3000

flax.serialization.MAX_CHUNK_SIZE = CHUNK_BYTES
config = GPTNeoConfig(
    vocab_size=61,
    hidden_size=16,
    num_layers=2,
    num_heads=2,
    attention_types=[[["global", "local"], 1]],
    window_size=7,
    max_position_embeddings=16,
    tie_word_embeddings=False,
    initializer_range=0.3,
)
model = FlaxGPTNeoForCausalLM(config, seed=3)
model.save_pretrained(OUT)
ids = np.arange(16)[None] * 3
np.save(OUT / "logits.npy", np.asarray(model(ids).logits))
