"""gptneo_onnx.json, the manifest of an export."""

import functools
import tempfile
from pathlib import Path

from fuzzing import Target, mutate_json

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.manifest import MANIFEST_FILE, Manifest


@functools.cache
def seeds() -> list[bytes]:
    manifests = []
    for precision, graph in (("int4", "fused"), ("int8", "portable")):
        with tempfile.TemporaryDirectory() as folder:
            out = export_model(
                EMBEDDED_CHECKPOINT, Path(folder) / "out", precision=precision, graph=graph
            )
            manifests.append((out / MANIFEST_FILE).read_bytes())
    return manifests


def run(data: bytes, folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(data)
    Manifest.read(folder)


TARGET = Target(seeds, run, mutate_json)
