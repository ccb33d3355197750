"""Throughput and waiting times of HTTP servers under rising load, one load generator for all.

    make benchmark-serve                   # makes the environments, then runs this with defaults
    python benchmarks/serve.py [--shape 125M] [--servers NAME ...] [--clients 1 4 16] [--rates 1 2]

Writes a random checkpoint of a published shape with GPT-2's tokenizer and exports it for each
server. Each server runs in its own process and is asked for streamed completions in OpenAI's form:
by clients that each send a request once their last one is answered, then by requests that arrive at
random. All get the same requests: prompts and results of mixed lengths, drawn from a fixed seed.
The results are written to FOLDER/serve-SHAPE.json and .md; serving/chart.py draws them.

--shape tiny measures the embedded model: a check that everything runs. A server whose environment
is missing is left out. Linux only.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import processor
from random_checkpoint import SHAPES, write_random_checkpoint
from serving.contestants import CONTESTANTS, Contestant, Setting, write_tokenizer
from serving.load import Target, by_arrivals, by_clients
from serving.server_process import free_port, running
from serving.tables import tables
from serving.workload import Work, draw_work, poisson_arrivals, single_token_words
from tqdm import tqdm

from gptneo_onnx.models import EMBEDDED_CHECKPOINT

TINY = "tiny"
SEED = 0


def main() -> None:
    """Measure each server; print the tables."""
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = made_checkpoint(options.shape, options.folder)
    chosen = {name: CONTESTANTS[name] for name in options.servers if is_installed(name)}
    directories = {
        name: each.export(checkpoint, options.folder / f"{checkpoint.name}-{each.export_name}")
        for name, each in tqdm(chosen.items(), desc="exports")
    }
    words = single_token_words(checkpoint)
    results: dict[str, Any] = {
        "shape": options.shape,
        "threads": options.threads,
        "slots": options.slots,
        "processor": processor(),
        "requests_per_client": options.requests,
        "seconds_of_arrivals": options.seconds,
        "servers": {},
    }
    stem = options.folder / f"serve-{options.shape}"
    for name, each in chosen.items():
        print(f"{each.title}...", file=sys.stderr)
        results["servers"][name] = measure(each, directories[name], words, options)
        stem.with_suffix(".json").write_text(json.dumps(results, indent=1))
    text = tables(results)
    stem.with_suffix(".md").write_text(text)
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=[TINY, *SHAPES], default="125M")
    parser.add_argument("--servers", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rates", type=float, nargs="*", default=[0.5, 1.0, 2.0])
    parser.add_argument("--requests", type=int, default=6, help="of each client")
    parser.add_argument("--seconds", type=float, default=60, help="in which requests arrive")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    return parser.parse_args()


def is_installed(name: str) -> bool:
    """Return whether a server's environment is there; say so where it is not."""
    needs = Path(CONTESTANTS[name].needs)
    if not needs.exists():
        print(f"{name} is left out: {needs} is missing", file=sys.stderr)
    return needs.exists()


def made_checkpoint(shape: str, folder: Path) -> Path:
    """Return the checkpoint of a shape, which is written if it is missing."""
    if shape == TINY:
        return EMBEDDED_CHECKPOINT
    checkpoint = folder / f"random-{shape}"
    if not (checkpoint / "model.safetensors").exists():
        write_random_checkpoint(checkpoint, shape)
    if not (checkpoint / "tokenizer.json").exists():
        write_tokenizer(checkpoint)
    return checkpoint


def measure(
    contestant: Contestant, directory: Path, words: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Run a server under each load; return its figures."""
    setting = Setting(directory.absolute(), free_port(), options.threads, options.slots)
    command = [str(part) for part in contestant.command(setting)]
    log = options.folder / f"serve-{contestant.export_name}-{setting.port}.log"
    figures: dict[str, Any] = {"title": contestant.title, "clients": {}, "rates": {}}
    threads = {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    with running(command, setting.port, contestant.ready, log, threads) as server:
        target = Target(server.url, {"model": str(setting.directory), **contestant.fields})
        most = max(options.clients)
        # Other prompts than those that are measured: memory that a server uses for the first time
        # is slow, and prompts that it knows are fast.
        asyncio.run(by_clients(target, drawn(words, options.requests * most, seed=99), most))
        for clients in options.clients:
            work = drawn(words, options.requests * clients, SEED + clients)
            figures["clients"][str(clients)] = asyncio.run(by_clients(target, work, clients))
        for rate in options.rates:
            work = drawn(words, max(1, round(rate * options.seconds)), SEED)
            arrivals = poisson_arrivals(rate, len(work), SEED)
            figures["rates"][f"{rate:g}"] = asyncio.run(by_arrivals(target, work, arrivals))
        figures["peak_bytes"] = server.peak_bytes()
    log.unlink()
    return figures


def drawn(words: list[str], count: int, seed: int) -> Sequence[Work]:
    """Draw requests, shorter ones for the embedded model, which has few words."""
    if len(words) < 4000:
        return draw_work(words, count, seed, prompt_tokens=(16, 256), result_tokens=(16, 64))
    return draw_work(words, count, seed)


if __name__ == "__main__":
    main()
