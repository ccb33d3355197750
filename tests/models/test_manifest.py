"""gptneo_onnx.json: what is written is read again, and nothing else."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.models.graph import DataType, NumberFormat, Precision
from gptneo_onnx.models.manifest import FORMAT_VERSION, FileRecord, Manifest, sha256_of
from gptneo_onnx.models.tasks import Task

DIGEST = "0123456789abcdef" * 4
MANIFEST = Manifest(
    "fused",
    NumberFormat.of(Precision.FP16),
    21,
    "1.30.0",
    {"model.onnx": FileRecord(5, DIGEST)},
    (0, 12),
)


def values(**changes: Any) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "task": "text-generation-with-past",
        "graph": "fused",
        "precision": "fp16",
        "activations": "float16",
        "reduce_range": False,
        "opset": 21,
        "hidden_states": [0, 12],
        "least_onnx_runtime": "1.30.0",
        "files": {"model.onnx": {"size": 5, "sha256": DIGEST}},
    } | changes


def refused(directory: Path, match: str, **changes: Any) -> None:
    (directory / "gptneo_onnx.json").write_text(json.dumps(values(**changes)))
    with pytest.raises(ModelFileError, match=match) as caught:
        Manifest.read(directory)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(directory)) + 300


def refused_file(directory: Path, match: str, name: str, record: Any) -> None:
    refused(directory, match, files={name: record})


def test_other_precisions_are_read_as_they_were_written(tmp_path: Path) -> None:
    others = NumberFormat.of(Precision.W8A8), NumberFormat.of(Precision.INT4, DataType.FLOAT16)
    files = {
        name: FileRecord(5, DIGEST)
        for name in ("model.onnx", "portable.onnx", "model.w8a8.onnx", "model.int4.onnx")
    }
    manifest = replace(MANIFEST, other_numbers=others, files=files)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert {name: (each.kind, each.numbers) for name, each in manifest.graphs.items()} == {
        "model.onnx": ("fused", MANIFEST.numbers),
        "portable.onnx": ("portable", MANIFEST.numbers),
        "model.w8a8.onnx": ("fused", others[0]),
        "model.int4.onnx": ("fused", others[1]),
    }
    assert manifest.weights_files == (
        "model.onnx_data", "model.w8a8.onnx_data", "model.int4.onnx_data",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("others", "match"),
    [
        ("int4", "other_precisions must be a list of number formats"),
        (["int4"], "other_precisions must be a list of number formats"),
        ([{"precision": "fp16"}], "other_precisions must name each precision once"),
        ([{"precision": "int4"}, {"precision": "int4"}], "must name each precision once"),
        ([{"precision": "int3"}], "precision is 'int3'; one of fp32"),
        ([{"precision": "w8a8", "activations": "float16"}], "activations is 'float16'; one of"),
        ([{}], "precision is None; one of"),
    ],
    ids=str,
)
def test_other_precisions_that_there_are_not(tmp_path: Path, others: Any, match: str) -> None:
    refused(tmp_path, match, other_precisions=others)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert Manifest.read(tmp_path) == MANIFEST
    assert json.loads((tmp_path / "gptneo_onnx.json").read_text()) == values()


@pytest.mark.parametrize("task", Task)
def test_the_task_is_read_as_it_is_written(tmp_path: Path, task: Task) -> None:
    replace(MANIFEST, task=task).write(tmp_path)
    assert Manifest.read(tmp_path).task is task


def test_without_a_task_a_model_generates_text(tmp_path: Path) -> None:
    older = values()
    del older["task"]
    (tmp_path / "gptneo_onnx.json").write_text(json.dumps(older))
    assert Manifest.read(tmp_path) == MANIFEST


@pytest.mark.parametrize("task", ["fill-mask", "", None, 3, ["text-generation"], {}])
def test_an_unknown_task_is_refused(tmp_path: Path, task: Any) -> None:
    refused(tmp_path, "task is .*; one of text-generation-with-past, .* is allowed", task=task)


def test_without_activations_they_are_the_precisions_own(tmp_path: Path) -> None:
    """As exports were before other ones could be chosen."""
    older = values(precision="bf16")
    del older["activations"]
    (tmp_path / "gptneo_onnx.json").write_text(json.dumps(older))
    assert Manifest.read(tmp_path).numbers == NumberFormat.of(Precision.BF16)


@pytest.mark.parametrize("missing", [["reduce_range"], ["activations", "reduce_range"]])
def test_without_reduce_range_weights_have_full_range(tmp_path: Path, missing: list[str]) -> None:
    """As exports were before weights of 7 bits, which w8a8 has by default now."""
    older = values(precision="w8a8", activations="float32")
    for name in missing:
        del older[name]
    (tmp_path / "gptneo_onnx.json").write_text(json.dumps(older))
    numbers = Manifest.read(tmp_path).numbers
    assert (numbers.precision, numbers.activations) == (Precision.W8A8, DataType.FLOAT32)
    assert not numbers.reduce_range


@pytest.mark.parametrize("reduce_range", [True, False])
def test_reduce_range_is_read_as_it_is_written(tmp_path: Path, reduce_range: bool) -> None:
    numbers = replace(NumberFormat.of(Precision.W8A8), reduce_range=reduce_range)
    replace(MANIFEST, numbers=numbers).write(tmp_path)
    assert json.loads((tmp_path / "gptneo_onnx.json").read_text())["reduce_range"] is reduce_range
    assert Manifest.read(tmp_path).numbers == numbers


def test_without_hidden_states_none_were_asked_for(tmp_path: Path) -> None:
    older = values()
    del older["hidden_states"]
    (tmp_path / "gptneo_onnx.json").write_text(json.dumps(older))
    assert Manifest.read(tmp_path).hidden_states == ()


@pytest.mark.parametrize("value", [None, 1, "all", [-1], [True], ["0"], [1.0], [1025], [2, 2]])
def test_hidden_states_are_layers_each_once(tmp_path: Path, value: Any) -> None:
    refused(tmp_path, "hidden_states is .*; a list of layers, each once", hidden_states=value)


@pytest.mark.parametrize(
    ("precision", "activations"), [("fp16", "float32"), ("w8a8", "float16"), ("int8", "int8")]
)
def test_activations_that_the_precision_has_not_are_refused(
    tmp_path: Path, precision: str, activations: str
) -> None:
    refused(tmp_path, "activations is .*; one of", precision=precision, activations=activations)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_reduce_range_is_true_or_false(tmp_path: Path, value: Any) -> None:
    refused(tmp_path, "reduce_range is .*; true or false is allowed", reduce_range=value)


def test_a_directory_without_one_is_no_exported_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"it has no gptneo_onnx.json; .*gptneo-onnx export"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("version", [0, 2, 99, -1, True, 1.0, "1", None, [1], 10**400])
def test_another_format_version_is_refused(tmp_path: Path, version: Any) -> None:
    refused(
        tmp_path,
        "format_version is .*; this version reads 1: export .* again, or update gptneo-onnx",
        format_version=version,
    )


@pytest.mark.parametrize("graph", ["", "FUSED", "other", None, 1, True, ["fused"], {}, "x" * 9999])
def test_an_unknown_graph_is_refused(tmp_path: Path, graph: Any) -> None:
    refused(tmp_path, "graph is .*; one of fused.* is allowed", graph=graph)


@pytest.mark.parametrize("precision", ["", "FP16", "float16", None, 16, ["fp16"], {}, "x" * 9999])
def test_an_unknown_precision_is_refused(tmp_path: Path, precision: Any) -> None:
    refused(tmp_path, "precision is .*; one of fp32, .* is allowed", precision=precision)


@pytest.mark.parametrize("opset", [-1, True, 21.0, "21", None, float("nan")])
def test_an_opset_that_is_no_number_is_refused(tmp_path: Path, opset: Any) -> None:
    refused(tmp_path, "opset is .*; a whole number is allowed", opset=opset)


@pytest.mark.parametrize(
    "version",
    [
        *("", "1", "1.", "1.30.0.0.0", "1.30.x", "v1.30", "1.30.0\n", "-1.3", "1.999999999"),
        *("\u0661.\u0663", 1.30, None, True, ["1.30"]),
    ],
)
def test_a_runtime_version_that_is_none_is_refused(tmp_path: Path, version: Any) -> None:
    refused(
        tmp_path,
        "least_onnx_runtime is .*; a version such as 1.30.0",
        least_onnx_runtime=version,
    )


@pytest.mark.parametrize("files", [None, [], "model.onnx", 1])
def test_files_must_be_an_object(tmp_path: Path, files: Any) -> None:
    refused(tmp_path, "files must map at most 64 names to size and sha256", files=files)


def test_more_files_than_any_model_has_are_refused(tmp_path: Path) -> None:
    record = {"size": 1, "sha256": DIGEST}
    refused(tmp_path, "at most 64 names", files={f"file{i}": record for i in range(65)})


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../model.onnx",
        "/etc/passwd",
        "a/b",
        "a/",
        "./a",
        "a\\b",
        "..\\a",
        "C:a",
        "model.onnx:stream",
        ".hidden",
        "a\0b",
        "a\nb",
        "-rf",
        "a b",
        "\u202egnp.exe",
        "\ud800",
        "x" * 201,
        "gptneo_onnx.json",
    ],
)
def test_a_name_that_is_not_plain_is_refused(tmp_path: Path, name: str) -> None:
    record = {"size": 1, "sha256": DIGEST}
    refused_file(tmp_path, "is not a plain file name", name, record)


@pytest.mark.parametrize("record", [None, [], "x", 5])
def test_a_record_must_be_an_object(tmp_path: Path, record: Any) -> None:
    refused_file(tmp_path, "the record of a must hold size and sha256", "a", record)


@pytest.mark.parametrize(
    "digest", [None, 1, "", DIGEST[1:], DIGEST + "0", DIGEST.upper(), DIGEST[1:] + "\n", [DIGEST]]
)
def test_a_digest_that_is_none_is_refused(tmp_path: Path, digest: Any) -> None:
    record = {"size": 1, "sha256": digest}
    refused_file(tmp_path, "sha256 of a is .*; 64 hexadecimal digits", "a", record)


@pytest.mark.parametrize("size", [None, -1, True, 1.0, "1", float("inf")])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: Any) -> None:
    record = {"size": size, "sha256": DIGEST}
    refused_file(tmp_path, "size is .*; a whole number is allowed", "a", record)


@pytest.mark.parametrize("name", ["format_version", "graph", "precision", "opset", "files"])
def test_every_field_is_needed(tmp_path: Path, name: str) -> None:
    content = values()
    del content[name]
    (tmp_path / "gptneo_onnx.json").write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match=name):
        Manifest.read(tmp_path)


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "at most 1048576 are read", padding="x" * 2**20)


def test_the_digest_of_a_file_is_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8193  # more than is read at once
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_fingerprint_of_an_export(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, made_from=DIGEST)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    MANIFEST.write(tmp_path)  # as older exports
    assert Manifest.read(tmp_path).made_from is None
    for wrong in ("", "x" * 64, None, 7):
        refused(tmp_path, "made_from is .*; 64 hexadecimal digits are allowed", made_from=wrong)
