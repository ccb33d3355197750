"""A chart of serve.py's results: throughput and waiting by the number of clients. Needs matplotlib.

python benchmarks/serving/chart.py OUT.png RESULTS.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

OURS = ("#1f6f8b", "#17594a", "#7fb3a3", "#a9c6bd")
OTHERS = ("#8a8a8a", "#b06a3b", "#b8b8b8", "#c9a227", "#9a7fb0")


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw a line for each server: tokens a second, and seconds to the first token."""
    figure, (speed, wait) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    colours = {True: iter(OURS), False: iter(OTHERS)}
    for server in results["servers"].values():
        runs = {int(count): run for count, run in server["clients"].items() if "first_token" in run}
        title = server["title"]
        style = {"marker": "o", "label": title, "color": next(colours[title.startswith("ours")])}
        speed.plot([*runs], [run["tokens_per_second"] for run in runs.values()], **style)
        wait.plot([*runs], [run["first_token"]["p95"] for run in runs.values()], **style)
    speed.set_title("Throughput, tokens a second", fontsize=11)
    wait.set_title("Seconds to the first token, p95", fontsize=11)
    speed.set_ylim(bottom=0)
    wait.set_yscale("log")
    for axis in (speed, wait):
        axis.set_xlabel("clients")
        axis.set_xscale("log", base=2)
        ticks = sorted({int(n) for each in results["servers"].values() for n in each["clients"]})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    speed.legend(frameon=False, fontsize=9)
    figure.suptitle(
        f"GPT-Neo {results['shape']} shape, {results['threads']} threads, {results['processor']}"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[1]))
