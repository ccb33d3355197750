"""Exports give the hidden states of the layers that are asked for, and no others."""

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from refusals import refused

from gptneo_onnx.export import export_model
from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.manifest import Manifest
from gptneo_onnx.runtime.cli.main import main

SHAPE = Shape(layers=("global", "local", "local"))
GRAPHS = ("fused", "portable", "genai")


def outputs(directory, file_name):
    """Return the names of outputs that are neither logits nor caches."""
    graph = onnx.load(directory / file_name, load_external_data=False).graph
    names = [value.name for value in graph.output]
    return [name for name in names if name != "logits" and not name.startswith("present")]


@pytest.mark.parametrize(
    ("hidden_states", "fused", "portable"),
    [
        (None, ["hidden_states"], []),
        ([-1], ["hidden_states"], ["last_hidden_state"]),
        ([2, 0], ["hidden_states.0", "hidden_states.2", "hidden_states"], [0, 2]),
        ((-2, -2, 2), ["hidden_states.2", "hidden_states"], [2]),
        ([], ["hidden_states"], []),
        (range(2), ["hidden_states.0", "hidden_states.1", "hidden_states"], [0, 1]),
        (np.array([1]), ["hidden_states.1", "hidden_states"], [1]),
        (-1, ["hidden_states"], ["last_hidden_state"]),
        ("all", [*(f"hidden_states.{i}" for i in range(3)), "hidden_states"], [0, 1, 2, 3]),
    ],
)
def test_graphs_give_what_is_asked_for(export_shape, hidden_states, fused, portable):
    directory = export_shape(SHAPE, graph=GRAPHS, hidden_states=hidden_states)
    names = {3: "last_hidden_state", **{layer: f"hidden_states.{layer}" for layer in range(3)}}
    assert outputs(directory, "model.onnx") == fused
    assert outputs(directory, "portable.onnx") == [names.get(each, each) for each in portable]
    assert outputs(directory, "genai.onnx") == []


def test_the_manifest_says_which(export_shape):
    assert Manifest.read(export_shape(SHAPE, hidden_states=[-1, 1])).hidden_states == (1, 3)


@pytest.mark.parametrize("layers", [[4], [-5], ["1"], [True], [1.0], 9, [None], [10**40]])
def test_a_layer_that_does_not_exist_is_refused(tmp_path, random, layers):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", SHAPE, random)
    with refused(InputError, r"layer is .*; 0 \(the embeddings\) to 3 \(after the last"):
        export_model(checkpoint, tmp_path / "out", hidden_states=layers)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [{"graph": "genai"}, {"graph": "portable", "exporter": "optimum"}]
)
def test_graphs_without_hidden_states_are_refused(tmp_path, random, options, monkeypatch):
    monkeypatch.setattr("gptneo_onnx.export.arguments.find_spec", lambda _: True)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", SHAPE, random)
    with refused(InputError, "hidden_states is for graphs fused and portable by exporter direct"):
        export_model(checkpoint, tmp_path / "out", hidden_states="all", **options)


def test_the_command_line_reads_numbers(tmp_path, random, capsys):
    checkpoint = write_checkpoint(tmp_path / "checkpoint", SHAPE, random)
    command = ["export", str(checkpoint), str(tmp_path / "out")]
    assert main([*command, "--hidden-states=-2,0"]) == 0
    assert Manifest.read(tmp_path / "out").hidden_states == (0, 2)
    assert main([*command, "--hidden-states", "all", "--force"]) == 0
    assert Manifest.read(tmp_path / "out").hidden_states == (0, 1, 2, 3)
    capsys.readouterr()
    assert main([*command, "--hidden-states", "7"]) == 2
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--hidden-states", "last"])
    first, second = capsys.readouterr().err.splitlines()
    assert "layer is 7; 0 (the embeddings) to 3" in first
    assert "invalid value: 'last' (all, or numbers of layers with commas between them)" in second
