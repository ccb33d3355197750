"""What an export holds, which arguments it refuses, and what it costs in memory and time."""

import hashlib
import json
import re
import subprocess
import sys
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from checkpoints import Shape, draw_tensors, write_checkpoint
from refusals import refused
from safetensors.numpy import save_file
from zero_checkpoint import write_zero_checkpoint

from gptneo_onnx.export import export_model
from gptneo_onnx.export.arguments import plan_export
from gptneo_onnx.models import InputError, MissingDependencyError, ModelFileError, Precision
from gptneo_onnx.models.graph import NumberFormat
from gptneo_onnx.models.manifest import MANIFEST_FILE, Manifest

PAGE = 4096
ITEM_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
SMALL = Shape(vocab_size=61, hidden_size=16, num_heads=2, max_position_embeddings=16)
MEGABYTE = 2**20
DEFAULTS = {
    "task": "auto",
    "graph": None,
    "precision": "fp32",
    "activations": None,
    "full_range": False,
    "calibrate": None,
    "hidden_states": None,
    "layout": "flat",
    "exporter": "direct",
    "verify": False,
    "revision": None,
    "variant": None,
}

every_precision = pytest.mark.parametrize("precision", ITEM_BYTES)


def graph_of(exported: Path) -> onnx.GraphProto:
    return onnx.load(exported / "model.onnx", load_external_data=False).graph


def external_data(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


class TestWeights:
    @every_precision
    @pytest.mark.parametrize("tied", [True, False])
    def test_every_parameter_is_stored_once(self, export_shape, random, precision, tied):
        shape = SMALL.but(tie_word_embeddings=tied)
        exported = export_shape(shape, precision)
        weights = graph_of(exported).initializer
        parameters = sum(array.size for array in draw_tensors(shape, random).values())
        assert sum(prod(weight.dims) for weight in weights) == parameters

        stored = (exported / "model.onnx_data").stat().st_size
        needed = parameters * ITEM_BYTES[precision]
        assert needed <= stored < needed + PAGE * len(weights)

    @every_precision
    def test_each_begins_on_a_page_after_the_one_before(self, export_shape, precision):
        exported = export_shape(SMALL, precision)
        end = 0
        for weight in graph_of(exported).initializer:
            place = external_data(weight)
            assert place["location"] == "model.onnx_data"
            assert int(place["offset"]) % PAGE == 0
            assert end <= int(place["offset"]) < end + PAGE
            assert int(place["length"]) == prod(weight.dims) * ITEM_BYTES[precision]
            end = int(place["offset"]) + int(place["length"])
        assert (exported / "model.onnx_data").stat().st_size == end

    def test_none_is_within_the_graph(self, export_shape):
        exported = export_shape(SMALL)
        for weight in graph_of(exported).initializer:
            assert weight.data_location == onnx.TensorProto.EXTERNAL
            assert not weight.raw_data
        assert (exported / "model.onnx").stat().st_size < MEGABYTE


class TestGraph:
    @pytest.mark.parametrize("layers", [1, 2, 5])
    @pytest.mark.parametrize(
        ("precision", "inside", "outside"),
        [
            ("fp16", 8, 8),
            ("bf16", 8, 8),
            ("fp32", 12, 7),  # SkipLayerNormalization is three nodes
            ("int8", 12, 7),
            ("int4", 12, 7),
            ("w8a8", 12 + 2 + 6 * 4, 7 + 9),  # two shapes; rows are quantized before each product
        ],
    )
    def test_nodes_of_a_layer_and_outside(self, export_shape, layers, precision, inside, outside):
        exported = export_shape(SMALL.but(layers=("global",) * layers), precision)
        assert len(graph_of(exported).node) == inside * layers + outside

    def test_its_operators_are_of_two_domains(self, export_shape):
        model = onnx.load(export_shape(SMALL) / "model.onnx", load_external_data=False)
        assert {opset.domain: opset.version for opset in model.opset_import} == {
            "": 21,
            "com.microsoft": 1,
        }
        assert {node.domain for node in model.graph.node} == {"", "com.microsoft"}
        assert not model.functions

    def test_local_layers_have_windows_and_global_ones_none(self, export_shape):
        layers = ("global", "local", "local", "global")
        graph = graph_of(export_shape(SMALL.but(layers=layers)))
        attention = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
        windows = [
            {attribute.name: attribute.i for attribute in node.attribute}.get("local_window_size")
            for node in attention
        ]
        assert windows == [None, SMALL.window_size, SMALL.window_size, None]

    def test_every_node_and_value_has_a_unique_name(self, export_shape):
        graph = graph_of(export_shape(SMALL))
        outputs = [name for node in graph.node for name in node.output if name]
        assert len(set(outputs)) == len(outputs)
        assert len({node.name for node in graph.node}) == len(graph.node)


class TestFiles:
    @every_precision
    def test_the_manifest_lists_them_all_as_they_are(self, export_shape, precision):
        exported = export_shape(SMALL, precision)
        manifest = Manifest.read(exported)
        assert manifest.graph == "fused"
        assert manifest.numbers.precision is Precision(precision)
        names = {path.name for path in exported.iterdir()} - {MANIFEST_FILE}
        assert set(manifest.files) == names
        assert {"model.onnx", "model.onnx_data", "config.json", "generation_config.json"} <= names
        for name, record in manifest.files.items():
            content = (exported / name).read_bytes()
            assert record.size == len(content)
            assert record.sha256 == hashlib.sha256(content).hexdigest()

    def test_the_config_is_the_checkpoints(self, export_shape, tmp_path):
        exported = export_shape(SMALL)
        config = tmp_path / "checkpoint" / "config.json"
        assert (exported / "config.json").read_bytes() == config.read_bytes()

    def test_the_generation_config_is_the_checkpoints(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", SMALL, random)
        config = {"eos_token_id": [1, 2], "max_new_tokens": 9}
        (checkpoint / "generation_config.json").write_text(json.dumps(config))
        exported = export_model(checkpoint, tmp_path / "out")
        assert json.loads((exported / "generation_config.json").read_text()) == config

    def test_without_one_it_has_the_configs_tokens(self, tmp_path, random):
        checkpoint = write_checkpoint(
            tmp_path / "checkpoint", SMALL, random, eos_token_id=[3, 4], pad_token_id=None
        )
        exported = export_model(checkpoint, tmp_path / "out")
        written = json.loads((exported / "generation_config.json").read_text())
        assert written == {"bos_token_id": 0, "eos_token_id": [3, 4]}

    def test_without_one_it_has_the_configs_settings(self, tmp_path, random):
        checkpoint = write_checkpoint(
            tmp_path / "checkpoint", SMALL, random, max_length=40, use_cache=False, top_k=50
        )
        lines: list[str] = []
        exported = export_model(checkpoint, tmp_path / "out", report=lines.append)
        written = json.loads((exported / "generation_config.json").read_text())
        assert written == {"bos_token_id": 0, "eos_token_id": 0, "max_length": 40}
        assert any("config.json sets max_length for generation" in line for line in lines)

    def test_one_line_names_what_no_token_depends_on(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", SMALL, random)
        values = {"use_cache": False, "odd": None, "eos_token_id": 3}
        (checkpoint / "generation_config.json").write_text(json.dumps(values))
        lines: list[str] = []
        exported = export_model(checkpoint, tmp_path / "out", report=lines.append)
        assert json.loads((exported / "generation_config.json").read_text()) == values
        [line] = [line for line in lines if "passed over" in line]
        assert line.endswith("in transformers 4.57: use_cache, odd")

    def test_a_config_with_aliases_is_written_without(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", SMALL, random)
        config = json.loads((checkpoint / "config.json").read_text())
        config["num_attention_heads"] = config.pop("num_heads")
        (checkpoint / "config.json").write_text(json.dumps(config))
        exported = export_model(checkpoint, tmp_path / "out")
        written = json.loads((exported / "config.json").read_text())
        assert written["num_heads"] == config["num_attention_heads"]
        assert "num_attention_heads" not in written

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": ' * 5000])
    def test_a_damaged_generation_config_leaves_nothing(self, tmp_path, random, content):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", SMALL, random)
        (checkpoint / "generation_config.json").write_bytes(content)
        with refused(ModelFileError, r"generation_config\.json"):
            export_model(checkpoint, tmp_path / "out")
        assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}

    def test_anyone_may_read_the_directory(self, export_shape):
        assert export_shape(SMALL).stat().st_mode & 0o777 == 0o755


class TestOptions:
    @pytest.mark.parametrize("value", ["portable-ish", "", "FUSED", False, 7])
    @pytest.mark.parametrize("option", ["graph", "precision", "exporter"])
    def test_unknown_ones_are_refused_with_those_that_exist(self, tmp_path, option, value):
        allowed = {"graph": "fused", "precision": "fp32, fp16, bf16", "exporter": "direct"}
        with refused(InputError, f"{option} is {value!r}; one of .*{allowed[option]}"):
            export_model(tmp_path, tmp_path / "out", **{option: value})

    def test_a_precision_may_be_the_enums(self, tmp_path, random):
        checkpoint = write_checkpoint(tmp_path / "checkpoint", SMALL, random)
        exported = export_model(checkpoint, tmp_path / "out", precision=Precision.FP16)
        assert Manifest.read(exported).numbers.precision is Precision.FP16

    def test_the_directory_is_returned_as_it_was_given(self, tmp_path, random, monkeypatch):
        write_checkpoint(tmp_path / "checkpoint", SMALL, random)
        monkeypatch.chdir(tmp_path)
        assert export_model("checkpoint", "out") == Path("out")
        assert (tmp_path / "out" / MANIFEST_FILE).is_file()


class TestPlan:
    """Arguments are checked before the checkpoint is looked for: here, there is none."""

    @pytest.fixture
    def plan(self, tmp_path):
        def plan(**options):
            return plan_export(tmp_path / "nowhere", tmp_path / "out", **(DEFAULTS | options))

        return plan

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"graph": ["fused", "fused"]}, "graph names .*; name each kind once"),
            ({"graph": []}, "graph is ''; one of fused, portable, genai is allowed"),
            ({"layout": "nested"}, "layout is 'nested'; one of flat, transformers.js is allowed"),
            (
                {"precision": "fp32,int8", "graph": "fused,genai"},
                "precision names fp32, int8, and",
            ),
            (
                {"precision": ["int4", "int4"]},
                "precision is .*; it must name at least one, and",
            ),
            (
                {"precision": "fp32,int3"},
                "precision is 'int3'; one of fp32, fp16, bf16, int8",
            ),
            (
                {"precision": "fp32,int4", "activations": "fp16"},
                "activations is 'fp16'; with preci",
            ),
            (
                {"precision": "fp32,int4", "full_range": True},
                "w8a8, and precision is fp32, int4",
            ),
            (
                {"precision": "fp32,fp16", "calibrate": "text"},
                "precision is fp32, fp16; leave",
            ),
            (
                {"exporter": "optimum", "precision": "fp32,int4"},
                "asked for are portable, fp32, ",
            ),
            ({"precision": "w8a8", "activations": "fp16"}, "activations is 'fp16'; with precision"),
            ({"full_range": True}, "full_range is for precision w8a8, and precision is fp32"),
            ({"calibrate": "text"}, "calibrate is for precision int8, w8a8, int4, and precision"),
            ({"hidden_states": "last"}, "hidden_states is 'last'; one of all is allowed"),
            ({"hidden_states": [0], "graph": "genai"}, "hidden_states is for graphs fused and"),
            ({"hidden_states": 0, "exporter": "optimum"}, "hidden_states is for graphs fused and"),
            ({"exporter": "optimum", "precision": "int8"}, "exporter optimum traces graph portab"),
            ({"layout": "transformers.js", "graph": "fused"}, "transformers.js runs portable gra"),
            ({"layout": "transformers.js", "precision": []}, "it must name at least one"),
            ({"layout": "transformers.js", "precision": "w8a8"}, "transformers.js has no name fo"),
            ({"precision": "bf16", "verify": True}, "--verify runs on the CPU, which has no bf16"),
        ],
    )
    def test_arguments_that_do_not_go_together_are_refused(self, tmp_path, options, match):
        with refused(InputError, match):
            export_model(tmp_path / "nowhere", tmp_path / "out", **options)
        assert list(tmp_path.iterdir()) == []

    def test_by_default_it_is_one_fused_graph_in_float32(self, plan):
        planned = plan()
        assert planned.graphs == ("fused",)
        assert planned.formats == (NumberFormat.of(Precision.FP32),)
        assert planned.hidden_layers(num_layers=3) == ()
        assert not planned.verify

    def test_tasks_without_past_have_one_portable_graph(self, plan):
        for task in ("text-generation", "feature-extraction"):
            assert plan(task=task).graphs == ("portable",)
        assert plan(task="question-answering").graphs == ("fused",)
        assert plan(task="question-answering", layout="transformers.js").graphs == ("portable",)

    def test_layout_transformers_js_has_portable_graphs(self, plan):
        planned = plan(layout="transformers.js", precision=["fp32", "int4"])
        assert planned.graphs == ("portable",)
        assert planned.formats == tuple(map(NumberFormat.of, (Precision.FP32, Precision.INT4)))

    def test_what_optimum_traces_is_always_verified(self, plan, monkeypatch):
        for module in ("arguments", "check.verify"):
            monkeypatch.setattr(f"gptneo_onnx.export.{module}.find_spec", lambda _: True)
        planned = plan(exporter="optimum")
        assert planned.graphs == ("portable",)
        assert planned.verify
        assert planned.verify_windows == 3

    @pytest.mark.parametrize("package", ["torch", "transformers", "optimum"])
    def test_missing_packages_are_named(self, plan, monkeypatch, package):
        for module in ("arguments", "check.verify"):
            monkeypatch.setattr(
                f"gptneo_onnx.export.{module}.find_spec",
                lambda name: None if name == package else True,
            )
        with refused(MissingDependencyError, f"exporter optimum needs {package}: pip install"):
            plan(exporter="optimum")
        if package == "optimum":
            assert plan(verify=True).verify
            return
        with refused(MissingDependencyError, f"--verify needs {package}: pip install"):
            plan(verify=True)


class TestNumbers:
    @pytest.fixture
    def tensors(self, random):
        return draw_tensors(SMALL, random)

    @pytest.fixture
    def export(self, tmp_path, tensors):
        """Export the drawn tensors, one of them changed in one place."""

        def change_and_export(name, value, dtype=np.float32, precision="fp32"):
            for key in tensors:
                tensors[key] = tensors[key].astype(dtype)
            tensors[name].flat[-1] = value
            directory = tmp_path / "checkpoint"
            directory.mkdir()
            (directory / "config.json").write_text(json.dumps(SMALL.config))
            save_file(tensors, directory / "model.safetensors")
            return export_model(directory, tmp_path / "out", precision=precision)

        return change_and_export

    @every_precision
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["wte.weight", "wpe.weight", "h.1.mlp.c_proj.weight"])
    def test_that_are_not_finite(self, export, tmp_path, name, value, precision):
        with refused(ModelFileError, f"{name} holds weights that are not finite numbers; fetch"):
            export(f"transformer.{name}", value, precision=precision)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
    def test_that_are_not_finite_in_half_precision(self, export, dtype):
        with refused(ModelFileError, r"ln_f\.bias holds weights that are not finite numbers"):
            export("transformer.ln_f.bias", np.nan, dtype)

    @pytest.mark.parametrize("value", [65520, -1e5, 3e38])
    def test_beyond_float16(self, export, tmp_path, value):
        shown = re.escape(f"{abs(value):.3g}")
        ends = f"holds weights of {shown}, and float16 ends at 65504; "
        with refused(ModelFileError, ends + "export with --precision bf16 or fp32"):
            export("transformer.h.0.mlp.c_fc.weight", value, precision="fp16")
        assert not (tmp_path / "out").exists()

    def test_at_the_end_of_float16(self, export):
        export("transformer.h.0.mlp.c_proj.bias", 65504, precision="fp16")

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_beyond_float32(self, export, precision):
        with refused(ModelFileError, r"weights of 1e\+300, and b?float(16|32) ends at 3\.\d+e"):
            export("transformer.h.0.mlp.c_fc.weight", 1e300, np.float64, precision)

    def test_whose_sums_go_beyond_float16(self, export, tensors, tmp_path):
        tensors["transformer.ln_f.weight"][:] = 60000
        tensors["transformer.wte.weight"][:] *= 1000
        with refused(ModelFileError, "first logits in fp16 are not finite .* --precision bf16 or"):
            export("transformer.ln_f.bias", 60000, precision="fp16")
        assert not (tmp_path / "out").exists()


COST = """
import sys, time
from pathlib import Path
import onnxruntime
from gptneo_onnx.export import export_model

def peak():
    # Not ru_maxrss, which starts at the parent process's peak.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before, start = peak(), time.monotonic()
export_model(sys.argv[1], sys.argv[2], precision=sys.argv[3])
print(before, peak(), time.monotonic() - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's measure of memory")
@pytest.mark.parametrize(
    ("precision", "megabytes"),
    # float16: ONNX Runtime's CPU has no such matrix kernels and widens the embedding, 154 MB.
    [("fp32", 250), ("fp16", 350), ("bf16", 150)],
)
def test_memory_and_time_stay_far_below_the_checkpoints_size(tmp_path, precision, megabytes):
    shape = Shape(vocab_size=50257, hidden_size=768, num_heads=12, layers=("global", "local") * 5)
    checkpoint = write_zero_checkpoint(tmp_path / "checkpoint", shape)
    size = (checkpoint / "model.safetensors").stat().st_size
    assert size > 400 * MEGABYTE
    done = subprocess.run(
        [sys.executable, "-c", COST, str(checkpoint), str(tmp_path / "out"), precision],
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, seconds = (float(word) for word in done.stdout.split())
    assert (after - before) / 1024 < megabytes
    assert seconds < 30
