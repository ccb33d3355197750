"""One request of /v1/chat/completions, from its fields to its answers."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from gptneo_onnx.runtime.server.api.chat_prompt import rendered_chat
from gptneo_onnx.runtime.server.api.choice_text import Part
from gptneo_onnx.runtime.server.api.generation_arguments import check_results, generation_plan
from gptneo_onnx.runtime.server.api.generation_run import GenerationRun
from gptneo_onnx.runtime.server.api.prompts import new_tokens, prompt_of_text
from gptneo_onnx.runtime.server.api.token_logprobs import chat_logprobs, prompt_logprobs
from gptneo_onnx.runtime.server.errors import ParameterError
from gptneo_onnx.runtime.server.schemas.chats import (
    AnswerMessage,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    ChunkChoice,
    Delta,
)
from gptneo_onnx.runtime.server.served_model import ServedModel
from gptneo_onnx.runtime.server.settings import ServerSettings


class ChatRun:
    """One request of /v1/chat/completions; start() comes first.

    Raises:
        ParameterError, InputError: a field cannot be used, or the model has no chat template.
    """

    def __init__(self, body: ChatRequest, model: ServedModel, settings: ServerSettings) -> None:
        self._body = body
        self._model = model
        self._results = body.n or 1
        self._id, self._created = f"chatcmpl-{uuid4().hex}", int(time.time())
        _check(body)
        check_results(body, self._results, settings)
        text = rendered_chat(
            body.messages,
            model,
            settings,
            add_generation_prompt=body.add_generation_prompt is not False,
            continue_final_message=bool(body.continue_final_message),
            values=body.chat_template_kwargs,
        )
        self._prompt = prompt_of_text(text, body, model, adds_special_tokens=False)
        name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
        max_tokens = new_tokens(
            name, getattr(body, name), model.default_tokens(None), self._prompt, model.context
        )
        self._plan = generation_plan(
            body,
            model,
            self._prompt.ids,
            max_tokens=max_tokens,
            results=self._results,
            logprobs=(body.top_logprobs or 0) if body.logprobs else None,
            prompt_logprobs=body.prompt_logprobs,
            timeout=settings.timeout,
        )

    def start(self) -> None:
        """Add the chat to the engine's queue; errors are GenerationRun's."""
        self._run = GenerationRun(self._model, [self._prompt], [self._plan], self._results)

    def cancel(self) -> None:
        """End what is left."""
        self._run.cancel()

    async def completion(self) -> ChatCompletion:
        """Return the answers, once all are there."""
        results = await self._run.whole_results()
        choices = [
            ChatChoice(message=AnswerMessage(content=part.text, refusal=None, role="assistant"),
                       **self._fields(index, part))
            for numbers, part in results.items()
            for index in self._run.indices(numbers)
        ]  # fmt: skip
        choices.sort(key=lambda choice: choice.index)
        return ChatCompletion(
            **self._header("chat.completion"),
            **self._of_prompt(),
            choices=choices,
            usage=self._run.usage(),
        )

    async def chunks(self) -> AsyncGenerator[ChatChunk, None]:
        """Yield the answers in parts, as they come: a role, texts, and why each ended."""
        header = self._header("chat.completion.chunk")
        usage: dict[str, Any] = {"usage": None} if self._body.wants_usage else {}
        begun: set[int] = set()
        async with aclosing(self._run.parts()) as parts:
            async for numbers, part in parts:
                for index in self._run.indices(numbers):
                    of_prompt = {} if begun else self._of_prompt()
                    if index not in begun:
                        begun.add(index)
                        yield ChatChunk(**header, **of_prompt, choices=[_beginning(index)], **usage)
                    for choice in self._chunk_choices(index, part):
                        yield ChatChunk(**header, choices=[choice], **usage)
        if self._body.wants_usage:
            yield ChatChunk(**header, choices=[], usage=self._run.usage())

    def _chunk_choices(self, index: int, part: Part) -> list[ChunkChoice]:
        """Return a part as a choice, and the end of an answer as another one."""
        if part.finish_reason is None:
            return [ChunkChoice(delta=Delta(content=part.text), **self._fields(index, part))]
        rest = Part(part.text, part.tokens)
        end = Part("", (), part.finish_reason, part.stop_reason)
        texts = [rest] if rest.text or rest.tokens else []
        return [
            *(
                ChunkChoice(delta=Delta(content=each.text), **self._fields(index, each))
                for each in texts
            ),
            ChunkChoice(delta=Delta(), **self._fields(index, end)),
        ]

    def _fields(self, index: int, part: Part) -> dict[str, Any]:
        """Return what a choice and a part of one have in common."""
        fields: dict[str, Any] = {
            "index": index,
            "logprobs": None,
            "finish_reason": part.finish_reason,
            "stop_reason": part.stop_reason,
        }
        if self._body.logprobs and part.tokens:
            most = self._body.top_logprobs or 0
            fields["logprobs"] = chat_logprobs(self._model.tokenizer, part.tokens, most)
        if self._body.return_token_ids:
            fields["token_ids"] = [placed.token for placed in part.tokens]
        return fields

    def _of_prompt(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self._body.return_token_ids:
            fields["prompt_token_ids"] = [*self._prompt.ids]
        if self._body.prompt_logprobs is not None:
            [running] = self._run.running
            fields["prompt_logprobs"] = prompt_logprobs(
                self._model.tokenizer, running.scores, self._body.prompt_logprobs
            )
        return fields

    def _header(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model.name,
            "system_fingerprint": self._model.fingerprint,
        }


def _beginning(index: int) -> ChunkChoice:
    """Return the first part of an answer: its role."""
    delta = Delta(role="assistant", content="")
    return ChunkChoice(index=index, delta=delta, logprobs=None, finish_reason=None)


def _check(body: ChatRequest) -> None:
    """Raise ParameterError for fields that exclude each other."""
    if body.top_logprobs is not None and not body.logprobs:
        raise ParameterError("top_logprobs need logprobs: true; give both", "top_logprobs")
    if body.best_of is not None and not body.use_beam_search:
        raise ParameterError(
            "best_of is for /v1/completions, or with use_beam_search; leave it out", "best_of"
        )
    limits = (body.max_tokens, body.max_completion_tokens)
    if None not in limits and limits[0] != limits[1]:
        raise ParameterError(
            f"max_tokens is {limits[0]} and max_completion_tokens {limits[1]}; give one of them",
            "max_tokens",
        )
