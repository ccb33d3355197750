"""Make tests/golden/optimum/*: the checkpoint of golden/alternating.npz as Optimum exported it.

    python tests/golden/make_foreign.py today       # where the `optimum` extra is installed
    python tests/golden/make_foreign.py 1.13        # optimum 1.13.3, transformers 4.34.1, numpy 1
    python tests/golden/make_foreign.py 1.21        # optimum 1.21.4, transformers 4.42.4, numpy 1

Each directory is named after the version and the kind of export. Needs torch and the named
versions, but not this project, whose dependencies are newer than those of the old versions.
"""

import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

GOLDEN = Path(__file__).parent


def write_checkpoint(directory: Path) -> Path:
    """Write the checkpoint that is stored in golden/alternating.npz."""
    with np.load(GOLDEN / "alternating.npz") as arrays:
        (directory / "config.json").write_text(str(arrays["config"]))
        tensors = {name[2:]: arrays[name] for name in arrays.files if name.startswith("t/")}
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    return directory


def write_classifier(directory: Path) -> Path:
    """Write the same decoder with a head of three labels, and with token 1 for padding."""
    write_checkpoint(directory)
    tensors = load_file(directory / "model.safetensors")
    score = np.random.default_rng(7).standard_normal((3, 16)).astype(np.float32)
    save_file({**tensors, "score.weight": score}, directory / "model.safetensors", {"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    config |= {
        "architectures": ["GPTNeoForSequenceClassification"],
        "id2label": {"0": "no", "1": "perhaps", "2": "yes"},
        "label2id": {"no": 0, "perhaps": 1, "yes": 2},
        "pad_token_id": 1,
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def keep(out: Path, name: str, *graphs: str) -> None:
    """Copy some graphs of an export, and its config, to the golden directory of that name."""
    directory = GOLDEN / "optimum" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for graph in graphs:
        shutil.copyfile(out / graph, directory / graph)
    config = json.loads((out / "config.json").read_text())
    config.pop("_name_or_path", None)  # a temporary folder
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_todays(checkpoint: Path, folder: Path) -> None:
    from optimum.exporters.onnx import main_export

    classifier = folder / "classifier"
    classifier.mkdir()
    for name, task, source in (
        ("with-past", "text-generation-with-past", checkpoint),
        ("without-past", "text-generation", checkpoint),
        ("features", "feature-extraction", checkpoint),
        ("features-with-past", "feature-extraction-with-past", checkpoint),
        ("text-classification", "text-classification", write_classifier(classifier)),
    ):
        main_export(str(source), folder / name, task=task)
        keep(folder / name, f"2.1-{name}", "model.onnx")
    score = load_file(classifier / "model.safetensors")["score.weight"]
    np.save(GOLDEN / "optimum" / "2.1-text-classification" / "score.npy", score)


def make_old(version: str, options: dict[str, bool], checkpoint: Path, folder: Path) -> None:
    from optimum.exporters.onnx import main_export

    # The exporter of that time is no longer PyTorch's default.
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    main_export(str(checkpoint), folder / "all", task="text-generation-with-past", **options)
    keep(folder / "all", f"{version}-merged", "decoder_model_merged.onnx")
    keep(
        folder / "all",
        f"{version}-two-files",
        "decoder_model.onnx",
        "decoder_with_past_model.onnx",
    )


MAKERS = {
    "today": make_todays,
    # Their GPT-Neo graphs have no position_ids: positions are column numbers.
    "1.13": functools.partial(make_old, "1.13-columns", {}),
    "1.21": functools.partial(make_old, "1.21-columns", {"legacy": True}),
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary) / "checkpoint"
        checkpoint.mkdir()
        MAKERS[sys.argv[1]](write_checkpoint(checkpoint), Path(temporary))
