"""The embedded model: its checkpoint comes with the package, its export is made on first use."""

from pathlib import Path


def embedded_model() -> Path:
    """Return the directory of its float32 export; export it into the cache folder if it is missing.

    Raises:
        MissingDependencyError: it must be exported first, and the `export` extra is not installed.
    """
    from gptneo_onnx.runtime.on_demand_export import embedded_export  # needs ONNX Runtime

    return embedded_export()
