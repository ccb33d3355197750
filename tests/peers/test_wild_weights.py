"""Weights as people have them, saved by PyTorch, safetensors and transformers themselves.

What from_pretrained loads gives its logits and greedy ids. What it does not find, such as the names
of a wrapped model, gives those of the model that was saved.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM

SHAPE = Shape()
PREFIXES = ["module.", "_orig_mod.", "base_model.model.", "pretrained_model.", "model."]
IDS = np.arange(5, 45)[None] * 7 % (SHAPE.vocab_size - 1) + 1


@pytest.fixture
def model(tmp_path, random, transformers_model):
    """The model that is saved, with tied weights and peaked attention."""
    return transformers_model(write_checkpoint(tmp_path / "drawn", SHAPE, random))


@pytest.fixture
def directory(tmp_path, model):
    """A directory with the model's config.json."""
    model.config.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def agrees(directory: Path, peer, **arguments):
    """Compare the export's logits and greedy ids with those of a model of transformers."""
    import torch

    lines = []
    out = directory.with_name("out")
    export_model(directory, out, report=lines.append, **arguments)
    ours = GPTNeoForCausalLM.from_pretrained(out, num_threads=1)
    with torch.no_grad():
        logits = peer(torch.from_numpy(IDS)).logits.numpy()
        ids = peer.generate(
            torch.from_numpy(IDS), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
    assert np.abs(ours(IDS).logits - logits).max() < 1e-4 * logits.std()
    greedy = ours.generate(IDS, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert greedy.tolist() == ids.tolist()
    return lines


def save(directory, state, **arguments):
    import torch

    torch.save(state, directory / "pytorch_model.bin", **arguments)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_format_before_pytorch_1_6(directory, model, transformers_model, dtype):
    import torch

    state = model.to(getattr(torch, dtype)).state_dict()
    save(directory, state, _use_new_zipfile_serialization=False)
    agrees(directory, transformers_model(directory))


@pytest.mark.parametrize("new", [True, False])
def test_matrices_that_are_stored_transposed(directory, model, transformers_model, new):
    state = {
        name: tensor.t().contiguous().t() if tensor.dim() == 2 else tensor
        for name, tensor in model.state_dict().items()
    }
    save(directory, state, _use_new_zipfile_serialization=new)
    agrees(directory, transformers_model(directory))


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("shards", ["1GB", "40KB"])
def test_variants(directory, model, tmp_path, safe, shards):
    import torch
    from transformers import GPTNeoForCausalLM as Peer

    model.half().save_pretrained(
        directory, variant="fp16", safe_serialization=safe, max_shard_size=shards
    )
    peer = Peer.from_pretrained(directory, variant="fp16", dtype=torch.float32)
    lines = agrees(directory, peer.eval(), variant="fp16", verify=True)
    assert any(line.startswith("verify: decode") for line in lines)


def test_save_model_of_safetensors(directory, model):
    from safetensors.torch import save_model

    save_model(model, str(directory / "model.safetensors"), metadata={"format": "pt"})
    agrees(directory, model, verify=True)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_of_wrappers(directory, model, prefix):
    save(directory, {prefix + name: tensor for name, tensor in model.state_dict().items()})
    lines = agrees(directory, model, verify=True)
    assert f"'{prefix}transformer.wte.weight' is read as transformer.wte.weight" in lines[0]


def test_a_compiled_model_within_data_parallel(directory, model):
    import torch

    wrapped = torch.nn.DataParallel(torch.compile(model))
    assert any(name.startswith("module._orig_mod.") for name in wrapped.state_dict())
    save(directory, wrapped.state_dict())
    agrees(directory, model)


@pytest.mark.parametrize("task", ["SequenceClassification", "TokenClassification"])
def test_a_classifier_can_be_exported_without_its_head(directory, model, transformers_model, task):
    import transformers

    config = type(model.config)(**model.config.to_dict() | {"pad_token_id": 0})
    classifier = getattr(transformers, f"GPTNeoFor{task}")(config)
    classifier.transformer.load_state_dict(model.transformer.state_dict())
    classifier.save_pretrained(directory)
    generation = "text-generation-with-past"
    lines = agrees(directory, transformers_model(directory), task=generation)
    head = [name for name in classifier.state_dict() if not name.startswith("transformer.")]
    assert f"left out, as no part of task {generation}: " in lines[0]
    assert all(name in lines[0] for name in head)


def test_the_model_without_a_head(directory, model, transformers_model):
    model.transformer.save_pretrained(directory)
    agrees(directory, transformers_model(directory), verify=True)


def test_the_order_of_files(directory, model, tmp_path, transformers_model, random):
    """Each file is of another model; from_pretrained takes the same one."""
    other = transformers_model(write_checkpoint(tmp_path / "other", SHAPE, random))
    other.save_pretrained(directory, safe_serialization=False)
    agrees(directory, transformers_model(directory))
    model.save_pretrained(directory, max_shard_size="40KB")
    agrees(directory, transformers_model(directory))
    other.save_pretrained(tmp_path / "whole")
    shutil.copy(tmp_path / "whole" / "model.safetensors", directory)
    agrees(directory, transformers_model(directory))


DRAWS = 40


@pytest.mark.parametrize("draw", range(DRAWS))
def test_drawn_forms(directory, model, random, draw):
    """A format, a prefix, a type, shards and other tensors, drawn: the plain checkpoint's bytes."""
    import torch
    from safetensors.torch import save_file

    dtype = random.choice(["float32", "float16", "bfloat16"])
    state = model.to(getattr(torch, dtype)).state_dict()
    plain = directory.with_name("plain")
    shutil.copytree(directory, plain)
    save(plain, state)
    prefix = "".join(random.choice([*PREFIXES, ""], random.integers(0, 3)))
    state = {prefix + name: tensor.clone() for name, tensor in state.items()}
    if random.random() < 0.5:
        del state[f"{prefix}lm_head.weight"]
    if random.random() < 0.5:
        state["score.weight"] = torch.ones(2, SHAPE.hidden_size)
    names = random.permutation(list(state))
    variant = random.choice([None, "fp16"])
    suffix = random.choice(["safetensors", "bin"])
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    legacy = random.random() < 0.5

    def write(path, part):
        if suffix == "safetensors":
            save_file(part, path, {"format": "pt"})
        else:
            torch.save(part, path, _use_new_zipfile_serialization=not legacy)

    split = np.array_split(names, random.integers(1, 4))
    parts = [[str(name) for name in part] for part in split]
    dot = f".{variant}" if variant else ""
    if len(parts) == 1:
        write(directory / f"{stem}{dot}.{suffix}", {name: state[name] for name in parts[0]})
    else:
        weight_map = {}
        for number, part in enumerate(parts):
            shard = f"{stem}{dot}-{number}.{suffix}"
            write(directory / shard, {name: state[name] for name in part})
            weight_map |= dict.fromkeys(part, shard)
        index = directory / f"{stem}.{suffix}.index{dot}.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    expected = export_model(plain, plain.with_name("plain_out")) / "model.onnx_data"
    found = export_model(directory, directory.with_name("out"), variant=variant)
    assert (found / "model.onnx_data").read_bytes() == expected.read_bytes()
