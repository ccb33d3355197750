"""Bar charts of compare.py's results: a row of panels for each machine. Needs matplotlib.

python benchmarks/charts.py OUT.png RESULTS.json [RESULTS.json ...]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from tables import Results, median

matplotlib.use("Agg")

import matplotlib.pyplot as plt

PANELS = {
    "prefill_1024": "Prefill, 1024 tokens",
    "decode_128": "Decode, one sequence",
    "decode_batch_16": "Decode, batch of 16",
}
OURS, OTHERS = "#1f6f8b", "#b8b8b8"


def draw(machines: Sequence[Results], path: Path) -> None:
    """Draw a panel for each figure of PANELS and each machine, the fastest engine on top."""
    heights = [0.42 * len(results["titles"]) + 1.1 for results in machines]
    figure = plt.figure(figsize=(13, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(machines), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, results in zip(rows, machines, strict=True):
        row.suptitle(
            f"GPT-Neo {results['shape']} shape, {results['threads']} threads, "
            f"{results['processor']} (blue: gptneo-onnx)",
            fontsize=12,
        )
        for axis, name in zip(row.subplots(1, len(PANELS)), PANELS, strict=True):
            _draw_panel(axis, results, name)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_panel(axis: Any, results: Results, name: str) -> None:
    titles = results["titles"]
    speeds = {engine: median(results, engine, name) for engine in titles}
    order = sorted(speeds, key=lambda engine: speeds[engine])
    colours = [OURS if titles[engine].startswith("ours") else OTHERS for engine in order]
    labels = [titles[engine].removeprefix("ours ") for engine in order]
    bars = axis.barh(range(len(order)), [speeds[engine] for engine in order], color=colours)
    axis.set_yticks(range(len(order)), labels)
    axis.bar_label(bars, fmt=" %.0f", fontsize=9)
    axis.set_title(PANELS[name], fontsize=11)
    axis.set_xlabel("tokens per second")
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    out, *paths = map(Path, sys.argv[1:])
    draw([json.loads(each.read_text()) for each in paths], out)
