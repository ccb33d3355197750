"""Bar charts of compare.py's results. Needs matplotlib."""

from pathlib import Path

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


def draw(results: Results, path: Path) -> None:
    """Draw a panel for each figure of PANELS, the fastest engine on top."""
    titles = results["titles"]
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 0.42 * len(titles) + 1.1))
    for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
        speeds = {engine: median(results, engine, name) for engine in titles}
        order = sorted(speeds, key=lambda engine: speeds[engine])
        colours = [OURS if titles[engine].startswith("ours") else OTHERS for engine in order]
        labels = [titles[engine].removeprefix("ours ") for engine in order]
        bars = axis.barh(range(len(order)), [speeds[engine] for engine in order], color=colours)
        axis.set_yticks(range(len(order)), labels)
        axis.bar_label(bars, fmt=" %.0f", fontsize=9)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("tokens per second")
        axis.margins(x=0.12)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"GPT-Neo {results['shape']} shape, {results['threads']} threads (blue: gptneo-onnx)",
        fontsize=12,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
