"""--calibrate: its statistics, that the float model stays the same, and what it gains."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from reference import ReferenceGPTNeo
from refusals import refused
from safetensors.numpy import load_file, save_file
from wild_heads import HEADS

from gptneo_onnx.export import export_model
from gptneo_onnx.export.calibration.calibration import balance, calibrated_blocks
from gptneo_onnx.export.calibration.layer_inputs import layer_inputs
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.errors import InputError, ModelFileError
from gptneo_onnx.runtime import GPTNeoForCausalLM, Tokenizer
from gptneo_onnx.runtime.cli.main import main
from gptneo_onnx.runtime.engine.device import saturates_int8_sums

pytestmark = pytest.mark.slow

SHAPE = Shape(layers=("global", "local", "global"), window_size=5)
PROMPT = "The family of Dashwood had long been settled in Sussex. "


class RecordingReference(ReferenceGPTNeo):
    """The oracle, which also records the inputs of every linear layer."""

    def __init__(self, checkpoint):
        super().__init__(checkpoint)
        self.inputs = {}

    def linear(self, name, x, bias=True):
        self.inputs.setdefault(f"{name}.weight".replace("q_proj", "qkv_proj"), []).append(x)
        return super().linear(name, x, bias)


def give_outliers(tensors, random, layers, hidden):
    """Make some inputs of each layer ten to forty times as large, their weights as much smaller.

    The model computes the same. Large models have such inputs from their training.
    """

    def factors():
        factors = np.ones(hidden, np.float32)
        factors[random.choice(hidden, 3, replace=False)] = random.uniform(10, 40, 3)
        return factors

    for layer in range(layers):
        block = f"transformer.h.{layer}"
        attention = f"{block}.attn.attention"
        for norm, readers in (
            (f"{block}.ln_1", [f"{attention}.{part}_proj" for part in "qkv"]),
            (f"{block}.ln_2", [f"{block}.mlp.c_fc"]),
        ):
            by = factors()
            for part in ("weight", "bias"):
                tensors[f"{norm}.{part}"] *= by
            for reader in readers:
                tensors[f"{reader}.weight"] /= by
        by = factors()
        tensors[f"{attention}.v_proj.weight"] *= by[:, None]
        tensors[f"{attention}.out_proj.weight"] /= by


@pytest.fixture(params=[SHAPE, HEADS["of 4"], HEADS["of 5"]], ids=["of 8", "of 4", "of 5"])
def checkpoint(request, tmp_path, random):
    return open_checkpoint(write_checkpoint(tmp_path / "drawn", request.param, random))


@pytest.fixture
def ids(random):
    return random.integers(0, SHAPE.vocab_size, (3, 40))


def test_the_inputs_of_every_layer_are_those_of_the_float_model(checkpoint, ids):
    reference = RecordingReference(checkpoint)
    for window in ids:
        reference.logits(window)
    blocks = list(layer_inputs(checkpoint, ids))
    assert [len(block) for block in blocks] == [4, 4, 4]
    for layer, found in (pair for block in blocks for pair in block.items()):
        x = np.concatenate(reference.inputs[layer])
        assert np.allclose(found.largest, np.abs(x).max(0), rtol=1e-4, atol=1e-5)
        assert np.allclose(found.moments, x.T @ x / len(x), rtol=1e-3, atol=1e-4)


def test_a_balanced_checkpoint_computes_the_same(checkpoint, ids):
    tensors = dict(checkpoint.tensors)
    for layer, source in enumerate(calibrated_blocks(checkpoint, ids)):
        balanced = source.checkpoint.tensors
        tensors |= {name: balanced[name] for name in balanced if name.startswith(f"h.{layer}.")}
    changed = {name for name in tensors if tensors[name] is not checkpoint.tensors[name]}
    assert len(changed) == 3 * 9
    found = ReferenceGPTNeo(replace(checkpoint, tensors=tensors)).logits(ids[0])
    expected = ReferenceGPTNeo(checkpoint).logits(ids[0])
    assert np.abs(found - expected).max() < 1e-5 * expected.std()


def test_balance_makes_inputs_and_weights_equally_large():
    inputs = np.array([100, 1, 4, 0], np.float32)
    weights = np.array([1, 1, 0.25, 1], np.float32)
    factors = balance(inputs, weights)
    assert np.allclose(factors[:3], [10, 1, 4])
    assert np.allclose((inputs / factors)[:3], (weights * factors)[:3])
    assert 0 < factors[3] < 0.1  # never used: bounded all the same


@pytest.mark.parametrize(("inputs", "weights"), [([0, 0], [1, 2]), ([1, 2], [0, 0])])
def test_balance_changes_nothing_where_all_is_zero(inputs, weights):
    assert (balance(np.float32(inputs), np.float32(weights)) == 1).all()


@pytest.fixture
def with_tokenizer(tmp_path):
    """A copy of the embedded checkpoint, and a text of some thousand tokens."""
    directory = tmp_path / "checkpoint"
    shutil.copytree(EMBEDDED_CHECKPOINT, directory)
    text = tmp_path / "text.txt"
    novel = (Path(__file__).parents[3] / "examples/train_tiny/corpus/emma.txt").read_text()
    text.write_text(novel[:20000])
    return directory, text


def change_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def logits_of(export, text, file_name=None):
    model = GPTNeoForCausalLM.from_pretrained(export, device="cpu", file_name=file_name)
    ids = np.array(Tokenizer.from_pretrained(export).encode(text))
    return model(ids[None]).logits[0]


@pytest.mark.parametrize("precision", ["w8a8", "int8", "int4"])
def test_outliers_no_longer_spoil_what_is_quantized(tmp_path, random, with_tokenizer, precision):
    directory, text = with_tokenizer
    change_tensors(directory, lambda tensors: give_outliers(tensors, random, 6, 256))
    exact, plain, calibrated = (
        logits_of(export_model(directory, tmp_path / name, **options), PROMPT * 20)
        for name, options in (
            ("exact", {}),
            ("plain", {"precision": precision}),
            ("calibrated", {"precision": precision, "calibrate": text}),
        )
    )
    errors = [np.square(logits - exact).mean() for logits in (calibrated, plain)]
    assert errors[0] < errors[1] / 8


@pytest.mark.parametrize("options", [{"precision": "int4", "activations": "fp16"}])
def test_float16_activations_can_be_calibrated_too(tmp_path, with_tokenizer, options):
    directory, text = with_tokenizer
    exact = logits_of(export_model(directory, tmp_path / "exact"), PROMPT)
    plain = logits_of(export_model(directory, tmp_path / "plain", **options), PROMPT)
    found = logits_of(
        export_model(directory, tmp_path / "found", calibrate=text, **options), PROMPT
    )
    assert np.square(found - exact).mean() < np.square(plain - exact).mean()


@pytest.mark.parametrize(("full_range", "bound"), [(False, 0.05), (True, 0.03)])
def test_an_untied_head_and_another_activation_function(tmp_path, random, full_range, bound):
    """Bounds are root mean squares, in spreads of logits: 7 bits round twice as coarsely as 8."""
    if full_range and saturates_int8_sums():
        pytest.skip("this processor's sums of full 8-bit products saturate")
    shape = SHAPE.but(tie_word_embeddings=False, activation_function="relu", vocab_size=4096)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(EMBEDDED_CHECKPOINT / name, checkpoint / name)
    text = tmp_path / "text.txt"
    text.write_text(PROMPT * 20)
    exact = logits_of(export_model(checkpoint, tmp_path / "exact"), PROMPT)
    found = export_model(
        checkpoint, tmp_path / "found", precision="w8a8", full_range=full_range, calibrate=str(text)
    )
    error = np.sqrt(np.square(logits_of(found, PROMPT) - exact).mean()) / exact.std()
    assert error < bound


@pytest.mark.parametrize("precision", ["w8a8", "int8", "int4"])
def test_layers_of_odd_widths_are_calibrated(tmp_path, random, with_tokenizer, precision):
    """Heads of 5, 40 inputs: zeros that fill up heads and blocks stay zeros."""
    directory, text = with_tokenizer
    shape = HEADS["of 5"].but(vocab_size=4096, max_position_embeddings=256)
    checkpoint = write_checkpoint(directory, shape, random)
    options = {"precision": precision, "graph": ("fused", "portable")}
    exact = logits_of(export_model(checkpoint, tmp_path / "exact"), PROMPT * 10)
    exports = [
        export_model(checkpoint, tmp_path / "plain", **options),
        export_model(checkpoint, tmp_path / "calibrated", calibrate=text, **options),
    ]
    for name in ("model.onnx", "portable.onnx"):
        plain, calibrated = (
            np.square(logits_of(out, PROMPT * 10, name) - exact).mean() for out in exports
        )
        assert calibrated < plain


def test_graphs_with_other_heads_are_calibrated_as_if_alone(tmp_path, random, with_tokenizer):
    """Each has its own attention weights, made from the same statistics."""
    directory, text = with_tokenizer
    shape = HEADS["of 4"].but(vocab_size=4096, max_position_embeddings=256)
    checkpoint = write_checkpoint(directory, shape, random)
    options = {"precision": "int4", "calibrate": text}
    both = export_model(checkpoint, tmp_path / "both", graph=("fused", "portable"), **options)
    for graph, name in (("fused", "model.onnx"), ("portable", "portable.onnx")):
        alone = export_model(checkpoint, tmp_path / graph, graph=graph, **options)
        found, expected = logits_of(both, PROMPT, name), logits_of(alone, PROMPT)
        assert (found == expected).all()


def test_the_command_line_calibrates(tmp_path, with_tokenizer, capsys):
    directory, text = with_tokenizer
    arguments = ["export", str(directory), str(tmp_path / "plain"), "--precision", "w8a8"]
    assert main(arguments) == 0
    arguments[2] = str(tmp_path / "calibrated")
    assert main([*arguments, "--calibrate", str(text)]) == 0
    weights = [(tmp_path / name / "model.onnx_data") for name in ("plain", "calibrated")]
    assert weights[0].stat().st_size == weights[1].stat().st_size
    assert weights[0].read_bytes() != weights[1].read_bytes()


PEAK = """
import sys
from pathlib import Path
import numpy as np
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.export.calibration.layer_inputs import layer_inputs

ids = np.arange(32 * 128).reshape(32, 128) % 301
for block in layer_inputs(open_checkpoint(Path(sys.argv[1])), ids):
    del block
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's measure of memory")
def test_memory_does_not_grow_with_the_number_of_blocks(tmp_path, random):
    peaks = []
    for layers in (2, 16):
        shape = Shape(hidden_size=512, num_heads=8, layers=("global",) * layers)
        shape = shape.but(max_position_embeddings=128)
        checkpoint = write_checkpoint(tmp_path / str(layers), shape, random)
        command = [sys.executable, "-c", PEAK, str(checkpoint)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout))
    assert peaks[1] < peaks[0] + 40  # megabytes: fewer than one block's caches and weights


class TestRefusals:
    @pytest.fixture
    def export(self, tmp_path, with_tokenizer):
        directory, text = with_tokenizer

        def export(calibrate=text, precision="int4"):
            try:
                return export_model(
                    directory, tmp_path / "out", precision=precision, calibrate=calibrate
                )
            finally:
                assert not (tmp_path / "out").exists()

        return export

    def test_precisions_without_rounding(self, export):
        with refused(InputError, "calibrate is for precision int8, w8a8, int4, and .* is fp16"):
            export(precision="fp16")

    def test_no_such_text(self, export, tmp_path):
        with refused(InputError, r"none\.txt cannot be read: No such file"):
            export(tmp_path / "none.txt")
        with refused(InputError, "cannot be read: Is a directory"):
            export(tmp_path)

    def test_not_utf_8(self, export, tmp_path):
        (tmp_path / "latin.txt").write_bytes(b"caf\xe9" * 1000)
        with refused(InputError, r"latin\.txt is not UTF-8 \(byte 3\)"):
            export(tmp_path / "latin.txt")

    def test_a_text_that_is_too_short(self, export, tmp_path):
        (tmp_path / "short.txt").write_text("Too short.")
        with refused(InputError, r"short\.txt has \d tokens; calibrating needs at least 512, and"):
            export(tmp_path / "short.txt")

    def test_no_tokenizer(self, export, with_tokenizer):
        (with_tokenizer[0] / "tokenizer.json").unlink()
        with refused(InputError, "has no tokenizer, and calibrating reads a text; add its"):
            export()

    def test_another_models_tokenizer(self, tmp_path, random, with_tokenizer):
        checkpoint = write_checkpoint(tmp_path / "drawn", Shape(), random)
        shutil.copyfile(EMBEDDED_CHECKPOINT / "tokenizer.json", checkpoint / "tokenizer.json")
        with refused(InputError, r"gives the id 4\d+, and the model has 301; use the tokenizer"):
            export_model(
                checkpoint, tmp_path / "out", precision="int4", calibrate=with_tokenizer[1]
            )

    def test_weights_that_overflow(self, export, with_tokenizer):
        def spoil(tensors):
            tensors["transformer.h.1.ln_2.weight"][:] = 1e30

        change_tensors(with_tokenizer[0], spoil)
        with refused(ModelFileError, "activations are not finite numbers while it reads the text"):
            export()
