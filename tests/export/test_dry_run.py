"""What check_export says of an export is what export_model then does."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from checkpoints import Shape, draw_tensors, write_checkpoint
from refusals import check_message
from safetensors.numpy import save_file
from wild_heads import HEADS
from zero_checkpoint import write_zero_checkpoint

from gptneo_onnx.export import check_export, export_model
from gptneo_onnx.export.checkpoint.stored_tensor import StoredTensor
from gptneo_onnx.export.memory import MEMORY_FACTOR
from gptneo_onnx.export.sources import describe_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, GPTNeoOnnxError, Precision
from gptneo_onnx.models.config import GPTNeoConfig

GRAPHS = [("fused",), ("portable",), ("genai",), ("fused", "portable", "genai")]
PRECISIONS = [precision.value for precision in Precision]


def sizes_in(directory):
    return {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file()
    }


def check_same_files(checkpoint, out, **options):
    report = check_export(checkpoint, out, **options)
    assert not out.exists()
    lines = []
    export_model(checkpoint, out, report=lines.append, **options)
    assert report.files == sizes_in(out)
    assert report.total == sum(report.files.values())
    assert report.notes == lines
    shutil.rmtree(out)


class TestSizes:
    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize("shape", ["heads of 8", "heads of 5, untied"])
    def test_are_those_of_the_export_to_the_byte(self, tmp_path, random, precision, shape):
        drawn = Shape() if shape == "heads of 8" else HEADS["of 5"].but(tie_word_embeddings=False)
        checkpoint = write_checkpoint(tmp_path / "checkpoint", drawn, random)
        for graph in GRAPHS:
            check_same_files(checkpoint, tmp_path / "out", precision=precision, graph=graph)

    @pytest.mark.parametrize(
        "options",
        [
            {"layout": "transformers.js", "precision": ["fp32", "fp16", "int8", "int4"]},
            {"hidden_states": "all"},
            {"precision": "int4", "activations": "fp16"},
            {"precision": "w8a8", "full_range": True},
            {"precision": "fp32,int4"},
            {"precision": ["w8a8", "int4"], "graph": "fused,portable", "hidden_states": [1]},
            {"precision": "fp16,int8,int4", "activations": "fp16"},
        ],
    )
    def test_with_a_tokenizer_and_options(self, tmp_path, options):
        check_same_files(EMBEDDED_CHECKPOINT, tmp_path / "out", **options)

    def test_of_a_checkpoint_with_much_to_say(self, tmp_path, random):
        config = {"num_layers": 1, "attention_types": [[["local"], 1]], "max_length": 30, "odd": 1}
        config["quantization_config"] = {"quant_method": "fp8"}
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random, **config)
        check_same_files(checkpoint, tmp_path / "out")
        report = check_export(checkpoint)
        assert report.unknown_entries == ["odd"]
        assert len(report.notes) == 4
        assert report.tokenizer is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "options"),
        [
            ("num_layers", {}),
            ("model_type", {}),
            ("shape", {}),
            ("weights", {}),
            ("", {"variant": "fp16"}),
            ("", {"precision": "int3"}),
            ("", {"hidden_states": [9]}),
            ("", {"tokenizer": "/nowhere"}),
            ("", {"calibrate": "/nowhere", "precision": "int8"}),
        ],
    )
    def test_have_the_exports_message(self, tmp_path, random, change, options):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
        path = checkpoint / "config.json"
        changes = {
            "num_layers": {"num_layers": 4, "attention_types": [[["global"], 4]]},
            "model_type": {"model_type": "gpt2"},
            "shape": {"intermediate_size": 30},
        }
        path.write_text(json.dumps(json.loads(path.read_text()) | changes.get(change, {})))
        if change == "weights":
            (checkpoint / "model.safetensors").unlink()
        messages = []
        for function in (check_export, export_model):
            with pytest.raises(GPTNeoOnnxError) as caught:
                function(checkpoint, tmp_path / "out", **options)
            check_message(caught.value)
            messages.append((type(caught.value), str(caught.value)))
        assert messages[0] == messages[1]

    def test_a_directory_that_would_not_be_replaced(self, tmp_path):
        (tmp_path / "mine.txt").write_text("")
        with pytest.raises(GPTNeoOnnxError, match="not empty and not an exported model"):
            check_export(EMBEDDED_CHECKPOINT, tmp_path)


class TestWeights:
    def test_are_not_read(self, tmp_path, monkeypatch):
        """The 2.7B model, in which reading weights would take minutes."""
        shape = Shape(
            vocab_size=50257,
            hidden_size=2560,
            num_heads=20,
            layers=("global", "local") * 16,
            max_position_embeddings=2048,
            window_size=256,
        )
        checkpoint = write_zero_checkpoint(tmp_path / "checkpoint", shape)
        monkeypatch.delattr(StoredTensor, "_read_at")
        report = check_export(checkpoint, precision="int4")
        assert 1.4e9 < report.total < 1.7e9
        assert report.model["parameters"] == 2_651_307_520

    def test_are_counted(self, tmp_path, random):
        for tied in (True, False):
            shape = Shape(tie_word_embeddings=tied, intermediate_size=30)
            tensors = draw_tensors(shape, random)
            config = GPTNeoConfig.from_dict(shape.config)
            assert describe_model(config)["parameters"] == sum(map(np.size, tensors.values()))

    def test_that_are_not_finite_are_found(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
        assert check_export(checkpoint).not_finite is None
        assert check_export(checkpoint, full=True).not_finite == {}
        tensors = draw_tensors(Shape(), random)
        tensors["transformer.h.1.ln_1.bias"][:3] = [np.nan, np.inf, 1]
        save_file(tensors, checkpoint / "model.safetensors")
        assert check_export(checkpoint, full=True).not_finite == {"h.1.ln_1.bias": 2}

    def test_and_their_files_are_described(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", Shape(), random)
        [file] = check_export(checkpoint).weights
        assert (file.name, file.format, file.types) == (
            "model.safetensors",
            "safetensors",
            {"float32": 30},
        )
        assert file.size == (checkpoint / "model.safetensors").stat().st_size


EXPORT = """
import re, sys
from gptneo_onnx.export import export_model
export_model(sys.argv[1], sys.argv[2], precision=sys.argv[3], graph=sys.argv[4])
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
"""
RUN = """
import re, sys
from gptneo_onnx.runtime import GPTNeoForCausalLM
model = GPTNeoForCausalLM.from_pretrained(sys.argv[1], device="cpu", num_threads=2)
context = model.config.max_position_embeddings
model.generate([[5] * (context - 4)], max_new_tokens=4, do_sample=False, eos_token_id=None)
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
"""
SHAPES = {
    "embedding": Shape(vocab_size=50257, hidden_size=768, num_heads=12, window_size=256),
    "layers": Shape(
        vocab_size=1000, hidden_size=1024, num_heads=16, layers=("global", "local") * 2
    ),
    "context": Shape(num_heads=8, hidden_size=512, layers=("global", "local") * 2),
}


def peak(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.findall(r"\d+", done.stdout)[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory it took")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("precision", "graph"), [("fp32", "fused"), ("int8", "fused"), ("fp32", "portable")]
)
def test_peaks_of_memory_are_within_the_factor(tmp_path, random, shape, precision, graph):
    drawn = SHAPES[shape].but(max_position_embeddings=2048)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", drawn, random)
    report = check_export(checkpoint, precision=precision, graph=graph)
    arguments = (checkpoint, tmp_path / "out", precision, graph)
    for estimate, measured in (
        (report.export_memory, peak(EXPORT, *arguments)),
        (report.run_memory, peak(RUN, tmp_path / "out")),
    ):
        print(shape, precision, graph, estimate / measured)
        assert measured / MEMORY_FACTOR < estimate < measured * MEMORY_FACTOR
