"""What an adapter makes of each weight, computed here in float64, and what is refused."""

import json
import shlex
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from adapters import PREFIX, draw_attention, draw_lora, write_adapter
from checkpoints import Shape, draw_tensors, write_checkpoint
from onnx import numpy_helper
from refusals import refused
from safetensors.numpy import load_file, save_file

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint import stored_tensor
from gptneo_onnx.export.checkpoint.adapters.merge import merge_adapter
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.export.checkpoint.hub import local_adapter
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError, ModelFileError
from gptneo_onnx.models.manifest import WEIGHTS_FILE
from gptneo_onnx.runtime.cli.main import main

SHAPE = Shape(vocab_size=61, hidden_size=16, num_heads=2, max_position_embeddings=16)
HIDDEN, VOCAB = SHAPE.hidden_size, SHAPE.vocab_size
QUERY, FC = "h.0.attn.attention.q_proj", "h.1.mlp.c_fc"
ROUNDING = 1e-6


@pytest.fixture
def checkpoint(tmp_path, random):
    return write_checkpoint(tmp_path / "base", SHAPE, random)


@pytest.fixture
def adapter(tmp_path, random):
    """LoRA of rank 3 on every query projection."""
    return write_adapter(tmp_path / "adapter", draw_attention(SHAPE, random))


@pytest.fixture
def fc(random):
    """LoRA of rank 3 on c_fc of the last layer."""
    return draw_lora(FC, 4 * HIDDEN, HIDDEN, random)


def base_tensors(checkpoint):
    tensors = load_file(checkpoint / "model.safetensors")
    return {name.removeprefix("transformer."): each for name, each in tensors.items()}


def merged(checkpoint, adapter):
    return merge_adapter(open_checkpoint(checkpoint), adapter, checkpoint)


def weight(checkpoint, adapter, name):
    return merged(checkpoint, adapter).tensors[name].read()


def product(tensors, module, names=("lora_B.weight", "lora_A.weight")):
    up, down = (tensors[f"{PREFIX}{module}.{name}"].astype(np.float64) for name in names)
    return up @ down


def close(ours, expected):
    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() <= ROUNDING * np.std(expected)


def write(adapter, tensors, **config):
    for file in adapter.iterdir() if adapter.exists() else ():
        file.unlink()
    return write_adapter(adapter, tensors, **config)


class TestLoRA:
    @pytest.mark.parametrize("pickled", [False, True])
    def test_the_product_is_added_times_alpha_over_rank(self, checkpoint, tmp_path, fc, pickled):
        adapter = write_adapter(tmp_path / "adapter", fc, pickled=pickled)
        base = base_tensors(checkpoint)[f"{FC}.weight"]
        close(weight(checkpoint, adapter, f"{FC}.weight"), base + 2 * product(fc, FC))

    def test_other_weights_are_as_they_were(self, checkpoint, adapter):
        source, base = merged(checkpoint, adapter), base_tensors(checkpoint)
        changed = [name for name in base if (source.tensors[name].read() != base[name]).any()]
        assert changed == [f"h.{layer}.attn.attention.q_proj.weight" for layer in (0, 1)]

    @pytest.mark.parametrize(
        ("config", "scaling"),
        [
            ({"use_rslora": True}, 6 / 3**0.5),
            ({"lora_alpha": 1.5}, 0.5),
            ({"alpha_pattern": {"c_fc": 9}}, 3),
            ({"alpha_pattern": {r"h\.[0-9]\.mlp\.c_.*": 9}}, 3),
            ({"alpha_pattern": {"fc": 9, "^transformer.h.1.mlp.c_fc": 12}}, 4),
            ({"r": 8, "rank_pattern": {"mlp.c_fc": 3}}, 2),
            ({"fan_in_fan_out": True}, 2),
            ({"inference_mode": False, "target_modules": "all-linear"}, 2),
        ],
    )
    def test_scaling(self, checkpoint, tmp_path, fc, config, scaling):
        adapter = write_adapter(tmp_path / "adapter", fc, **config)
        base = base_tensors(checkpoint)[f"{FC}.weight"]
        close(weight(checkpoint, adapter, f"{FC}.weight"), base + scaling * product(fc, FC))

    @pytest.mark.parametrize(
        "spelled",
        [
            lambda name: name.replace(".weight", ".default.weight"),
            lambda name: name.removeprefix("base_model.model."),
            lambda name: name.replace("transformer.", ""),
            lambda name: f"module.{name}",
        ],
    )
    def test_names_of_other_versions(self, checkpoint, tmp_path, fc, spelled):
        renamed = {spelled(name): tensor for name, tensor in fc.items()}
        adapter = write_adapter(tmp_path / "adapter", renamed)
        base = base_tensors(checkpoint)[f"{FC}.weight"]
        close(weight(checkpoint, adapter, f"{FC}.weight"), base + 2 * product(fc, FC))

    def test_numbers_of_16_bits_are_added_in_float32(self, checkpoint, tmp_path, fc):
        halves = {name: tensor.astype(np.float16) for name, tensor in fc.items()}
        tensors = {
            name: tensor.astype(ml_dtypes.bfloat16)
            for name, tensor in load_file(checkpoint / "model.safetensors").items()
        }
        save_file(tensors, checkpoint / "model.safetensors")
        adapter = write_adapter(tmp_path / "adapter", halves)
        base = tensors[f"transformer.{FC}.weight"].astype(np.float64)
        close(weight(checkpoint, adapter, f"{FC}.weight"), base + 2 * product(halves, FC))

    def test_biases(self, checkpoint, tmp_path, fc, random):
        bias, other = random.standard_normal((2, 4 * HIDDEN)).astype(np.float32)
        fc |= {f"{PREFIX}{FC}.lora_B.bias": bias, f"{PREFIX}{FC}.base_layer.bias": other}
        adapter = write_adapter(tmp_path / "adapter", fc, lora_bias=True, bias="lora_only")
        close(weight(checkpoint, adapter, f"{FC}.bias"), other + 2.0 * bias)

    def test_dora_gives_rows_their_lengths(self, checkpoint, tmp_path, fc, random):
        lengths = random.uniform(1, 2, 4 * HIDDEN).astype(np.float32)
        fc |= {f"{PREFIX}{FC}.lora_magnitude_vector": lengths}
        adapter = write_adapter(tmp_path / "adapter", fc, use_dora=True)
        rows = base_tensors(checkpoint)[f"{FC}.weight"] + 2 * product(fc, FC)
        expected = rows * (lengths / np.linalg.norm(rows, axis=1))[:, None]
        close(weight(checkpoint, adapter, f"{FC}.weight"), expected)

    @pytest.mark.parametrize("dora", [False, True])
    def test_embeddings_read_by_blocks(self, checkpoint, tmp_path, random, monkeypatch, dora):
        a, b = random.standard_normal((3, VOCAB)), random.standard_normal((HIDDEN, 3))
        lengths = random.uniform(1, 2, HIDDEN).astype(np.float32)
        tensors = {"lora_embedding_A": a, "lora_embedding_B": b}
        if dora:
            tensors["lora_magnitude_vector"] = lengths
        tensors = {f"{PREFIX}wte.{n}": each.astype(np.float32) for n, each in tensors.items()}
        adapter = write_adapter(tmp_path / "adapter", tensors, use_dora=dora)
        names = ("lora_embedding_B", "lora_embedding_A")
        expected = base_tensors(checkpoint)["wte.weight"] + 2 * product(tensors, "wte", names).T
        if dora:
            expected = expected * (lengths / np.linalg.norm(expected, axis=0))
        monkeypatch.setattr(stored_tensor, "BLOCK_BYTES", 7 * HIDDEN * 4)
        source = merged(checkpoint, adapter)
        blocks = [*source.tensors["wte.weight"].row_blocks()]
        assert len(blocks) == 9
        close(np.concatenate(blocks), expected)
        close(source.tensors["wte.weight"].read(), expected)
        assert source.config.tie_word_embeddings
        assert any("the embedding is also the head" in note for note in source.notes)


class TestOtherKinds:
    def test_ia3_scales_outputs_and_biases(self, checkpoint, tmp_path, random):
        factors = random.uniform(0.5, 2, (4 * HIDDEN, 1)).astype(np.float32)
        adapter = write_adapter(
            tmp_path / "adapter", {f"{PREFIX}{FC}.ia3_l": factors}, peft_type="IA3"
        )
        base = base_tensors(checkpoint)
        close(weight(checkpoint, adapter, f"{FC}.weight"), base[f"{FC}.weight"] * factors)
        close(weight(checkpoint, adapter, f"{FC}.bias"), base[f"{FC}.bias"] * factors[:, 0])

    def test_ia3_scales_inputs_of_feed_forward_layers(self, checkpoint, tmp_path, random):
        factors = random.uniform(0.5, 2, (1, HIDDEN)).astype(np.float32)
        adapter = write_adapter(
            tmp_path / "adapter", {f"{PREFIX}{FC}.ia3_l": factors}, peft_type="IA3"
        )
        base = base_tensors(checkpoint)
        close(weight(checkpoint, adapter, f"{FC}.weight"), base[f"{FC}.weight"] * factors)
        assert (weight(checkpoint, adapter, f"{FC}.bias") == base[f"{FC}.bias"]).all()

    @pytest.mark.parametrize("indices", [[60, 2], {"wte": [60, 2]}])
    def test_trained_tokens(self, checkpoint, tmp_path, random, monkeypatch, indices):
        rows = random.standard_normal((2, HIDDEN)).astype(np.float32)
        tensors = {f"{PREFIX}wte.token_adapter.trainable_tokens_delta": rows}
        adapter = write_adapter(tmp_path / "adapter", tensors, trainable_token_indices=indices)
        expected = base_tensors(checkpoint)["wte.weight"]
        expected[[60, 2]] = rows
        monkeypatch.setattr(stored_tensor, "BLOCK_BYTES", 7 * HIDDEN * 4)
        source = merged(checkpoint, adapter)
        assert (np.concatenate([*source.tensors["wte.weight"].row_blocks()]) == expected).all()


class TestSavedModules:
    @pytest.mark.parametrize("saved", ["wte", "lm_head"])
    def test_a_table_that_was_shared_is_no_longer(self, checkpoint, tmp_path, random, saved):
        table = random.standard_normal((VOCAB, HIDDEN)).astype(np.float32)
        name = {"wte": f"{PREFIX}wte.weight", "lm_head": "base_model.model.lm_head.weight"}[saved]
        adapter = write_adapter(tmp_path / "adapter", {name: table}, modules_to_save=[saved])
        source, base = merged(checkpoint, adapter), base_tensors(checkpoint)["wte.weight"]
        assert not source.config.tie_word_embeddings
        for each in ("wte", "lm_head"):
            expected = table if each == saved else base
            assert (source.tensors[f"{each}.weight"].read() == expected).all()
        out = export_model(checkpoint, tmp_path / "out", adapter=adapter)
        assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is False
        stored = {
            each.name: numpy_helper.to_array(each)
            for each in onnx.load(out / "model.onnx").graph.initializer
        }
        assert (stored[f"{saved}.weight"] == table).all()

    def test_a_resized_embedding_that_stays_shared(self, checkpoint, tmp_path, random):
        table = random.standard_normal((VOCAB + 3, HIDDEN)).astype(np.float32)
        tensors = {f"{PREFIX}wte.weight": table, "base_model.model.lm_head.weight": table}
        adapter = write_adapter(tmp_path / "adapter", tensors)
        out = export_model(checkpoint, tmp_path / "out", adapter=adapter)
        config = json.loads((out / "config.json").read_text())
        assert (config["vocab_size"], config["tie_word_embeddings"]) == (VOCAB + 3, True)

    def test_one_resized_table_of_two(self, checkpoint, tmp_path, random):
        table = random.standard_normal((VOCAB + 3, HIDDEN)).astype(np.float32)
        tensors = {f"{PREFIX}wte.weight": table}
        adapter = write_adapter(tmp_path / "adapter", tensors, modules_to_save=["wte"])
        with refused(ModelFileError, "embedding has 64 tokens, and the head 61; resize"):
            merged(checkpoint, adapter)

    def test_the_head_of_another_task_is_named(self, checkpoint, tmp_path, fc):
        fc["base_model.model.score.weight"] = np.ones((2, HIDDEN), np.float32)
        adapter = write_adapter(tmp_path / "adapter", fc, modules_to_save=["score"])
        source = merged(checkpoint, adapter)
        assert "score.weight is no part of a language model" in source.notes[-1]
        assert (source.tensors["score.weight"].read() == 1).all()

    def test_copies_and_masks_of_old_versions(self, checkpoint, tmp_path, fc, random):
        norm = random.standard_normal(HIDDEN).astype(np.float32)
        fc |= {
            f"{PREFIX}ln_f.modules_to_save.default.weight": norm,
            f"{PREFIX}ln_f.original_module.weight": np.zeros_like(norm),
            f"{PREFIX}h.0.attn.attention.masked_bias": np.ones(1, np.float32),
        }
        adapter = write_adapter(tmp_path / "adapter", fc, modules_to_save=["ln_f"])
        assert (weight(checkpoint, adapter, "ln_f.weight") == norm).all()


class TestExport:
    @pytest.mark.parametrize("calibrated", [False, True])
    @pytest.mark.parametrize("precision", ["int8", "int4", "w8a8"])
    def test_weights_are_rounded_after_merging(self, random, tmp_path, precision, calibrated):
        """An export of the merged weights as a checkpoint of their own has the same bytes."""
        checkpoint = tmp_path / "base"
        shutil.copytree(EMBEDDED_CHECKPOINT, checkpoint)
        shape = Shape(hidden_size=open_checkpoint(checkpoint).config.hidden_size)
        adapter = write_adapter(tmp_path / "adapter", draw_attention(shape, random))
        state = {
            f"transformer.{name}": tensor.read()
            for name, tensor in merged(checkpoint, adapter).tensors.items()
        }
        whole = Path(shutil.copytree(checkpoint, tmp_path / "merged"))
        save_file(state, whole / "model.safetensors")
        text = tmp_path / "text.txt"
        text.write_text("She was very much pleased with the whole of it. " * 60)
        arguments = {"precision": precision, "calibrate": text if calibrated else None}
        left = export_model(checkpoint, tmp_path / "one", adapter=adapter, **arguments)
        right = export_model(whole, tmp_path / "two", **arguments)
        assert (left / WEIGHTS_FILE).read_bytes() == (right / WEIGHTS_FILE).read_bytes()

    def test_one_line_says_what_was_merged(self, checkpoint, adapter, tmp_path):
        lines = []
        export_model(checkpoint, tmp_path / "out", adapter=adapter, report=lines.append)
        assert f"{adapter}: LoRA of rank 3 merged into 2 layers" in lines

    def test_another_base_model_is_named(self, checkpoint, tmp_path, fc):
        adapter = write_adapter(tmp_path / "adapter", fc, base_model_name_or_path="them/gpt-neo")
        source = merged(checkpoint, adapter)
        [note] = [note for note in source.notes if "trained with" in note]
        assert "'them/gpt-neo'" in note
        assert str(checkpoint) in note
        named = merge_adapter(open_checkpoint(checkpoint), adapter, "them/gpt-neo")
        assert not any("trained with" in note for note in named.notes)

    def test_fields_that_are_not_known_are_named(self, checkpoint, tmp_path, fc):
        adapter = write_adapter(tmp_path / "adapter", fc, use_novelty=True, other=None)
        assert any("not applied: ['use_novelty']" in n for n in merged(checkpoint, adapter).notes)

    def test_the_command_that_a_refusal_names(self, checkpoint, adapter, tmp_path, monkeypatch):
        config = json.loads((adapter / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = str(checkpoint)
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(ModelFileError, match="only a PEFT adapter") as caught:
            export_model(adapter, tmp_path / "out")
        command = str(caught.value).partition(": gptneo-onnx ")[2]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["gptneo-onnx", *shlex.split(command)])
        main()
        assert (tmp_path / "OUT" / "model.onnx").is_file()


class TestRefusals:
    @pytest.mark.parametrize(
        ("config", "match"),
        [
            ({"peft_type": "LOKR"}, "of kind 'LOKR'; LORA, IA3 .*merge_and_unload"),
            ({"peft_type": None}, "of kind None; LORA, IA3"),
            ({"peft_type": ["LORA"]}, "of kind .*; LORA, IA3"),
            ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING, which is not a change of weights"),
            ({"layer_replication": [[0, 2]]}, "layer_replication is .*not merged here"),
            ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is .*merge_and_unload"),
            ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights is 'pissa_niter_4'"),
            ({"r": 4}, r"matrices \[3, 16\] and \[64, 3\].* says rank 4"),
            ({"rank_pattern": {"c_fc": 2}}, "says rank 2"),
            ({"r": 0}, "r is 0; a whole number above 0"),
            ({"r": True}, "r is True; a whole number"),
            ({"lora_alpha": "6"}, "lora_alpha is '6'; a finite number"),
            ({"lora_alpha": float("nan")}, "lora_alpha is nan; a finite number"),
            ({"rank_pattern": ["c_fc"]}, "rank_pattern is .*; an object"),
            ({"alpha_pattern": {"(": 3}}, "is not a regular expression"),
            ({"alpha_pattern": {"(.*)+x": 3}}, "could take too long to match"),
            ({"alpha_pattern": {".*.*.*.*.*x": 3}}, "could take too long to match"),
            ({"modules_to_save": "wte"}, "modules_to_save is 'wte'; a list"),
            ({"trainable_token_indices": [-1]}, "trainable_token_indices is .*; a list of token"),
            ({"use_dora": True}, "asks for lora_A, lora_B, lora_magnitude_vector"),
            ({"peft_type": "IA3"}, "has lora_A, lora_B, and adapter_config.json asks for IA3"),
        ],
    )
    def test_configs(self, checkpoint, tmp_path, fc, config, match):
        adapter = write_adapter(tmp_path / "adapter", fc, **config)
        with refused(ModelFileError, match):
            export_model(checkpoint, tmp_path / "out", adapter=adapter)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"h.7.mlp.c_fc.lora_A.weight": (3, 16)}, "h.7.mlp.c_fc' has lora_A, and"),
            ({"h.7.mlp.c_fc.ia3_l": (1, 16)}, "'base.*h.7.*belongs to no layer"),
            ({f"{FC}.lora_A.weight": (3, 17)}, r"shape \[3, 17\], which does not fit .*\[64, 16\]"),
            ({f"{FC}.lora_B.weight": (63, 3)}, r"shape \[63, 3\], which does not fit"),
            ({f"{FC}.lora_B.weight": (64,)}, r"shape \[64\], which does not fit"),
            ({f"{FC}.lora_A.weight": ()}, r"has shape \[\]"),
            ({f"{FC}.lora_magnitude_vector": (64,)}, "does not go with"),
            ({f"{QUERY}.lora_magnitude_vector": (16,)}, "asks for lora_A, lora_B"),
            ({f"{FC}.lora_A.second.weight": (3, 16)}, "are of two adapters"),
            ({f"{FC}.lora_B.bias": (63,)}, r"shape \[63\], which does not fit"),
            ({"wte.trainable_tokens_delta": (1, 16)}, "for a table .* and 0 token ids"),
            ({"ln_f.weight": (17,)}, r"shape \[17\], which does not fit"),
            ({"wte.weight": (61, 17)}, r"shape \[61, 17\], which does not fit"),
            ({"visual.weight": (3,)}, "belongs to no layer"),
        ],
    )
    def test_tensors(self, checkpoint, tmp_path, fc, changes, match):
        fc |= {f"{PREFIX}{name}": np.ones(shape, np.float32) for name, shape in changes.items()}
        with refused(ModelFileError, match):
            merged(checkpoint, write_adapter(tmp_path / "adapter", fc))

    def test_a_bias_without_a_place(self, checkpoint, tmp_path, random):
        tensors = draw_lora(QUERY, HIDDEN, HIDDEN, random)
        tensors[f"{PREFIX}{QUERY}.lora_B.bias"] = np.ones(HIDDEN, np.float32)
        adapter = write_adapter(tmp_path / "adapter", tensors, lora_bias=True)
        with refused(ModelFileError, "has none: it cannot be merged"):
            merged(checkpoint, adapter)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_numbers_that_are_not_finite(self, checkpoint, tmp_path, fc, value):
        fc[f"{PREFIX}{FC}.lora_A.weight"][1, 2] = value
        with refused(ModelFileError, "lora_A.*holds numbers that are not finite"):
            merged(checkpoint, write_adapter(tmp_path / "adapter", fc))

    def test_whole_numbers(self, checkpoint, tmp_path, fc):
        fc[f"{PREFIX}{FC}.lora_A.weight"] = np.ones((3, HIDDEN), np.int8)
        with refused(ModelFileError, "lora_A.*holds int8 numbers"):
            merged(checkpoint, write_adapter(tmp_path / "adapter", fc))

    def test_a_quantized_base(self, checkpoint, tmp_path, fc):
        tensors = draw_tensors(SHAPE, np.random.default_rng(0))
        name = f"transformer.{FC}.weight"
        save_file(tensors | {name: np.ones((64, 16), np.int8)}, checkpoint / "model.safetensors")
        with refused(ModelFileError, "holds int8 numbers: the checkpoint is quantized"):
            merged(checkpoint, write_adapter(tmp_path / "adapter", fc))

    def test_no_tensors(self, checkpoint, tmp_path):
        with refused(ModelFileError, "holds no tensors of an adapter"):
            merged(checkpoint, write_adapter(tmp_path / "adapter", {}))

    def test_no_weights(self, checkpoint, adapter):
        (adapter / "adapter_model.safetensors").unlink()
        with refused(ModelFileError, "fetch adapter_model.safetensors or adapter_model.bin"):
            merged(checkpoint, adapter)

    def test_a_checkpoint_in_place_of_an_adapter(self, checkpoint, tmp_path):
        with refused(InputError, "a checkpoint and no adapter: adapter_config.json is missing"):
            export_model(checkpoint, tmp_path / "out", adapter=checkpoint)
        with refused(InputError, "holds no adapter: adapter_config.json is missing"):
            export_model(checkpoint, tmp_path / "out", adapter=tmp_path)

    @pytest.mark.parametrize("name", ["no-such-folder", "a b/c", "x" * 300, "x\0y"])
    def test_a_path_to_nothing(self, name):
        with refused(InputError, "adapter is .*, which is not a directory; pass a directory"):
            local_adapter(name)

    def test_several(self, checkpoint, adapter, tmp_path):
        with refused(InputError, "one is merged: make an export for each, or combine"):
            export_model(checkpoint, tmp_path / "out", adapter=[adapter, adapter])

    def test_another_type(self, checkpoint, tmp_path):
        with refused(InputError, "adapter is of type dict; a directory or a hub id"):
            export_model(checkpoint, tmp_path / "out", adapter={})
