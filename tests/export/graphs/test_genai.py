"""The genai graph, driven as onnxruntime-genai drives it: masks, right padding, whole caches."""

import json

import numpy as np
import onnxruntime
import pytest
from checkpoints import Shape
from reference import ReferenceGPTNeo
from refusals import refused
from wild_heads import HEADS

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM

SHAPE = Shape(hidden_size=64, layers=("global", "local") * 2)
CAPACITY = 64


class Driver:
    """Steps a genai graph over caches of full size, each output the next step's input."""

    def __init__(self, directory, batch):
        self.session = onnxruntime.InferenceSession(directory / "model.onnx")
        types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        self.past = {
            value.name: np.zeros(
                (batch, value.shape[1], CAPACITY, value.shape[3]), types[value.type]
            )
            for value in self.session.get_inputs()
            if value.name.startswith("past")
        }
        self.outputs = [value.name for value in self.session.get_outputs()]

    def step(self, ids, mask, positions):
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        found = dict(zip(self.outputs, self.session.run(None, feeds | self.past), strict=True))
        self.past = {name: found[f"present{name[15:]}"] for name in self.past}
        assert found["logits"].shape == (len(ids), 1, SHAPE.vocab_size)
        return found["logits"][:, 0]


@pytest.mark.parametrize(
    ("precision", "activations", "tolerance"),
    [
        ("fp32", None, 1e-4),
        ("fp16", None, 2e-2),
        ("int8", None, 0.3),
        ("w8a8", None, 0.3),
        ("int4", None, 2.5),
        ("int4", "fp16", 2.5),
    ],
)
def test_ragged_batches_padded_on_the_right(
    export_shape, random, precision, activations, tolerance
):
    """Each row's logits are the oracle's, after its prompt and after every new token."""
    directory = export_shape(SHAPE, precision, activations, graph="genai")
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    lengths, new = np.array([30, 11, 1]), 20
    sequences = random.integers(0, SHAPE.vocab_size, (3, 30 + new))
    columns = np.arange(30)
    mask = (columns < lengths[:, None]).astype(np.int64)
    driver = Driver(directory, 3)
    steps = [driver.step(np.where(mask, sequences[:, :30], 0), mask, np.tile(columns, (3, 1)))]
    for step in range(new):
        at = lengths + step
        mask = (np.arange(at.max() + 1) <= at[:, None]).astype(np.int64)
        steps.append(driver.step(sequences[np.arange(3), at][:, None], mask, at[:, None]))
    for row, length in enumerate(lengths):
        expected = oracle.logits(sequences[row, : length + new])[length - 1 :]
        found = np.stack(steps)[:, row]
        assert np.abs(found - expected).max() < tolerance * expected.std()


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_any_size(export_shape, random, name):
    directory = export_shape(HEADS[name], graph="genai")
    oracle = ReferenceGPTNeo.open(directory.parent / "checkpoint")
    decoder = json.loads((directory / "genai_config.json").read_text())["model"]["decoder"]
    driver = Driver(directory, 2)
    assert {past.shape[3] for past in driver.past.values()} == {decoder["head_size"]}
    ids = random.integers(0, SHAPE.vocab_size, (2, 30))
    mask, positions = np.ones((2, 30), np.int64), np.tile(np.arange(30), (2, 1))
    steps = [driver.step(ids[:, :20], mask[:, :20], positions[:, :20])]
    steps += [
        driver.step(ids[:, [at]], mask[:, : at + 1], positions[:, [at]]) for at in range(20, 30)
    ]
    for row in range(2):
        expected = oracle.logits(ids[row])[19:]
        found = np.stack(steps)[:, row]
        assert np.abs(found - expected).max() < 1e-4 * expected.std()


def test_the_configuration_names_the_graph_and_its_sizes(export_shape):
    directory = export_shape(SHAPE, graph=("fused", "genai"))
    model = json.loads((directory / "genai_config.json").read_text())["model"]
    decoder = model["decoder"]
    assert (model["type"], decoder["filename"]) == ("decoder", "genai.onnx")
    assert (model["vocab_size"], model["context_length"]) == (301, 64)
    assert (decoder["num_hidden_layers"], decoder["head_size"]) == (4, 16)
    assert decoder["session_options"]["session.set_denormal_as_zero"] == "1"


def test_this_runtime_refuses_it_alone(export_shape):
    with refused(
        ModelFileError, "is a genai graph, for onnxruntime-genai; export with --graph fused,g"
    ):
        GPTNeoForCausalLM.from_pretrained(export_shape(SHAPE, graph="genai"))
