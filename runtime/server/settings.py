"""What a server may be told."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What a server may be told.

    Attributes:
        scheduling: how each model's engine is shared.
        chat_template: a file with a chat template, for models without one; the command gives it to
            all of its models.
        api_keys: keys that requests may name; without any, every request is served.
        cors_origins: origins whose pages may call the API; by default none.
        max_body_bytes: of a request's body.
        body_seconds: in which the whole body must have arrived.
        max_json_depth: lists and objects within each other in a body.
        max_results: `n` and `best_of` at most.
        max_concurrent_per_key: requests of one key at the same time; 0 for any number.
        timeout: seconds in which a request must be finished.
        drain_seconds: how long running requests may take after SIGTERM.
        root_path: under which path a proxy shows the server.

    Raises:
        InputError: a value is out of range.
    """

    scheduling: SchedulerSettings = field(default_factory=SchedulerSettings)
    chat_template: Path | None = None
    api_keys: frozenset[str] = frozenset()
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 4 << 20
    body_seconds: float = 30.0
    max_json_depth: int = 64
    max_results: int = 16
    max_concurrent_per_key: int = 0
    timeout: float = 600.0
    drain_seconds: float = 30.0
    root_path: str = ""

    def __post_init__(self) -> None:
        for name, least in _LEAST_WHOLE.items():
            _check_whole(name, getattr(self, name), least)
        for name in ("body_seconds", "timeout"):
            _check_seconds(name, getattr(self, name), may_be_zero=False)
        _check_seconds("drain_seconds", self.drain_seconds, may_be_zero=True)


_LEAST_WHOLE = {
    "max_body_bytes": 1,
    "max_json_depth": 1,
    "max_results": 1,
    "max_concurrent_per_key": 0,
}


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {shown(value)}; a whole number of at least {least} is allowed")


def _check_seconds(name: str, value: Any, may_be_zero: bool) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
        bound = "of at least 0" if may_be_zero else "above 0"
        raise InputError(f"{name} is {shown(value)}; a number of seconds {bound} is allowed")
