"""A file of the windows scored so far, from which an interrupted measurement resumes."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.models.named_file import TooLargeError, read_file
from gptneo_onnx.runtime.evaluation.scoring import Scored
from gptneo_onnx.runtime.files import atomic_file

_MAX_BYTES = 256 * 1024 * 1024  # two million windows


@dataclass(frozen=True)
class WindowScore:
    """Sums over a window: log likelihood, tokens, and how many of them were the likeliest."""

    log_likelihood: float
    tokens: int
    greedy: int

    def checked(self) -> "WindowScore":
        """Return itself; raise ValueError unless the values have the right types and ranges."""
        counts = (self.tokens, self.greedy)
        if not (type(self.log_likelihood) is float and math.isfinite(self.log_likelihood)):
            raise ValueError
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError
        return self

    @classmethod
    def of(cls, scored: Scored) -> "WindowScore":
        return cls(
            float(scored.log_likelihoods.sum()),
            len(scored.log_likelihoods),
            int(scored.is_greedy.sum()),
        )


@dataclass
class Journal:
    """Scores by window number; with a file, each is appended to it as soon as it is known."""

    scores: dict[int, WindowScore] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def open(cls, path: str | Path, measurement: Mapping[str, Any]) -> "Journal":
        """Resume from a file, or start one.

        Args:
            path: JSON lines: first the measurement, then one line for each window.
            measurement: identifies what is measured; a file of another measurement is refused.

        Raises:
            InputError: the file cannot be read or written, or is of another measurement.
        """
        path = Path(path)
        try:
            content = read_file(path, _MAX_BYTES) if path.exists() else b""
            lines = content.decode("utf-8").splitlines()
            scores = _read_scores(lines, dict(measurement), path)
            # Rewritten: an interruption may have left half of the last line.
            complete = [dict(measurement), *(_line(*item) for item in scores.items())]
            with atomic_file(path, "w") as file:
                file.writelines(json.dumps(line) + "\n" for line in complete)
        except (OSError, TooLargeError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{path} cannot be used to resume: {reason}; name another") from error
        return cls(scores, path)

    def add(self, number: int, score: WindowScore) -> None:
        """Remember the score of a window, and append it to the file.

        Raises:
            InputError: the file cannot be written.
        """
        self.scores[number] = score
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_line(number, score)) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written: {error.strerror}; make room, and resume from it"
            ) from error


def _line(number: int, score: WindowScore) -> dict[str, Any]:
    return {"window": number, **asdict(score)}


def _read_scores(
    lines: list[str], measurement: dict[str, Any], path: Path
) -> dict[int, WindowScore]:
    if not lines:
        return {}
    try:
        if json.loads(lines[0]) != measurement:
            raise ValueError
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is of another measurement (another model, text or option); name another file"
        ) from error
    scores = {}
    for line in lines[1:]:
        try:
            values = json.loads(line)
            number = int(values.pop("window"))
            scores[number] = WindowScore(**values).checked()
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            break  # the line that was being written at the interruption
    return scores
