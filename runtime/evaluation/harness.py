"""An exported model in lm-evaluation-harness (EleutherAI, lm-eval 0.4.13) as `gptneo-onnx`.

Importing this registers it: the harness has no entry points for models of others.
`gptneo-onnx lm-eval` does that, and hands its command line to the harness's own.
"""

from collections.abc import Sequence
from typing import Any

import lm_eval.models  # noqa: F401  # the harness's own, which it registers only while there are none
import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from tqdm import tqdm

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.evaluation.perplexity import check_tokenizer
from gptneo_onnx.runtime.evaluation.scoring import score
from gptneo_onnx.runtime.evaluation.windows import Window, rolling_windows
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria, StopStringCriteria
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

NAME = "gptneo-onnx"
# lm_eval.models.huggingface.HFLM's, where a task does not say.
MAX_GEN_TOKS = 256


@register_model(NAME)
class GPTNeoOnnxLM(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """lm_eval.models.huggingface.HFLM on an exported directory.

    Args (`--model_args NAME=VALUE,...`):
        pretrained: the directory.
        device: auto, cpu, cuda or cuda:N.
        batch_size: short texts that are scored together, and texts that are continued together.
        file_name: which of the directory's graphs, if not model.onnx.
        num_threads: of one operator.
        max_length: tokens that the model reads at once; its context by default.
    """

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        batch_size: int | str | None = None,
        file_name: str | None = None,
        num_threads: int | None = None,
        max_length: int | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.model = GPTNeoForCausalLM.from_pretrained(
            pretrained, device=device or "auto", num_threads=num_threads, file_name=file_name
        )
        self.tokenizer = Tokenizer.from_pretrained(pretrained)
        check_tokenizer(self.model.engine, self.tokenizer)
        self.batch_size = _batch_size(batch_size)
        context = self.model.config.max_position_embeddings
        if max_length is not None and not 2 <= max_length <= context:
            raise InputError(f"max_length is {max_length}; 2 to {context}, the context, is allowed")
        self.max_length = max_length or context

    @property
    def eot_token_id(self) -> int:
        end = self.tokenizer.eos_token_id
        assert end is not None  # check_tokenizer
        return end

    @property
    def tokenizer_name(self) -> str:
        return f"{NAME}-{self.model.engine.fingerprint}"

    def tok_encode(self, string: str, **kwargs: Any) -> list[int]:
        return self.tokenizer.encode(string)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Of whole documents, in rolling windows; nothing of an empty one."""
        documents = [
            rolling_windows(
                np.array(self.tok_encode(text), np.int64), self.eot_token_id, self.max_length
            )
            for (text,) in (request.args for request in requests)
        ]
        scores = iter(
            self._scores([each for windows in documents for each in windows], disable_tqdm)
        )
        likelihoods = [sum(next(scores)[0] for _ in windows) for windows in documents]
        for request, likelihood in zip(requests, likelihoods, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, likelihood)
        return likelihoods

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Of ((context, continuation), context ids, continuation ids); cut on the left if long."""
        windows = []
        for _, context, continuation in requests:
            if not 1 <= len(continuation) <= self.max_length:
                raise InputError(
                    f"a continuation has {len(continuation)} tokens; 1 to {self.max_length}, the "
                    "context, can be scored"
                )
            # Of white space alone a context has no tokens: the text then begins, as documents do.
            read = context or [self.eot_token_id]
            whole = np.array([*read, *continuation], np.int64)[-(self.max_length + 1) :]
            cut = len(whole) - len(continuation)
            windows.append(Window(whole[:cut], whole[cut:]))
        scores = self._scores(windows, disable_tqdm)
        for (pair, _, _), found in zip(requests, scores, strict=True):
            if pair is not None:
                self.cache_hook.add_partial("loglikelihood", pair, found)
        return scores

    def _scores(self, windows: Sequence[Window], quiet: bool) -> list[tuple[float, bool]]:
        """(log likelihood, whether all are the likeliest) of each."""
        found = [(0.0, False)] * len(windows)
        with self.model.engine.exclusive(), tqdm(total=len(windows), disable=quiet) as bar:
            decoder = self.model.engine.decoder(self.batch_size)
            for index, scored in score(decoder, windows):
                found[index] = (float(scored.log_likelihoods.sum()), bool(scored.is_greedy.all()))
                bar.update()
        return found

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Continuations up to any of `until`, which is left out."""
        texts = [""] * len(requests)
        alike: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            alike.setdefault(repr(request.args[1]), []).append(index)
        with tqdm(total=len(requests), disable=disable_tqdm) as bar:
            for own in alike.values():
                own.sort(key=lambda index: len(requests[index].args[0]))
                for batch in in_groups(own, self.batch_size):
                    options = requests[batch[0]].args[1]
                    contexts = [requests[index].args[0] for index in batch]
                    found = self._continued(contexts, dict(options))
                    for index, text in zip(batch, found, strict=True):
                        texts[index] = text
                        self.cache_hook.add_partial("generate_until", requests[index].args, text)
                    bar.update(len(batch))
        return texts

    def _continued(self, contexts: Sequence[str], options: dict[str, Any]) -> list[str]:
        """Texts that go on under the same options, which the harness normalizes."""
        arguments = dict(normalize_gen_kwargs(options, MAX_GEN_TOKS))
        until = [stop for stop in handle_stop_sequences(arguments.pop("until"), None) if stop]
        count = min(arguments.pop("max_gen_toks"), self.max_length - 1)
        room = self.max_length - count
        ids = [self.tok_encode(text)[-room:] or [self.eot_token_id] for text in contexts]
        if not arguments.get("temperature", 1.0):  # 0 is greedy
            del arguments["temperature"]
            arguments["do_sample"] = False
        padded = self.tokenizer.pad(ids)
        width = padded["input_ids"].shape[1]
        output = self.model.generate(
            **padded,
            max_new_tokens=count,
            eos_token_id=self.eot_token_id,
            stopping_criteria=_among_new(self.tokenizer, until, width),
            **arguments,
        )
        texts = self.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        for stop in until:  # one after the other, as the harness's own models do
            texts = [text.split(stop)[0] for text in texts]
        return texts


def _among_new(tokenizer: Tokenizer, until: Sequence[str], start: int) -> list[StoppingCriteria]:
    """Stops behind one of the texts, sought from column `start` on: none begins in the prompt."""
    if not until:
        return []
    stops = StopStringCriteria(tokenizer, until)
    return [lambda input_ids, scores: stops(input_ids[:, start:], scores)]


def _batch_size(value: int | str | None) -> int:
    """The harness's "auto" finds out what fits into a GPU: here 16 do."""
    if value is None or str(value).startswith("auto"):
        return 16
    if not str(value).isdigit() or int(value) < 1:
        raise InputError(f"batch_size is {value!r}; a whole number of at least 1 is allowed")
    return int(value)
