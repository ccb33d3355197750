"""A small model, here and as the oracle has it, and prompts for it."""

import pytest
from checkpoints import Shape
from plain_generation import next_scores
from reference import ReferenceGPTNeo

from gptneo_onnx.runtime import GPTNeoForCausalLM


@pytest.fixture
def shape():
    """To be overridden where another model is wanted."""
    return Shape(layers=("global", "local", "local"), window_size=5)


@pytest.fixture
def directory(export_shape, shape):
    return export_shape(shape)


@pytest.fixture
def model(directory):
    return GPTNeoForCausalLM.from_pretrained(directory, device="cpu")


@pytest.fixture
def oracle(directory):
    return ReferenceGPTNeo.open(directory.parent / "checkpoint")


@pytest.fixture
def scores(oracle):
    """The oracle's log probabilities of the next token."""
    return next_scores(oracle)


@pytest.fixture
def prompts(random, shape):
    """Ragged, as lists."""
    return [random.integers(0, shape.vocab_size, length).tolist() for length in (7, 3, 11)]
