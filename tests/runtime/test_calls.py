"""Calls of models: what arguments pass, what is refused, and what outputs are."""

import copy
import pickle

import numpy as np
import pytest
from refusals import check_message, refused

from gptneo_onnx.models import InputError
from gptneo_onnx.models.errors import GPTNeoOnnxError
from gptneo_onnx.runtime import (
    BaseModelOutput,
    CausalLMOutput,
    GPTNeoForCausalLM,
    GPTNeoModel,
)

IDS = [[1, 2, 3, 4]]
WRONG = [object(), "text", b"bytes", -7, 2.5, {"a": 1}, [None], [[1, "b"]], {1}, float("nan")]
ARGUMENTS = (
    "input_ids", "attention_mask", "generation_config", "streamer", "logits_processor",
    "stopping_criteria", "prefix_allowed_tokens_fn", "assistant_model", "negative_prompt_ids",
    "negative_prompt_attention_mask", "past_key_values", "tokenizer", "inputs", "inputs_embeds",
    "max_new_tokens", "max_length", "num_beams", "temperature", "eos_token_id", "pad_token_id",
    "stop_strings", "seed", "bad_words_ids", "sequence_bias", "watermarking_config",
)  # fmt: skip
CALL_ARGUMENTS = (
    "input_ids", "attention_mask", "position_ids", "output_hidden_states", "labels",
    "logits_to_keep", "return_dict", "use_cache", "past_key_values", "inputs_embeds", "head_mask",
    "token_type_ids", "output_attentions", "cache_position",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(embedded_export):
    return GPTNeoForCausalLM.from_pretrained(embedded_export)


def allowed_or_refused(call):
    """Make a call whose argument may be of a wrong kind: only our own errors may come."""
    try:
        call()
    except GPTNeoOnnxError as error:
        check_message(error)


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_generate_refuses_wrong_kinds_in_one_line(model, name, value):
    arguments = {"input_ids": IDS, "max_new_tokens": 2, name: value}
    if name == "inputs":
        del arguments["input_ids"]
    allowed_or_refused(lambda: model.generate(**arguments))


@pytest.mark.parametrize("name", CALL_ARGUMENTS)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_call_refuses_wrong_kinds_in_one_line(model, name, value):
    allowed_or_refused(lambda: model(**({"input_ids": IDS} | {name: value})))


@pytest.mark.parametrize(
    "arguments",
    [
        {"return_dict": True},
        {"use_cache": True},
        {"use_cache": False},
        {"output_attentions": False},
        {"head_mask": None, "inputs_embeds": None, "past_key_values": None},
        {"head_mask": [None, None]},
        {"token_type_ids": None, "cache_position": np.arange(4)},
    ],
    ids=str,
)
def test_neutral_arguments_pass(model, arguments):
    assert np.array_equal(model(IDS, **arguments).logits, model(IDS).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_attentions": True}, "output_attentions .* leave it at False"),
        ({"token_type_ids": [[0, 0, 0, 0]]}, "token_type_ids .* GPT-Neo adds the embeddings"),
        ({"past_key_values": ((1,),)}, "past_key_values .* reads its whole text"),
        ({"inputs_embeds": np.zeros((1, 4, 8))}, "inputs_embeds .* pass input_ids"),
        ({"cache_position": [4, 5, 6, 7]}, "cache_position .* from column 0 on"),
        ({"output_attention": True}, "a call has no argument 'output_attention'"),
        ({"labels": [[1, 2]]}, r"labels has shape \[1, 2\], input_ids \[1, 4\]"),
        ({"labels": [[1, 2, 3, -1]]}, "token id -1 of labels is out of range"),
        ({"logits_to_keep": [4]}, "logits_to_keep is .4.; a number of the last columns"),
    ],
    ids=str,
)
def test_what_no_graph_gives_is_refused_by_name(model, arguments, message):
    with refused(InputError, message):
        model(IDS, **arguments)


def test_logits_to_keep(model):
    logits = model(IDS).logits
    assert np.array_equal(model(IDS, logits_to_keep=2).logits, logits[:, -2:])
    assert np.array_equal(model(IDS, logits_to_keep=9).logits, logits)
    assert np.array_equal(model(IDS, logits_to_keep=np.array([0, -1])).logits, logits[:, [0, 3]])


def test_the_loss_is_the_mean_cross_entropy_of_the_labels_that_count(model):
    output = model(IDS, labels=[[9, 2, -100, 4]])
    logits = output.logits[0].astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(log_probabilities[0, 2] + log_probabilities[2, 4]) / 2
    assert output.loss == pytest.approx(expected, rel=1e-6)
    assert output.loss.dtype == np.float32


class TestOutputs:
    def test_by_name_by_number_and_as_a_tuple(self, model):
        output = model(IDS)
        assert output["logits"] is output.logits is output[0] is output.to_tuple()[0]
        assert [*output] == [*output.keys()] == ["logits"]
        assert "logits" in output
        assert "loss" not in output
        assert isinstance(output, dict)
        with pytest.raises(KeyError):
            output["loss"]
        assert output[:1] == output.to_tuple()

    def test_a_tuple_if_asked_for(self, model):
        (logits,) = model(IDS, return_dict=False)
        assert np.array_equal(logits, model(IDS).logits)
        (state,) = GPTNeoModel(model)(IDS, return_dict=False)
        assert state.shape[:2] == (1, 4)

    @pytest.mark.parametrize(
        "copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))]
    )
    def test_copies(self, model, copied):
        output = model(IDS, labels=IDS)
        other = copied(output)
        assert type(other) is CausalLMOutput
        assert [*other] == ["loss", "logits"]
        assert np.array_equal(other.logits, output.logits)

    def test_fields_can_be_set_and_not_removed(self):
        output = BaseModelOutput(np.zeros(2))
        output.last_hidden_state = np.ones(2)
        assert output["last_hidden_state"].sum() == 2
        output["last_hidden_state"] = np.zeros(2)
        assert output.last_hidden_state.sum() == 0
        with pytest.raises(TypeError, match="keeps its fields"):
            del output["last_hidden_state"]
        with pytest.raises(TypeError, match="keeps its fields"):
            output.pop("last_hidden_state")


def test_a_sequence_without_tokens_gives_zeros(model):
    logits = model([[1, 2], [3, 4]], [[0, 0], [1, 1]]).logits
    assert not logits[0].any()
    assert np.array_equal(logits[1], model([[3, 4]]).logits[0])


def test_holes_are_left_out_within_the_window(model):
    logits = model([[1, 9, 2]], [[1, 0, 1]], position_ids=[[0, 0, 1]]).logits
    np.testing.assert_allclose(logits[0, [0, 2]], model([[1, 2]]).logits[0], atol=1e-4)
    assert not logits[0, 1].any()


def test_pad_tokens_between_tokens_are_left_out(model):
    padded = model.generate([[1, 2, 3]], pad_token_id=2, max_new_tokens=3, eos_token_id=None)
    alone = model.generate([[1, 3]], max_new_tokens=3, eos_token_id=None)
    assert padded[0].tolist() == [1, 2, 3, *alone[0, 2:]]
    with refused(InputError, "the mask that leaves out pad_token_id 2 of sequence 0 has holes"):
        model.generate([[1, 2, 3]], pad_token_id=2, max_new_tokens=300)


def test_a_saved_prompt_without_its_holes(model):
    saved = model.prefill([[1, 2, 3]], [[1, 0, 1]])
    assert np.array_equal(saved.sequences[0].ids, [1, 3])
    with refused(InputError, "has holes, and with 1 new tokens the sequence reaches past the"):
        model.prefill([[1] * 300], [[1, 0, *[1] * 298]])
