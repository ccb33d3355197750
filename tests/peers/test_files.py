"""Files written by PyTorch and transformers, and what our exporter and runtime make of them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, ModelFileError
from gptneo_onnx.runtime import GenerationConfig, Tokenizer, pipeline

GPT2 = Path(__file__).parent.parent / "gpt2_tokenizer"
TEXTS = [
    "EleutherAI has",
    "  two  spaces\tand a tab\n\n\nnewlines ",
    "naïve façade — “quoted” … 日本語 🤗👩‍👩‍👧",
    "It's, we'll; they've 12345 3.14",
    "a<|endoftext|>b",
    "\x00\x7f\u200b",
]


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "checkpoint", Shape(), random)


def exported_weights(checkpoint: Path, out: Path) -> bytes:
    return (export_model(checkpoint, out) / "model.onnx_data").read_bytes()


@pytest.mark.parametrize("layout", ["bin", "sharded bin", "sharded safetensors"])
def test_checkpoints_that_transformers_saves(checkpoint, transformers_model, tmp_path, layout):
    expected = exported_weights(checkpoint, tmp_path / "expected")
    transformers_model(checkpoint).save_pretrained(
        tmp_path / "saved",
        safe_serialization="safetensors" in layout,
        max_shard_size="40KB" if "sharded" in layout else "1GB",
    )
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert ("pytorch_model.bin" in names) == (layout == "bin")
    assert exported_weights(tmp_path / "saved", tmp_path / "out") == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_types_saved_by_torch(checkpoint, transformers_model, tmp_path, dtype):
    import torch

    model = transformers_model(checkpoint).to(getattr(torch, dtype))
    for name, safe in (("bin", False), ("safetensors", True)):
        model.save_pretrained(tmp_path / name, safe_serialization=safe)
    first = exported_weights(tmp_path / "bin", tmp_path / "out1")
    assert first == exported_weights(tmp_path / "safetensors", tmp_path / "out2")


def test_views_of_one_storage_and_parameters(checkpoint, tmp_path, transformers_model):
    import torch

    expected = exported_weights(checkpoint, tmp_path / "expected")
    state = dict(transformers_model(checkpoint).state_dict())
    shared = torch.cat([state["transformer.ln_f.weight"], state["transformer.ln_f.bias"]])
    half = len(shared) // 2
    state["transformer.ln_f.weight"] = torch.nn.Parameter(shared[:half])
    state["transformer.ln_f.bias"] = shared[half:]
    saved = tmp_path / "saved"
    saved.mkdir()
    shutil.copy(checkpoint / "config.json", saved)
    torch.save(state, saved / "pytorch_model.bin")
    assert exported_weights(saved, tmp_path / "out") == expected


def test_gpt2s_tokenizer_is_transformers(tmp_path):
    from transformers import GPT2TokenizerFast

    from gptneo_onnx.export.tokenizer_files import write_tokenizer

    assert write_tokenizer(GPT2, tmp_path)
    ours = Tokenizer.from_pretrained(tmp_path)
    theirs = GPT2TokenizerFast(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))
    loaded = GPT2TokenizerFast.from_pretrained(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text).input_ids == loaded(text).input_ids
        for skip in (True, False):
            ids = ours.encode(text)
            expected = theirs.decode(
                ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
            assert ours.decode(ids, skip_special_tokens=skip) == expected
    assert ours.eos_token_id == theirs.eos_token_id == 50256


def test_the_embedded_tokenizer_is_transformers(embedded_export):
    from transformers import AutoTokenizer

    ours = Tokenizer.from_pretrained(embedded_export)
    theirs = AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT)
    for tokenizer in (ours, theirs):
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.eos_token
    for text in TEXTS:
        assert ours.encode(text) == theirs(text).input_ids
    batch = theirs(TEXTS, padding=True, return_tensors="np")
    for name, array in ours(TEXTS, padding=True, return_tensors="np").items():
        assert array.tolist() == batch[name].tolist()


def test_generation_configs_that_transformers_writes(tmp_path):
    from transformers import GenerationConfig as Peer

    Peer().save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path) == GenerationConfig()
    Peer(max_new_tokens=7, do_sample=True, top_p=0.8, eos_token_id=[1, 2]).save_pretrained(tmp_path)
    expected = GenerationConfig(max_new_tokens=7, do_sample=True, top_p=0.8, eos_token_id=[1, 2])
    assert GenerationConfig.from_pretrained(tmp_path) == expected
    Peer(penalty_alpha=0.6).save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).penalty_alpha == 0.6


def test_generation_configs_that_transformers_reads(tmp_path):
    from transformers import GenerationConfig as Peer

    ours = GenerationConfig(
        num_beams=3,
        early_stopping="never",
        eos_token_id=[1, 2],
        bad_words_ids=[[3, 4], [5]],
        sequence_bias={(6, 7): -2.0},
        suppress_tokens=[8],
        exponential_decay_length_penalty=(4, 1.5),
        stop_strings=["."],
        watermarking_config={"bias": 3.0},
        max_new_tokens=9,
    )
    ours.save_pretrained(tmp_path)
    theirs = Peer.from_pretrained(tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert len(written) == 11  # and transformers_version
    for name in written.keys() - {"watermarking_config"}:
        assert getattr(theirs, name) == written[name], name
    assert theirs.watermarking_config.bias == 3.0
    theirs.save_pretrained(tmp_path / "again")
    assert GenerationConfig.from_pretrained(tmp_path / "again") == (
        GenerationConfig.from_pretrained(tmp_path)
    )


def test_every_argument_of_transformers_is_known():
    from transformers import GenerationConfig as Peer

    assert GenerationConfig().to_dict() == Peer().to_dict()


def test_greedy_pipelines_return_the_same(embedded_export):
    import transformers

    theirs = transformers.pipeline("text-generation", model=str(EMBEDDED_CHECKPOINT))
    ours = pipeline("text-generation", model=embedded_export)
    for prompt in ("She was", "  Sir Walter"):
        for arguments in ({"max_new_tokens": 60}, {"max_new_tokens": 9, "return_full_text": False}):
            expected = theirs(prompt, do_sample=False, **arguments)
            assert ours(prompt, do_sample=False, **arguments) == expected


def test_pipelines_have_the_same_defaults(embedded_export, tmp_path):
    import json

    import transformers

    names = ("do_sample", "temperature", "top_k", "top_p", "max_new_tokens", "eos_token_id")
    task = {"text-generation": {"do_sample": True, "max_length": 50, "temperature": 0.9}}
    for extra in ({}, {"task_specific_params": task}):
        checkpoint = tmp_path / f"checkpoint{len(extra)}"
        shutil.copytree(EMBEDDED_CHECKPOINT, checkpoint)
        config = json.loads((checkpoint / "config.json").read_text()) | extra
        (checkpoint / "config.json").write_text(json.dumps(config))
        ours = pipeline("text-generation", model=export_model(checkpoint, tmp_path / "out"))
        theirs = transformers.pipeline("text-generation", model=str(checkpoint))
        for name in names:
            assert getattr(ours.generation_config, name) == getattr(theirs.generation_config, name)


def test_verify_reports_small_differences(checkpoint, tmp_path):
    lines: list[str] = []
    export_model(checkpoint, tmp_path / "out", verify=True, report=lines.append)
    *compared, verdict = lines[-5:]
    assert [re.split(" of | differ", line)[0] for line in compared] == [
        "verify: prefill", "verify: chunked prefill", "verify: decode", "verify: hidden states",
    ]  # fmt: skip
    differences = [line.split("at most ")[1].split()[0] for line in compared]
    largest = max(differences, key=float)
    assert float(largest) < 1e-4
    assert verdict == (
        f"verified: model.onnx and transformers differ by at most {largest} of the spread, within "
        "0.0001"
    )


def test_verify_checks_every_graph_of_an_export(checkpoint, tmp_path):
    lines: list[str] = []
    kinds = ("fused", "portable", "genai")
    export_model(checkpoint, tmp_path / "out", graph=kinds, verify=True, report=lines.append)
    for file in ("model.onnx", "portable.onnx", "genai.onnx"):
        reports = [line for line in lines if line.endswith(f"({file})")]
        assert len(reports) == (4 if file == "model.onnx" else 3)  # the others give only logits
        assert all(float(line.split("at most ")[1].split()[0]) < 1e-4 for line in reports)


def test_verify_fails_on_a_graph_that_differs(checkpoint, tmp_path, monkeypatch):
    from gptneo_onnx.export.graphs.builder import GraphBuilder

    plain = GraphBuilder.add

    def scaled(graph, operator, inputs, outputs, domain="", **attributes):
        if operator == "GroupQueryAttention":
            attributes["scale"] = 0.9
        return plain(graph, operator, inputs, outputs, domain, **attributes)

    monkeypatch.setattr(GraphBuilder, "add", scaled)
    with pytest.raises(ModelFileError, match=r"prefill of \d+ tokens differs from transformers by"):
        export_model(checkpoint, tmp_path / "out", verify=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["fused", "portable"])
def test_verify_checks_hidden_states(checkpoint, tmp_path, monkeypatch, kind):
    from gptneo_onnx.export.graphs.decoder import DecoderGraph

    lines = []
    arguments = {"graph": kind, "hidden_states": "all", "verify": True, "report": lines.append}
    export_model(checkpoint, tmp_path / "out", **arguments)
    assert float(lines[-1].split("at most ")[1].split()[0]) < 1e-4
    plain = DecoderGraph.output_hidden_states
    monkeypatch.setattr(
        DecoderGraph,
        "output_hidden_states",
        lambda graph, layer, x: plain(graph, layer, "embeddings" if layer == 1 else x),
    )
    with pytest.raises(ModelFileError, match=r"hidden states differ from transformers by .*e[-+]0"):
        export_model(checkpoint, tmp_path / "other", **arguments)


@pytest.mark.parametrize("precision", ["int8", "w8a8", "int4"])
def test_verify_of_quantized_weights_reports_what_they_cost(tmp_path, precision):
    lines = []
    export_model(
        EMBEDDED_CHECKPOINT,
        tmp_path / "out",
        precision=precision,
        verify=True,
        report=lines.append,
    )
    assert [line.split()[1] for line in lines] == ["prefill", "chunked", "decode", "model.onnx"]
    assert (tmp_path / "out").exists()


def test_weights_keep_their_values(checkpoint, tmp_path, transformers_model):
    import onnx

    exported = export_model(checkpoint, tmp_path / "out")
    initializers = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(exported / "model.onnx").graph.initializer
    }
    state = transformers_model(checkpoint).transformer.state_dict()
    for name, array in initializers.items():
        if name in state:
            expected = state[name].numpy()
            assert np.array_equal(array, expected) or np.array_equal(array, expected.T)
