"""How many tokens a request took."""

from pydantic import Field

from gptneo_onnx.runtime.server.schemas.base import ResponseBody


class PromptTokensDetails(ResponseBody):
    """What prompts' tokens were."""

    cached_tokens: int = Field(default=0, description="tokens that were not read again")


class Usage(ResponseBody):
    """How many tokens a request took."""

    prompt_tokens: int = Field(description="of all prompts")
    completion_tokens: int = Field(
        default=0, description="of all results, those that best_of dropped included"
    )
    total_tokens: int = Field(description="the sum of both")
    prompt_tokens_details: PromptTokensDetails | None = None


def usage_of(prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> Usage:
    """Return the usage of a request."""
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached_tokens),
    )
