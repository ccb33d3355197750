"""This project beside its peers, PyTorch to OpenVINO, on one machine in one run.

    make benchmark                          # the environments, then this with its defaults
    python benchmarks/compare.py [--shape 1.3B] [--rounds 3] [--engines NAME ...]

Writes a random checkpoint of a published shape and exports it with every engine. In each round each
engine runs in turn, in a process of its own and with the same threads; its figures are compared
with those of the same round. The tables and charts go to FOLDER/compare-SHAPE.md, .json and .png.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from charts import draw
from machine import limits
from random_checkpoint import SHAPES, write_random_checkpoint
from tables import written
from tqdm import tqdm

MEASURE = Path(__file__).parent / "engines/measure.py"
PEERS = ".venv-peers/bin/python"
GENAI = "build/genai/bin/python"
OPENVINO = "build/peer-openvino/bin/python"


@dataclass(frozen=True)
class Contestant:
    """An engine with weights of one kind.

    Attributes:
        title: in tables.
        engine: of benchmarks/engines.
        format: what its export() takes besides the checkpoint; None runs the checkpoint itself.
        python: of the environment that it is installed in.
    """

    title: str
    engine: str
    format: str | None
    python: str


CONTESTANTS = {
    "fp32": Contestant("ours fp32", "gptneo_onnx", "fp32", sys.executable),
    "int8": Contestant("ours int8", "gptneo_onnx", "int8", sys.executable),
    "w8a8": Contestant("ours w8a8", "gptneo_onnx", "w8a8", sys.executable),
    "int4": Contestant("ours int4", "gptneo_onnx", "int4", sys.executable),
    "pytorch": Contestant("PyTorch fp32", "pytorch", None, PEERS),
    "optimum": Contestant("Optimum + ONNX Runtime fp32", "optimum", "", PEERS),
    "genai": Contestant("onnxruntime-genai fp32", "genai", "fp32", GENAI),
    "genai8": Contestant("onnxruntime-genai int8", "genai", "int8", GENAI),
    "genai4": Contestant("onnxruntime-genai int4", "genai", "int4", GENAI),
    "openvino8": Contestant("OpenVINO int8", "openvino", "8", OPENVINO),
    "openvino4": Contestant("OpenVINO int4", "openvino", "4", OPENVINO),
}


def run(contestant: Contestant, directory: Path, *arguments: str) -> dict[str, float]:
    """What measure.py finds, in a process of its own."""
    command = [contestant.python, str(MEASURE), contestant.engine, str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def prepared(
    name: str, contestant: Contestant, checkpoint: Path, folder: Path
) -> tuple[Path, dict[str, float]]:
    """The directory that the contestant loads, and what making it cost: kept from run to run."""
    if contestant.format is None:
        return checkpoint, {}
    out = folder / f"{checkpoint.name}-{name}"
    record = out.with_suffix(out.suffix + ".export.json")
    if not record.exists():
        arguments = [str(checkpoint), *filter(None, [contestant.format])]
        record.write_text(json.dumps(run(contestant, out, "--export", *arguments)))
    return out, json.loads(record.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1.3B")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    options = parser.parse_args()
    checkpoint = options.folder / f"random-{options.shape}"
    if not (checkpoint / "model.safetensors").exists():
        write_random_checkpoint(checkpoint, options.shape)
    chosen = {name: CONTESTANTS[name] for name in options.engines}
    exports = {}
    directories = {}
    for name, contestant in tqdm(chosen.items(), desc="exports"):
        directories[name], exports[name] = prepared(name, contestant, checkpoint, options.folder)
    rounds = []
    with tqdm(total=options.rounds * len(chosen), desc="measurements") as bar:
        for _ in range(options.rounds):
            found: dict[str, dict[str, float]] = {"machine": limits(options.threads)}
            for name, contestant in chosen.items():
                bar.set_postfix_str(contestant.title)
                threads = ("--threads", str(options.threads))
                found[name] = run(contestant, directories[name], *threads)
                bar.update()
            rounds.append(found)
    weights = {name: weight_bytes(directory) for name, directory in directories.items()}
    results = {
        "shape": options.shape,
        "threads": options.threads,
        "titles": {name: each.title for name, each in chosen.items()},
        "weight_bytes": weights,
        "prefill_operations": prefill_operations(checkpoint),
        "exports": exports,
        "rounds": rounds,
    }
    stem = options.folder / f"compare-{options.shape}"
    stem.with_suffix(stem.suffix + ".json").write_text(json.dumps(results, indent=1))
    text = written(results)
    stem.with_suffix(stem.suffix + ".md").write_text(text)
    draw(results, stem.with_suffix(stem.suffix + ".png"))
    print(text)


def prefill_operations(checkpoint: Path) -> int:
    """Of a token of a prompt, in the blocks' linear layers; attention is not counted."""
    config = json.loads((checkpoint / "config.json").read_text())
    return 2 * 12 * int(config["hidden_size"]) ** 2 * int(config["num_layers"])


def weight_bytes(directory: Path) -> int:
    """Of the file that holds the weights, the largest."""
    return max(path.stat().st_size for path in directory.iterdir() if path.is_file())


if __name__ == "__main__":
    main()
