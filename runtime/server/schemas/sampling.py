"""The fields that say how to generate: the same for completions and chats."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gptneo_onnx.runtime.server.schemas.base import LARGEST, CommonFields, Integer, RequestBody

# As vLLM's --max-logprobs.
MOST_LOGPROBS = 20
MOST_STOPS = 64
TokenId = Annotated[Integer, Field(ge=0, le=LARGEST)]
StopString = Annotated[str, Field(min_length=1, max_length=1000)]


# Names that vLLM had before structured_outputs.
OLDER_NAMES = {
    f"guided_{kind}": f"its newer name is structured_outputs: {{{kind}: ...}}"
    for kind in ("json", "regex", "choice", "grammar")
}


class StreamOptions(RequestBody):
    """Options of a stream."""

    include_usage: bool | None = Field(
        default=None, description="send a last chunk with the usage, whose choices are empty"
    )
    include_obfuscation: bool | None = Field(default=None, description="passed over")


class JsonSchema(RequestBody):
    """A JSON schema with its name."""

    name: str | None = Field(default=None, description="passed over")
    description: str | None = Field(default=None, description="passed over")
    strict: bool | None = Field(
        default=None, description="passed over: schemas are always enforced"
    )
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="the JSON schema; any object without one"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_others(cls, values: Any) -> Any:
        return values  # the field's alias is no name


class ResponseFormat(RequestBody):
    """What the text is: JSON, or anything."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = Field(default=None, description="for the type json_schema")

    @model_validator(mode="after")
    def _check(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise PydanticCustomError("schema", "response_format has no json_schema; give one")
        return self


class StructuredOutputs(RequestBody):
    """What the text must match: exactly one of these (vLLM's field)."""

    json_: dict[str, Any] | str | None = Field(
        default=None, alias="json", description="a JSON schema"
    )
    json_object: bool | None = Field(default=None, description="true for any JSON object")
    regex: str | None = Field(default=None, description="a regular expression, in Rust's syntax")
    choice: list[str] | None = Field(
        default=None, description="texts of which it is one", min_length=1, max_length=10_000
    )
    grammar: str | None = Field(
        default=None, description="a context-free grammar, in llguidance's variant of Lark's syntax"
    )

    disable_any_whitespace: bool | None = Field(
        default=None,
        description="compact JSON; true, since small models write white space without end",
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_others(cls, values: Any) -> Any:
        return values  # the field's alias is no name

    @model_validator(mode="after")
    def _check(self) -> "StructuredOutputs":
        given = (self.json_, self.json_object or None, self.regex, self.choice, self.grammar)
        if sum(each is not None for each in given) != 1:
            raise PydanticCustomError(
                "structured", "give exactly one of json, json_object, regex, choice and grammar"
            )
        return self


class SamplingFields(CommonFields):
    """The fields that say how to generate. Where one is null, its default counts.

    The model's generation_config.json replaces defaults, as in vLLM.
    """

    stream: bool | None = Field(default=None, description="send the text while it is generated")
    stream_options: StreamOptions | None = Field(default=None, description="needs stream")
    n: Annotated[Integer, Field(ge=1, le=LARGEST)] | None = Field(
        default=None, description="results; 1"
    )
    best_of: Annotated[Integer, Field(ge=1, le=LARGEST)] | None = Field(
        default=None,
        description="generate this many, and return the n of the best mean log probability; with "
        "use_beam_search, the beams; n",
    )
    max_tokens: Annotated[Integer, Field(ge=0, le=LARGEST)] | None = Field(
        default=None, description="most tokens to generate"
    )
    temperature: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        default=None, description="divides scores; 0 takes the likeliest token; 1"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="draw from the likeliest tokens of this total probability; 1"
    )
    top_k: Annotated[Integer, Field(ge=-1, le=LARGEST)] | None = Field(
        default=None, description="draw from this many of the likeliest tokens; 0 and -1 for all; 0"
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="draw from tokens at least this likely, relative to the likeliest; 0",
    )
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="draw from typical tokens of this total probability; 1"
    )
    seed: Annotated[Integer, Field(ge=-(2**63), le=2**64 - 1)] | None = Field(
        default=None,
        description="sets the draws; the same seed gives the same text, whatever else runs",
    )
    stop: StopString | Annotated[list[StopString], Field(max_length=MOST_STOPS)] | None = Field(
        default=None, description="texts that end a result, which is cut before them"
    )
    stop_token_ids: Annotated[list[TokenId], Field(max_length=1000)] | None = Field(
        default=None, description="tokens that end a result, besides the model's end tokens"
    )
    include_stop_str_in_output: bool | None = Field(
        default=None, description="leave the stop text, or the end token's text, in the result"
    )
    ignore_eos: bool | None = Field(default=None, description="go on after the model's end token")
    min_tokens: Annotated[Integer, Field(ge=0, le=LARGEST)] | None = Field(
        default=None, description="tokens before which nothing ends a result; 0"
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="subtracted from the scores of tokens that were generated; 0"
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="the same, for each time that they were; 0"
    )
    repetition_penalty: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="divides positive scores of tokens of prompt and result; 1"
    )
    no_repeat_ngram_size: Annotated[Integer, Field(ge=0, le=LARGEST)] | None = Field(
        default=None,
        description="length of the runs of tokens that may not occur twice; 0 for none",
    )
    logit_bias: (
        Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)]
        | None
    ) = Field(default=None, description="numbers added to tokens' scores, by token id")
    use_beam_search: bool | None = Field(
        default=None, description="search with n beams, or num_beams, rather than sample"
    )
    num_beams: Annotated[Integer, Field(ge=1, le=LARGEST)] | None = Field(
        default=None, description="beams to search with; 1 for no search"
    )
    length_penalty: Annotated[float, Field(ge=-1e3, le=1e3)] | None = Field(
        default=None, description="a beam's score is divided by its length to the power of this; 1"
    )
    early_stopping: bool | None = Field(
        default=None, description="whether a beam search stops at num_beams finished beams"
    )
    guidance_scale: Annotated[float, Field(ge=-1e3, le=1e3)] | None = Field(
        default=None, description="weight of the prompt against negative_prompt (arXiv:2306.17806)"
    )
    negative_prompt: str | Annotated[list[TokenId], Field(min_length=1)] | None = Field(
        default=None, description="text or token ids; needs guidance_scale"
    )
    response_format: ResponseFormat | None = Field(default=None, description="text, or JSON")
    structured_outputs: StructuredOutputs | None = Field(
        default=None, description="what the text must match"
    )
    skip_special_tokens: bool | None = Field(
        default=None, description="leave the texts of special tokens out of the result; true"
    )
    add_special_tokens: bool | None = Field(
        default=None, description="put the tokens around a text that the tokenizer has for that"
    )
    truncate_prompt_tokens: Annotated[Integer, Field(ge=-1, le=LARGEST)] | None = Field(
        default=None,
        description="keep this many of the prompt's last tokens; -1 for as many as fit",
    )
    return_token_ids: bool | None = Field(
        default=None, description="add token_ids and prompt_token_ids to choices"
    )
    prompt_logprobs: Annotated[Integer, Field(ge=0, le=MOST_LOGPROBS)] | None = Field(
        default=None,
        description="add the prompt's log probabilities, with as many others beside each",
    )

    @property
    def stops(self) -> list[str]:
        """The stop texts."""
        return [self.stop] if isinstance(self.stop, str) else [*(self.stop or ())]

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)
