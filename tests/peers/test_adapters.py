"""Adapters as peft writes them, merged at export, against merge_and_unload().

The exported weights are those of the merged model to 1e-6 of their spread; so are logits (to 1e-4,
as everywhere) and greedy ids. Adapters are drawn: every way of training, on every kind of layer.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from checkpoints import Shape, write_checkpoint
from onnx import numpy_helper

from gptneo_onnx.export import export_model
from gptneo_onnx.export.checkpoint.adapters.merge import merge_adapter
from gptneo_onnx.export.checkpoint.checkpoint import open_checkpoint
from gptneo_onnx.runtime import GPTNeoForCausalLM

peft = pytest.importorskip("peft")
torch = pytest.importorskip("torch")

SHAPE = Shape()
UNTIED = SHAPE.but(tie_word_embeddings=False)
IDS = np.arange(5, 45)[None] * 7 % (SHAPE.vocab_size - 1) + 1
LINEAR = ["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"]
BIASED = ["out_proj", "c_fc", "c_proj"]
ROUNDING = 1e-6

CASES = {
    "attention": {"target_modules": ["q_proj", "v_proj"]},
    "one layer": {"target_modules": LINEAR, "layers_to_transform": [1], "layers_pattern": "h"},
    "regex": {"target_modules": r".*h\.0\..*(q_proj|c_fc)"},
    "all-linear": {"target_modules": "all-linear", "r": 4},
    "alpha": {"target_modules": LINEAR, "lora_alpha": 64, "r": 3},
    "rank-stabilized": {"target_modules": LINEAR, "use_rslora": True, "r": 5, "lora_alpha": 7},
    "fan_in_fan_out": {"target_modules": ["c_fc", "q_proj"], "fan_in_fan_out": True},
    "patterns": {
        "target_modules": LINEAR,
        "rank_pattern": {"q_proj": 2, r"h\.1\.mlp\.c_.*": 6, "^transformer.h.0.mlp.c_fc": 3},
        "alpha_pattern": {"v_proj": 40, r"h\.\d\.attn\.attention\.out_proj": 3},
    },
    "patterns and rsLoRA": {
        "target_modules": ["c_fc", "v_proj"],
        "use_rslora": True,
        "rank_pattern": {"c_fc": 9},
        "alpha_pattern": {"fc": 100, "c_fc": 21},
    },
    "DoRA": {"target_modules": LINEAR, "use_dora": True},
    "DoRA, rsLoRA": {"target_modules": ["c_fc", "k_proj"], "use_dora": True, "use_rslora": True},
    "DoRA, embeddings": {"target_modules": ["wte", "wpe"], "use_dora": True},
    "bias lora_only": {"target_modules": LINEAR, "bias": "lora_only"},
    "bias all": {"target_modules": ["q_proj"], "bias": "all"},
    "lora_bias": {"target_modules": BIASED, "lora_bias": True, "lora_alpha": 16, "bias": "all"},
    "wte": {"target_modules": ["wte"]},
    "wpe": {"target_modules": ["wpe", "c_fc"]},
    "lm_head": {"target_modules": ["lm_head", "q_proj"]},
    "wte and lm_head": {"target_modules": ["wte", "lm_head"]},
    "wte and lm_head, tied": {"target_modules": ["wte", "lm_head"], "ensure_weight_tying": True},
    "saved wte": {"target_modules": ["q_proj"], "modules_to_save": ["wte"]},
    "saved lm_head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "saved wte and lm_head": {"target_modules": LINEAR, "modules_to_save": ["wte", "lm_head"]},
    "saved wte, tied": {
        "target_modules": ["q_proj"],
        "modules_to_save": ["wte"],
        "ensure_weight_tying": True,
    },
    "saved norms": {"target_modules": ["q_proj"], "modules_to_save": ["ln_f", "ln_1"]},
    "saved mlp": {"target_modules": ["q_proj"], "modules_to_save": ["mlp"]},
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [1, 5, 300]},
    "tokens of wte": {"target_modules": ["c_fc"], "trainable_token_indices": {"wte": [7, 2]}},
    "gaussian": {"target_modules": LINEAR, "init_lora_weights": "gaussian"},
}
WAYS = ["tied", "untied"]


def config_of(name):
    return peft.LoraConfig(task_type="CAUSAL_LM", **CASES[name])


def load(directory, dtype="float32"):
    from transformers import GPTNeoForCausalLM as Peer

    return Peer.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()


def train(model, config, out: Path, random, safe=True):
    """Write an adapter whose every trained number was moved, as training moves them."""
    trained = peft.get_peft_model(model, config)
    torch.manual_seed(int(random.integers(2**31)))
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    trained.save_pretrained(out, safe_serialization=safe)
    return out


def merged(base, adapter):
    return peft.PeftModel.from_pretrained(base, adapter).merge_and_unload().eval()


def weights_agree(checkpoint, adapter, peer, rounding=ROUNDING):
    """Compare every merged weight, whole and by blocks of rows, with the merged model's."""
    source = merge_adapter(open_checkpoint(checkpoint), adapter, checkpoint)
    state = peer.state_dict()
    for name, tensor in source.tensors.items():
        key = name if name == "lm_head.weight" else f"transformer.{name}"
        expected = state[key].float().numpy()
        blocks = np.concatenate([*tensor.row_blocks()]).astype(np.float32)
        assert np.abs(blocks - expected).max() <= rounding * expected.std(), name
        assert np.abs(tensor.read() - expected).max() <= rounding * expected.std(), name
    assert source.config.tie_word_embeddings == (peer.lm_head.weight is peer.transformer.wte.weight)


def agrees(checkpoint, adapter, peer, tmp_path, **arguments):
    """Compare the export's logits and greedy ids with those of the merged model."""
    export_model(checkpoint, tmp_path / "out", adapter=adapter, **arguments)
    ours = GPTNeoForCausalLM.from_pretrained(tmp_path / "out", num_threads=1)
    with torch.no_grad():
        logits = peer(torch.from_numpy(IDS)).logits.numpy()
        ids = peer.generate(
            torch.from_numpy(IDS), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
    assert np.abs(ours(IDS).logits - logits).max() < 1e-4 * logits.std()
    greedy = ours.generate(IDS, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert greedy.tolist() == ids.tolist()


@pytest.fixture(params=WAYS)
def checkpoint(request, tmp_path, random):
    shape = SHAPE if request.param == "tied" else UNTIED
    return write_checkpoint(tmp_path / "base", shape, random)


@pytest.mark.parametrize("name", CASES)
def test_lora(checkpoint, name, tmp_path, random):
    adapter = train(load(checkpoint), config_of(name), tmp_path / "adapter", random)
    peer = merged(load(checkpoint), adapter)
    weights_agree(checkpoint, adapter, peer)
    agrees(checkpoint, adapter, peer, tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        peft.IA3Config(target_modules=["k_proj", "out_proj", "c_fc"], feedforward_modules=["c_fc"]),
        peft.IA3Config(target_modules=LINEAR, feedforward_modules=[], modules_to_save=["ln_f"]),
        peft.TrainableTokensConfig(token_indices=[3, 44], target_modules=["wte"]),
    ],
    ids=["IA3", "IA3 of outputs", "trainable tokens"],
)
def test_other_kinds(checkpoint, config, tmp_path, random):
    adapter = train(load(checkpoint), config, tmp_path / "adapter", random)
    peer = merged(load(checkpoint), adapter)
    weights_agree(checkpoint, adapter, peer)
    agrees(checkpoint, adapter, peer, tmp_path)


@pytest.mark.parametrize("name", ["all-linear", "DoRA", "saved wte and lm_head"])
def test_pickled_adapters(checkpoint, name, tmp_path, random):
    config = config_of(name)
    adapter = train(load(checkpoint), config, tmp_path / "adapter", random, safe=False)
    assert (adapter / "adapter_model.bin").is_file()
    weights_agree(checkpoint, adapter, merged(load(checkpoint), adapter))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["all-linear", "DoRA", "wte", "lora_bias", "saved mlp"])
def test_checkpoints_and_adapters_in_16_bits(checkpoint, name, dtype, tmp_path, random):
    half = tmp_path / "half"
    load(checkpoint, dtype).save_pretrained(half)
    adapter = train(load(half, dtype), config_of(name), tmp_path / "adapter", random)
    weights_agree(half, adapter, merged(load(half), adapter))
    # In the checkpoint's own type peft rounds sums, and for some weights what it sums, too.
    least = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    expected = merged(load(half, dtype), adapter).state_dict()
    source = merge_adapter(open_checkpoint(half), adapter, half)
    for weight, tensor in source.tensors.items():
        key = weight if weight == "lm_head.weight" else f"transformer.{weight}"
        theirs = expected[key].float().numpy()
        bound = least * (np.abs(theirs) + theirs.std())
        assert (np.abs(tensor.read().astype(np.float32) - theirs) <= bound).all(), weight


def test_float16_exports_round_as_peft_does_in_float16(checkpoint, tmp_path, random):
    half = tmp_path / "half"
    load(checkpoint, "float16").save_pretrained(half)
    adapter = train(load(half, "float16"), config_of("all-linear"), tmp_path / "adapter", random)
    out = export_model(half, tmp_path / "out", adapter=adapter, precision="fp16")
    graph = onnx.load(out / "model.onnx").graph
    name = "h.1.mlp.c_fc.weight"
    [ours] = [numpy_helper.to_array(each) for each in graph.initializer if each.name == name]
    theirs = merged(load(half, "float16"), adapter).state_dict()[f"transformer.{name}"].numpy()
    ours = ours if ours.shape == theirs.shape else ours.T
    assert (ours != theirs).mean() < 1e-3  # sums in another order, at the border of a rounding


class TestVocabulary:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"target_modules": ["q_proj"]},
            {"target_modules": ["q_proj", "wte"]},
            {"target_modules": ["k_proj"], "modules_to_save": ["wte", "lm_head"]},
            {"target_modules": ["k_proj"], "modules_to_save": ["lm_head"]},
        ],
    )
    def test_a_resized_embedding(self, checkpoint, arguments, tmp_path, random):
        resized = load(checkpoint)
        resized.resize_token_embeddings(310)
        config = peft.LoraConfig(**arguments)
        adapter = train(resized, config, tmp_path / "adapter", random)
        base = load(checkpoint)
        base.resize_token_embeddings(310)
        peer = merged(base, adapter)
        weights_agree(checkpoint, adapter, peer)
        agrees(checkpoint, adapter, peer, tmp_path, verify=True)
        assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == 310

    def test_trained_tokens_of_a_resized_embedding(self, checkpoint, tmp_path, random):
        resized = load(checkpoint)
        resized.resize_token_embeddings(310)
        config = peft.LoraConfig(target_modules=["q_proj"], trainable_token_indices=[2, 305])
        adapter = train(resized, config, tmp_path / "adapter", random)
        base = load(checkpoint)
        base.resize_token_embeddings(310)
        weights_agree(checkpoint, adapter, merged(base, adapter))


@pytest.mark.parametrize("precision", ["int8", "int4", "w8a8", "fp16"])
def test_other_precisions_are_verified_against_peft(
    embedded_checkpoint, precision, tmp_path, random
):
    config = config_of("attention")
    adapter = train(load(embedded_checkpoint), config, tmp_path / "adapter", random)
    lines = []
    arguments = {"precision": precision, "verify": True, "report": lines.append}
    export_model(embedded_checkpoint, tmp_path / "out", adapter=adapter, **arguments)
    assert any("differs from transformers by at most" in line for line in lines)


@pytest.mark.parametrize("name", ["DoRA", "saved wte"])
def test_traced_graphs(checkpoint, name, tmp_path, random):
    adapter = train(load(checkpoint), config_of(name), tmp_path / "adapter", random)
    peer = merged(load(checkpoint), adapter)
    agrees(checkpoint, adapter, peer, tmp_path, exporter="optimum")


def test_the_tokenizer_of_an_adapter_as_auto_peft_model_takes_it(
    embedded_checkpoint, tmp_path, random
):
    from transformers import AutoTokenizer

    from gptneo_onnx.runtime import Tokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded_checkpoint)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|bot|>"]})
    model = load(embedded_checkpoint)
    model.resize_token_embeddings(len(tokenizer))
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["wte", "lm_head"]
    )
    adapter = train(model, config, tmp_path / "adapter", random)
    tokenizer.save_pretrained(adapter)
    peer = peft.AutoPeftModelForCausalLM.from_pretrained(adapter).merge_and_unload().eval()
    out = export_model(embedded_checkpoint, tmp_path / "out", adapter=adapter)
    ids = np.array([tokenizer("<|user|>She was<|bot|>")["input_ids"]])
    read = Tokenizer.from_pretrained(out)("<|user|>She was<|bot|>")["input_ids"]
    assert read == ids[0].tolist()
    with torch.no_grad():
        logits = peer(torch.from_numpy(ids)).logits.numpy()
    ours = GPTNeoForCausalLM.from_pretrained(out, num_threads=1)
    assert np.abs(ours(ids).logits - logits).max() < 1e-4 * logits.std()
