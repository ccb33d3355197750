"""The command line: gptneo-onnx and its commands."""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from gptneo_onnx.models.errors import GPTNeoOnnxError
from gptneo_onnx.models.graph import ACTIVATION_NAMES, Precision
from gptneo_onnx.models.manifest import GRAPH_KINDS
from gptneo_onnx.runtime.cli.compare import add_compare
from gptneo_onnx.runtime.cli.embed import add_embed
from gptneo_onnx.runtime.cli.generate import run_generate
from gptneo_onnx.runtime.cli.generate_options import add_generate
from gptneo_onnx.runtime.cli.lm_eval import LM_EVAL, run_lm_eval
from gptneo_onnx.runtime.cli.perplexity import add_perplexity

PROGRAM = "gptneo-onnx"
BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 2 for bad input, 1 if compare finds too much."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character shows its code
        sys.stdout.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else list(arguments)
    # The harness reads its own command line.
    evaluates = given[:1] == [LM_EVAL]
    options = None if evaluates else build_parser().parse_args(given)
    try:
        status = None
        if options is None:
            run_lm_eval(given[1:])
        else:
            status = options.run(options)
        if sys.stdout is not None:  # it may have been closed
            sys.stdout.flush()
        return status or 0
    except GPTNeoOnnxError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        _discard_output()
    except OSError as error:  # a full disk, a file that may not be read
        _discard_output()
        return _complain(str(error))
    except MemoryError as error:
        return _complain(f"not enough memory: {error}")
    return 0


def _complain(message: str) -> int:
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _discard_output() -> None:
    """Python writes what is left when it exits, and would complain that it cannot."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)  # unwinds, so that a half-written export is removed


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(_complain(f"{message}; see {self.prog} --help"))


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="GPT-Neo on ONNX Runtime.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_export(commands)
    add_generate(commands, run_generate)
    add_compare(commands)
    add_embed(commands)
    add_perplexity(commands)
    commands.add_parser(
        LM_EVAL, add_help=False, help="lm-evaluation-harness on a model: [MODEL] and its arguments"
    )
    info = commands.add_parser("info", help="describe an exported model")
    info.add_argument("model", type=Path, metavar="MODEL")
    info.add_argument("--file-name", metavar="FILE", help="of its graphs, if not model.onnx")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=run_info)
    doctor = commands.add_parser("doctor", help="check this machine: versions, devices, libraries")
    doctor.set_defaults(run=run_doctor)
    return parser


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="make an ONNX model of a checkpoint")
    export.add_argument("checkpoint", metavar="CHECKPOINT", help="a directory or a hub id")
    export.add_argument("out", type=Path, metavar="OUT", help="the directory to make")
    export.add_argument(
        "--graph",
        type=_several(GRAPH_KINDS),
        metavar="KIND[,KIND]",
        help=f"one of {', '.join(GRAPH_KINDS)}, or several: fused (the default) is for this "
        "runtime, genai for onnxruntime-genai, portable for other stacks",
    )
    export.add_argument(
        "--precision",
        default=["fp32"],
        type=_several([p.value for p in Precision]),
        metavar="NAME[,NAME]",
        help="fp32 (the default), w8a8, int8 or int4 for CPUs; fp16 or bf16 for CUDA; several with "
        "--layout transformers.js",
    )
    export.add_argument(
        "--activations",
        choices=[*ACTIVATION_NAMES.values()],
        help="with int8 and int4: fp32 (the default) for CPUs, fp16 or bf16 for CUDA",
    )
    export.add_argument(
        "--full-range",
        action="store_true",
        help="w8a8: store weights of full 8 bits; only for processors with VNNI or AMX "
        "instructions, elsewhere their sums saturate",
    )
    export.add_argument(
        "--calibrate",
        type=Path,
        metavar="TEXT",
        help="with w8a8, int8 and int4: a text that the model reads first, for better rounding",
    )
    export.add_argument(
        "--hidden-states",
        type=_layers,
        metavar="N[,N]",
        help="all, or layers whose hidden states graphs give, for `embed --layer`: 0 is the "
        "embeddings, -1 behind the last layer, which fused graphs always give",
    )
    export.add_argument(
        "--layout",
        default="flat",
        choices=["flat", "transformers.js"],
        help="transformers.js: portable graphs in a folder onnx/, named as transformers.js asks",
    )
    export.add_argument(
        "--exporter",
        default="direct",
        choices=["direct", "optimum"],
        help="optimum: has Optimum trace the portable graph (needs the optimum extra)",
    )
    export.add_argument("--revision", help="branch, tag or commit of a hub id")
    export.add_argument(
        "--verify", action="store_true", help="compare with transformers (needs the optimum extra)"
    )
    export.set_defaults(run=run_export)


def _several(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads choices with commas between them."""

    def read(value: str) -> list[str]:
        for choice in value.split(","):
            if choice not in allowed:
                raise argparse.ArgumentTypeError(
                    f"invalid choice: {choice!r} (choose from {', '.join(allowed)})"
                )
        return value.split(",")

    return read


def _layers(value: str) -> str | list[int]:
    """Reads all, or numbers with commas between them."""
    try:
        return value if value == "all" else [int(number) for number in value.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"invalid value: {value!r} (all, or numbers of layers with commas between them)"
        ) from error


def run_export(options: argparse.Namespace) -> None:
    from gptneo_onnx.export import export_model

    out = export_model(
        options.checkpoint,
        options.out,
        graph=options.graph,
        precision=options.precision,
        activations=options.activations,
        full_range=options.full_range,
        calibrate=options.calibrate,
        hidden_states=options.hidden_states,
        layout=options.layout,
        exporter=options.exporter,
        verify=options.verify,
        revision=options.revision,
        progress=True,
        report=lambda line: print(line, file=sys.stderr),
    )
    size = sum(path.stat().st_size for path in out.rglob("*"))
    graphs = ", ".join(str(path.relative_to(out)) for path in sorted(out.rglob("*.onnx")))
    print(f"{out}: {graphs}, {', '.join(options.precision)}, {_size(size)}")


def run_info(options: argparse.Namespace) -> None:
    from gptneo_onnx.runtime.cli.info import model_info

    info = model_info(options.model, options.file_name)
    if options.json:
        print(json.dumps(info))
        return
    for name, value in info.items():
        if name == "files":
            for file_name, size in value.items():
                print(f"{'':28}{file_name} ({_size(size)})")
        else:
            shown = _size(value) if name.startswith("cache_bytes") else value
            print(f"{name.replace('_', ' '):28}{shown}")


def run_doctor(options: argparse.Namespace) -> None:
    from gptneo_onnx.runtime.cli.doctor import examine

    for finding in examine():
        print(f"{finding.subject:16}{finding.state}")
        if finding.advice:
            print(f"{'':16}-> {finding.advice}")


def _size(size: float) -> str:
    """Bytes for people: 8.15 MB."""
    unit = 0
    while size >= 1000 and unit < 3:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {('bytes', 'kB', 'MB', 'GB')[unit]}"


if __name__ == "__main__":
    sys.exit(main())
