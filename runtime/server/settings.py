"""What a server may be told."""

from dataclasses import dataclass, field
from pathlib import Path

from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What a server may be told.

    Attributes:
        scheduling: how each model's engine is shared.
        chat_template: a file with a chat template, for models without one.
        api_keys: keys that requests may name; without any, every request is served.
        cors_origins: origins whose pages may call the API; by default none.
        max_body_bytes: of a request's body.
        max_results: `n` and `best_of` at most.
        timeout: seconds in which a request must be finished.
        drain_seconds: how long running requests may take after SIGTERM.
    """

    scheduling: SchedulerSettings = field(default_factory=SchedulerSettings)
    chat_template: Path | None = None
    api_keys: frozenset[str] = frozenset()
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: int = 4 << 20
    max_results: int = 16
    timeout: float = 600.0
    drain_seconds: float = 30.0
