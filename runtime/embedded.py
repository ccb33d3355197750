"""The embedded model: its checkpoint comes with the package, its export is made on first use."""

from pathlib import Path

from gptneo_onnx.models.embedded import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.manifest import FORMAT_VERSION, MANIFEST_FILE, sha256_of
from gptneo_onnx.runtime.files import cache_folder


def embedded_model() -> Path:
    """Return the directory of its float32 export; export it into the cache folder if it is missing.

    Raises:
        MissingDependencyError: it must be exported first, and the `export` extra is not installed.
    """
    weights = sha256_of(EMBEDDED_CHECKPOINT / "model.safetensors")
    out = cache_folder() / f"embedded-{FORMAT_VERSION}-{weights[:12]}"
    if not (out / MANIFEST_FILE).is_file():
        from gptneo_onnx.export import export_model

        export_model(EMBEDDED_CHECKPOINT, out)
    return out
