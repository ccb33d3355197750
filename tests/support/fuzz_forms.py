"""What the fuzz targets of schemas and grammars share: a tokenizer, and a few constrained steps."""

import functools
import tempfile
from pathlib import Path

import numpy as np
from small_checkpoint import write_byte_tokenizer

from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
from gptneo_onnx.runtime.tokenizer import Tokenizer

STEPS = 12


@functools.cache
def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer with a token for each byte."""
    with tempfile.TemporaryDirectory() as folder:
        write_byte_tokenizer(Path(folder))
        return Tokenizer.from_pretrained(folder)


def constrain(form: StructuredOutput) -> None:
    """Draw a few tokens within a form."""
    random = np.random.default_rng(0)
    ids = np.zeros((1, 1), np.int64)
    for _ in range(STEPS):
        scores = form(ids, np.zeros((1, 257), np.float32))
        allowed = np.flatnonzero(np.isfinite(scores[0]))
        ids = np.append(ids, [[random.choice(allowed)]], axis=1)
    form.is_complete(ids[0, 1:].tolist())
