"""The typed arguments are those that generate() and the pipelines take."""

import inspect
import pydoc
from dataclasses import fields

from gptneo_onnx.runtime import GenerationConfig, GPTNeoForCausalLM, TextGenerationPipeline
from gptneo_onnx.runtime.generation.argument_types import PromptedArguments, TokenArguments
from gptneo_onnx.runtime.generation.call import prepare_call
from gptneo_onnx.runtime.generation.field_types import FieldArguments, GenerationArguments
from gptneo_onnx.runtime.generation.generation_fields import DEFAULT_VALUES, KEPT
from gptneo_onnx.runtime.pipelines import argument_types
from gptneo_onnx.runtime.pipelines.arguments import PASSED_OVER, CallArguments
from gptneo_onnx.runtime.pipelines.feature_extraction import FeatureArguments
from gptneo_onnx.runtime.pipelines.question_answering import AnswerArguments
from gptneo_onnx.runtime.pipelines.text_classification import ClassificationArguments
from gptneo_onnx.runtime.pipelines.token_classification import EntityArguments

POSITIONAL = {"input_ids", "attention_mask", "generation_config", "streamer"}


def names(typed):
    return {*typed.__annotations__}


def test_every_field_of_a_config_is_typed():
    assert names(GenerationArguments) == {*DEFAULT_VALUES}
    assert names(FieldArguments) == {*DEFAULT_VALUES} - {"return_dict_in_generate"}


def test_every_other_argument_of_generate_is_typed():
    signature = inspect.signature(GPTNeoForCausalLM.generate).parameters
    own = {*signature} - POSITIONAL - {"self", "kwargs"}
    assert names(TokenArguments) == own | {*DEFAULT_VALUES}
    assert names(PromptedArguments) == names(TokenArguments) - {"return_dict_in_generate"}
    keywords = {*inspect.signature(prepare_call).parameters}
    assert own - {"synced_gpus"} == keywords - POSITIONAL - {
        "engine", "defaults", "limits", "kwargs"
    }  # fmt: skip


def test_the_pipelines_arguments_are_typed():
    def of(arguments):
        return {each.name for each in fields(arguments)}

    call = names(argument_types.TextGenerationCall)
    config = {"streamer", "generation_config"}
    of_generate = names(TokenArguments) - {"tokenizer", "inputs"}
    assert call == of(CallArguments) | {"num_workers", "padding"} | of_generate | config
    assert {"num_workers", "padding"} <= {*PASSED_OVER}
    for typed, arguments in (
        (argument_types.FeatureCall, FeatureArguments),
        (argument_types.ClassificationCall, ClassificationArguments),
        (argument_types.EntityCall, EntityArguments),
        (argument_types.AnswerCall, AnswerArguments),
    ):
        assert names(typed) == of(arguments) | {"num_workers"}


def test_help_says_what_every_argument_means():
    text = pydoc.render_doc(GPTNeoForCausalLM.generate, renderer=pydoc.plaintext)
    signature, _, words = text.partition("\n    ")
    assert words.startswith("Continue each sequence.")
    assert "_SupportsArray" not in signature  # numpy's inner names
    for name in {*DEFAULT_VALUES} - {*KEPT}:
        assert f"{name}: " in words, name
    for name in KEPT:
        assert name in words
    assert "text_inputs" in pydoc.render_doc(TextGenerationPipeline.__call__)


def test_a_config_shows_its_fields_alone():
    config = GenerationConfig(max_new_tokens=3).updated(top_k=2)
    private = [name for name in dir(config) if name[0] == "_" and name[:2] != "__"]
    assert private == []
    assert {*DEFAULT_VALUES} <= {*dir(config)}
    assert "_explicit" not in repr(config) + str(config.to_dict())
    text = pydoc.render_doc(GenerationConfig, renderer=pydoc.plaintext)
    assert "_explicit" not in text
    assert "_set(" not in text
