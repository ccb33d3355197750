"""Looks for inputs that crash, hang or surprise the readers of files.

    make fuzz [SECONDS_EACH=3600] [TARGETS="graph tokenizer"]
    python tests/fuzz/run.py [NAME ...] [--seconds 60] [--jobs 2] [--seed N | --seed fresh]

Each target runs in separate processes, under limits of memory and time. What fails is written to
build/fuzz/NAME/ with a traceback: mend it, and move the input to tests/fuzz/corpus/NAME/. Prints
what was run as a table. The status is 1 if anything failed.

Without atheris a seed always draws the same inputs: so CI runs it.
"""

import argparse
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).parent.parent / "support"
sys.path.insert(0, str(SUPPORT))

from fuzzing import target_names  # noqa: E402
from tqdm import tqdm  # noqa: E402

_MAX_CRASHES = 20


@dataclass
class Campaign:
    """The runs of one target.

    Attributes:
        folder: where what failed is written.
        inputs, refused, slowest, peak_bytes: as fuzz_worker.Figures has them, over all processes.
    """

    name: str
    folder: Path
    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    peak_bytes: int = 0

    def run(self, seconds: float, seed: int) -> "Campaign":
        """Draw inputs for that long; a process that ends too early is followed by another."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        end = time.monotonic() + seconds
        for attempt in range(_MAX_CRASHES):
            left = end - time.monotonic()
            if left <= 0:
                break
            self._run_process("--seconds", f"{left:.0f}", "--seed", str(seed + attempt))
        return self

    def _run_process(self, *options: str) -> None:
        command = [sys.executable, str(SUPPORT / "fuzz_worker.py"), self.name, str(self.folder)]
        # Sets in one order, so that a seed draws the same inputs again.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        process = subprocess.run([*command, *options], capture_output=True, env=environment)
        self._add_figures()
        if process.returncode:
            data = (self.folder / "current").read_bytes()
            name = f"crash-{hashlib.sha256(data).hexdigest()[:12]}"
            (self.folder / name).write_bytes(data)
            report = f"status {process.returncode}\n".encode() + process.stderr[-20_000:]
            (self.folder / f"{name}.txt").write_bytes(report)

    def _add_figures(self) -> None:
        path = self.folder / "figures.json"
        if path.exists():
            figures = json.loads(path.read_text())
            path.unlink()
            self.inputs += figures["inputs"]
            self.refused += figures["refused"]
            self.slowest = max(self.slowest, figures["slowest"])
            self.peak_bytes = max(self.peak_bytes, figures["peak_bytes"])

    @property
    def failed(self) -> list[Path]:
        """The inputs that failed."""
        found = [*self.folder.glob("found-*"), *self.folder.glob("crash-*")]
        return sorted(path for path in found if path.suffix != ".txt")


def table(campaigns: list[Campaign]) -> str:
    """Return what was run as a Markdown table."""
    lines = [
        "| reader | inputs | refused | slowest | memory | failed |",
        "|---|---|---|---|---|---|",
    ]
    for campaign in sorted(campaigns, key=lambda campaign: campaign.name):
        lines.append(
            f"| {campaign.name} | {campaign.inputs:,} | {campaign.refused:,} | "
            f"{campaign.slowest:.1f} s | {campaign.peak_bytes / 1e6:.0f} MB | "
            f"{len(campaign.failed)} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    names = target_names()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--seed", default="20210321", help="a number, or fresh")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; {', '.join(names)}")
    seed = secrets.randbelow(2**31) if options.seed == "fresh" else int(options.seed)
    print(f"seed {seed}, {options.seconds:.0f} s each", file=sys.stderr)
    campaigns = [Campaign(name, options.folder / name) for name in options.names or names]
    with ThreadPoolExecutor(options.jobs) as pool, tqdm(total=len(campaigns)) as bar:
        running = [pool.submit(campaign.run, options.seconds, seed) for campaign in campaigns]
        for done in as_completed(running):
            bar.set_postfix_str(done.result().name)
            bar.update()
    print(table(campaigns))
    failed = [path for campaign in campaigns for path in campaign.failed]
    for path in failed:
        print(f"failed: {path}; {path}.txt says how", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
