"""What users of transformers and Optimum type in Python, beside the libraries themselves."""

import inspect

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from heads import with_head

from gptneo_onnx import runtime
from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT, InputError
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, GPTNeoModel, pipeline
from gptneo_onnx.runtime.load_arguments import LOAD_NAMES, OWN_NAMES

PROMPTS = ["She was", "It is a truth universally acknowledged", "Sir"]
FIRST = {"directory", "model_id", "pretrained_model_name_or_path", "model_args", "kwargs", "cls"}


@pytest.fixture(scope="module")
def pair(embedded_export):
    import torch
    import transformers

    theirs = transformers.pipeline(
        "text-generation", model=str(EMBEDDED_CHECKPOINT), dtype=torch.float32, device=-1
    )
    return pipeline("text-generation", model=embedded_export, device="cpu"), theirs


@pytest.mark.parametrize("head", [head for head in Head if head.tensors is not None])
def test_parameters_of_heads(embedded_checkpoint, tmp_path, random, head):
    import transformers

    checkpoint = with_head(embedded_checkpoint, head, random)
    ours = getattr(runtime, head.value).from_pretrained(export_model(checkpoint, tmp_path / "out"))
    theirs = getattr(transformers, head.value).from_pretrained(checkpoint)
    for arguments in ({}, {"exclude_embeddings": True}):
        assert ours.num_parameters(**arguments) == theirs.num_parameters(**arguments)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_configs(transformers_model, tmp_path, random, tied):
    shape = Shape(tie_word_embeddings=tied, layers=("local", "global", "global"))
    checkpoint = write_checkpoint(tmp_path / "checkpoint", shape, random)
    ours = GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, tmp_path / "out"))
    theirs = transformers_model(checkpoint)
    for arguments in ({}, {"exclude_embeddings": True}, {"only_trainable": True}):
        assert ours.num_parameters(**arguments) == theirs.num_parameters(**arguments)
    assert GPTNeoModel(ours).num_parameters() == theirs.transformer.num_parameters()
    expected = theirs.config.to_dict()
    inner = theirs.transformer.h[0].mlp.c_fc.out_features  # null in the file: four times the width
    for name, value in ours.config.to_dict().items():
        if name == "attention_types":  # written with another pattern
            assert type(theirs.config)(attention_types=value, num_layers=3).attention_layers == (
                theirs.config.attention_layers
            )
        elif name in expected:
            assert value == (inner if name == "intermediate_size" else expected[name]), name
    for name in ("num_hidden_layers", "num_attention_heads", "attention_layers", "id2label"):
        assert getattr(ours.config, name) == getattr(theirs.config, name), name


def test_torchs_devices_and_types(embedded_export):
    import torch

    model = GPTNeoForCausalLM.from_pretrained(
        embedded_export, device=torch.device("cpu"), torch_dtype=torch.float32
    )
    assert model.to(torch.device("cpu"), torch.float32) is model
    assert model.to(torch.float32).to("cpu") is model
    with pytest.raises(InputError, match="dtype is bfloat16, and this graph calculates in float32"):
        model.to(torch.bfloat16)
    with pytest.raises(InputError, match="device is 'meta'"):
        model.to(torch.device("meta"))


def test_every_argument_of_optimums_from_pretrained_is_known():
    from optimum.onnxruntime import ORTModelForCausalLM

    for method in (ORTModelForCausalLM.from_pretrained, ORTModelForCausalLM._from_pretrained):
        assert {*inspect.signature(method).parameters} - FIRST <= LOAD_NAMES | {*OWN_NAMES}


def test_every_argument_of_transformers_pipeline_is_known():
    import transformers

    names = {*inspect.signature(transformers.pipeline).parameters}
    own = {*inspect.signature(pipeline).parameters}
    assert names - own <= LOAD_NAMES | {"model_kwargs"}


def test_a_batch_gives_what_transformers_gives_for_a_list(pair):
    """Its pipeline reads prompts one by one: max_length and min_length count their own tokens."""
    ours, theirs = pair
    for values in ({"max_length": 18}, {"max_length": 30, "min_length": 16}):
        import transformers

        their_config = transformers.GenerationConfig(**values, pad_token_id=0, eos_token_id=13)
        expected = theirs(PROMPTS, generation_config=their_config, return_tensors=True)
        config = GenerationConfig(**values, eos_token_id=13)
        for batch_size in (1, 3):
            found = ours(
                PROMPTS, generation_config=config, return_tensors=True, batch_size=batch_size
            )
            assert found == expected


def test_prompts_that_are_cut(pair):
    ours, theirs = pair
    arguments = {"truncation": True, "max_length": 3, "max_new_tokens": 6, "do_sample": False}
    arguments |= {"return_tensors": True}
    assert ours(PROMPTS, **arguments) == theirs(PROMPTS, **arguments)


def test_data_sets_of_transformers_and_torch(pair):
    from torch.utils.data import DataLoader
    from transformers.pipelines.pt_utils import KeyDataset

    ours, theirs = pair
    rows = [{"text": prompt} for prompt in PROMPTS]
    arguments = {"max_new_tokens": 4, "do_sample": False}
    expected = ours(PROMPTS, **arguments)
    assert list(ours(KeyDataset(rows, "text"), **arguments)) == expected
    assert list(theirs(KeyDataset(rows, "text"), **arguments)) == expected
    batches = ours(DataLoader(KeyDataset(rows, "text"), batch_size=2), **arguments)
    assert batches == [expected[:2], expected[2:]]


def test_the_framework_is_what_a_tokenizer_is_asked_for(pair):
    ours, _ = pair
    inputs = ours.tokenizer("She was", return_tensors=ours.framework).to(ours.device)
    assert isinstance(inputs["input_ids"], np.ndarray)
    assert ours.model.generate(**inputs, max_new_tokens=2).shape[1] > 2
