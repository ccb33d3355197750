"""What a report says of two compared models besides their figures: files, devices and versions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

from gptneo_onnx.models.graph import ACTIVATION_NAMES
from gptneo_onnx.models.units import readable_size
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.model_files.stored_size import stored_bytes

_UNKNOWN = "not recorded"


def about_models(first: Engine, second: Engine) -> list[tuple[str, str, str]]:
    """Return (fact, that of the first model, that of the second), formatted to be read."""
    return list(zip(_FACTS, _facts(first), _facts(second), strict=True))


def about_run(now: datetime | None = None) -> list[str]:
    """Return the date of a run, by default of this moment, and the versions that it uses."""
    import onnxruntime

    now = datetime.now(UTC) if now is None else now
    try:
        version = metadata.version("gptneo-onnx")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    return [_date(now), f"gptneo-onnx {version}", f"ONNX Runtime {onnxruntime.__version__}"]


_FACTS = ("graph", "precision", "size on disk", "written", "device", "provider")


def _facts(engine: Engine) -> Sequence[str]:
    """Return the values of _FACTS.

    Only exports of this project record their precision. The date is that of the newest file.
    """
    directory, device = engine.directory, engine.device
    files = directory.files
    precision = _UNKNOWN
    if directory.manifest is not None:
        numbers = directory.manifest.graphs[files[0].name].numbers
        precision = (
            f"{numbers.precision.value}, {ACTIVATION_NAMES[numbers.activations]} activations"
        )
    written = max(file.stat().st_mtime for file in files)
    return (
        str(files[0].relative_to(directory.path)),
        precision,
        readable_size(stored_bytes(directory)),
        _date(datetime.fromtimestamp(written, UTC)),
        str(device),
        device.provider,
    )


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
