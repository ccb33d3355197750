"""Speed and memory of this project beside its peers, from PyTorch to llama.cpp, in one run.

    make benchmark                          # makes the environments, then runs this with defaults
    python benchmarks/compare.py [--shape 1.3B] [--rounds 3] [--threads 2] [--engines NAME ...]

Writes a random checkpoint of a published shape and exports it for every engine. In each round the
engines run in turn, each in its own process with the same number of threads; their figures are
compared with those of the same round. The tables and charts are written to
FOLDER/compare-SHAPE.md, .json and .png.

Needs the environments that `make benchmark` makes, and matplotlib; an engine whose environment is
missing is left out. At 1.3B all engines take 44
minutes on two cores and 30 GB of disk; `--shape 125M --engines w8a8 openvino8` is a quick check.
Exports are kept from run to run.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from charts import draw
from machine import limits, processor
from random_checkpoint import SHAPES, write_random_checkpoint
from tables import tables
from tqdm import tqdm

MEASURE = Path(__file__).parent / "engines/measure.py"
PEERS = ".venv-peers/bin/python"
GENAI = "build/genai/bin/python"
OPENVINO = "build/peer-openvino/bin/python"
LLAMA_CPP = "build/llama-cpp/bin/python"


@dataclass(frozen=True)
class Contestant:
    """An engine, with weights of one format.

    Attributes:
        title: its name in tables.
        engine: NAME of benchmarks/engines/NAME_engine.py.
        format: the argument of its export() after the checkpoint and the directory, "" for none;
            None runs the checkpoint itself.
        python: the interpreter of the environment that it is installed in.
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
    "llama": Contestant("llama.cpp F32, as GPT-2", "llama_cpp", "F32", LLAMA_CPP),
    "llama8": Contestant("llama.cpp Q8_0, as GPT-2", "llama_cpp", "Q8_0", LLAMA_CPP),
    "llama4": Contestant("llama.cpp Q4_0, as GPT-2", "llama_cpp", "Q4_0", LLAMA_CPP),
}


def is_installed(name: str) -> bool:
    """Return whether a contestant's environment is there; say so where it is not."""
    python = CONTESTANTS[name].python
    if not Path(python).exists():
        print(
            f"{name} is left out: {python} is missing; `make benchmark` makes it", file=sys.stderr
        )
        return False
    return True


def run(contestant: Contestant, directory: Path, *arguments: str) -> dict[str, float]:
    """Run measure.py in its own process, and return the figures that it prints."""
    command = [contestant.python, str(MEASURE), contestant.engine, str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def prepare(
    name: str, contestant: Contestant, checkpoint: Path, folder: Path
) -> tuple[Path, dict[str, float]]:
    """Return the directory that a contestant loads, and the cost of its export.

    Exports are kept from run to run, with what they cost.
    """
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
    chosen = {name: CONTESTANTS[name] for name in options.engines if is_installed(name)}
    exports = {}
    directories = {}
    for name, contestant in tqdm(chosen.items(), desc="exports"):
        directories[name], exports[name] = prepare(name, contestant, checkpoint, options.folder)
    rounds = []
    with tqdm(total=options.rounds * len(chosen), desc="measurements") as bar:
        for _ in range(options.rounds):
            figures: dict[str, dict[str, float]] = {"machine": limits(options.threads)}
            for name, contestant in chosen.items():
                bar.set_postfix_str(contestant.title)
                threads = ("--threads", str(options.threads))
                figures[name] = run(contestant, directories[name], *threads)
                bar.update()
            rounds.append(figures)
    weights = {name: weight_bytes(directory) for name, directory in directories.items()}
    results = {
        "shape": options.shape,
        "threads": options.threads,
        "processor": processor(),
        "titles": {name: contestant.title for name, contestant in chosen.items()},
        "weight_bytes": weights,
        "prefill_operations": prefill_operations(checkpoint),
        "exports": exports,
        "rounds": rounds,
    }
    stem = options.folder / f"compare-{options.shape}"
    stem.with_suffix(stem.suffix + ".json").write_text(json.dumps(results, indent=1))
    text = tables(results)
    stem.with_suffix(stem.suffix + ".md").write_text(text)
    draw([results], stem.with_suffix(stem.suffix + ".png"))
    print(text)


def prefill_operations(checkpoint: Path) -> int:
    """Return the operations per token of a prompt in the linear layers, without attention's."""
    config = json.loads((checkpoint / "config.json").read_text())
    return 2 * 12 * int(config["hidden_size"]) ** 2 * int(config["num_layers"])


def weight_bytes(directory: Path) -> int:
    """Return the size of the largest file, which holds the weights."""
    return max(path.stat().st_size for path in directory.iterdir() if path.is_file())


if __name__ == "__main__":
    main()
