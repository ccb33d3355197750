"""Draw the loss curve of the embedded model, models/tiny. Needs matplotlib.

    python examples/train_tiny/plot.py OUT/training.json PNG

train.py writes training.json beside the checkpoint.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def main(training: Path, picture: Path) -> None:
    curve = json.loads(training.read_text())["curve"]
    tokens = [seen / 1e6 for seen, _, _ in curve]
    figure, losses = plt.subplots(figsize=(7, 4), dpi=110)
    bits = losses.twinx()
    (left,) = losses.plot(tokens, [loss for _, loss, _ in curve], "o-", color="tab:blue")
    (right,) = bits.plot(tokens, [bpb for _, _, bpb in curve], "s-", color="tab:red")
    losses.set_xlabel("tokens seen (millions)")
    losses.set_ylabel("training loss (nats per token)", color="tab:blue")
    bits.set_ylabel("Persuasion, never seen (bits per byte)", color="tab:red")
    losses.legend([left, right], ["training loss", "held-out bits per byte"])
    losses.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
