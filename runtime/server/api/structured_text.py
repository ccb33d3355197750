"""From the fields that say what a text must match to the processor that sees to it."""

import json

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.generation.processors.structured import StructuredOutput
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.sampling import (
    ResponseFormat,
    SamplingFields,
    StructuredOutputs,
)
from gptneo_onnx.runtime.server.served_model import ServedModel

_OBJECT = {"type": "object"}


def structured_processor(
    fields: SamplingFields, model: ServedModel, prompt: int
) -> StructuredOutput | None:
    """Return the processor that a request asks for; None if it asks for none.

    Args:
        fields: the request's.
        model: that generates.
        prompt: the prompt's length in tokens.

    Raises:
        ParameterError: both fields are set, or the schema, expression or grammar cannot be used.
        MissingDependencyError: llguidance is not installed.
    """
    outputs = fields.structured_outputs
    text_format = fields.response_format
    is_text = text_format is None or text_format.type == "text"
    if fields.ignore_eos and (outputs is not None or not is_text):
        raise ParameterError(
            "ignore_eos is true, and a text that matches must be able to end; leave it out",
            "ignore_eos",
        )
    if outputs is not None and not is_text:
        raise ParameterError(
            "response_format and structured_outputs exclude each other; give one of them",
            "structured_outputs",
        )
    try:
        if outputs is not None:
            return _of_outputs(outputs, model, prompt)
        return None if text_format is None or is_text else _of_format(text_format, model, prompt)
    except InputError as error:
        name = "response_format" if outputs is None else "structured_outputs"
        raise ParameterError(str(error), name) from error


def _of_format(text_format: ResponseFormat, model: ServedModel, prompt: int) -> StructuredOutput:
    named = text_format.json_schema
    schema = _OBJECT if named is None or named.schema_ is None else named.schema_
    return StructuredOutput.from_json_schema(
        model.tokenizer, schema, whitespace=False, eos_token_id=_ends(model), prompt_length=prompt
    )


def _of_outputs(outputs: StructuredOutputs, model: ServedModel, prompt: int) -> StructuredOutput:
    tokenizer, ends = model.tokenizer, _ends(model)
    if outputs.regex is not None:
        return StructuredOutput.from_regex(
            tokenizer, outputs.regex, eos_token_id=ends, prompt_length=prompt
        )
    if outputs.choice is not None or outputs.grammar is not None:
        grammar = outputs.grammar
        if outputs.choice is not None:
            texts = (json.dumps(text, ensure_ascii=False) for text in outputs.choice)
            grammar = f"start: {' | '.join(texts)}"
        assert grammar is not None
        return StructuredOutput.from_grammar(
            tokenizer, grammar, eos_token_id=ends, prompt_length=prompt
        )
    schema = _OBJECT if outputs.json_ is None else outputs.json_
    return StructuredOutput.from_json_schema(
        tokenizer,
        schema,
        whitespace=outputs.disable_any_whitespace is False,
        eos_token_id=ends,
        prompt_length=prompt,
    )


def _ends(model: ServedModel) -> list[int] | None:
    """Return the end tokens; None takes the tokenizer's."""
    return [*model.end_tokens] or None
