"""The model `gptneo-onnx` of lm-evaluation-harness (EleutherAI, lm-eval 0.4.13).

Importing this module registers it: the harness has no entry points for other packages' models.
`gptneo-onnx lm-eval` imports it, then passes its command line on to the harness's own.
"""

from collections.abc import Sequence
from typing import Any

import lm_eval.models  # noqa: F401  # registers the harness's own, which it does only before others
import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from tqdm import tqdm

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.batch_encoding import left_padded
from gptneo_onnx.runtime.engine.batching import in_groups
from gptneo_onnx.runtime.evaluation.document_windows import check_tokenizer, end_token
from gptneo_onnx.runtime.evaluation.scoring import score
from gptneo_onnx.runtime.evaluation.windows import Window, rolling_windows
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteria, StopStringCriteria
from gptneo_onnx.runtime.modeling import GPTNeoForCausalLM
from gptneo_onnx.runtime.tokenizer import Tokenizer

NAME = "gptneo-onnx"
# The default of lm_eval.models.huggingface.HFLM, where a task sets none.
MAX_GEN_TOKS = 256


@register_model(NAME)
class GPTNeoOnnxLM(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """An exported model with the behaviour of lm_eval.models.huggingface.HFLM.

    Args (`--model_args NAME=VALUE,...`):
        pretrained: the exported directory; or a checkpoint's, or a hub id, exported on first use.
        device: auto, cpu, cuda or cuda:N.
        batch_size: short texts that are scored together, and texts that are continued together.
        file_name: which of the directory's graphs, if not model.onnx.
        num_threads: threads of one operator.
        max_length: tokens that the model reads at once; its context by default.
        precision: of an export with several, which to run; of a checkpoint, which to export.
        revision: the branch, tag or commit of a hub id.
        trust_graph: whether to load another exporter's graph without a trial.
        max_batch_size: ignored; the harness passes it to every model.
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
        precision: str | None = None,
        revision: str | None = None,
        trust_graph: bool = False,
    ) -> None:
        super().__init__()
        self.model = GPTNeoForCausalLM.from_pretrained(
            pretrained,
            device=device or "auto",
            num_threads=num_threads,
            file_name=file_name,
            precision=precision,
            revision=revision,
            trust_graph=trust_graph,
        )
        self.tokenizer = Tokenizer.from_pretrained(self.model.engine.path)
        check_tokenizer(self.model.engine, self.tokenizer)
        self.batch_size = _batch_size(batch_size)
        context = self.model.config.max_position_embeddings
        if max_length is not None and not 2 <= max_length <= context:
            raise InputError(f"max_length is {max_length}; 2 to {context}, the context, is allowed")
        self.max_length = max_length or context

    @property
    def eot_token_id(self) -> int:
        return end_token(self.tokenizer)

    @property
    def tokenizer_name(self) -> str:
        return f"{NAME}-{self.model.engine.fingerprint}"

    def tok_encode(self, string: str, **kwargs: Any) -> list[int]:
        return self.tokenizer.encode(string, add_special_tokens=False)  # as its own models do

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Score whole documents in rolling windows; an empty one has log likelihood 0."""
        documents = [
            rolling_windows(
                np.array(self.tok_encode(text), np.int64), self.eot_token_id, self.max_length
            )
            for (text,) in (request.args for request in requests)
        ]
        all_windows = [window for windows in documents for window in windows]
        scores = iter(self._score(all_windows, disable_tqdm))
        likelihoods = [sum(next(scores)[0] for _ in windows) for windows in documents]
        for request, likelihood in zip(requests, likelihoods, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, likelihood)
        return likelihoods

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Score continuations after their contexts, which are cut on the left if too long.

        Args:
            requests: ((context, continuation) or None, context ids, continuation ids).
            disable_tqdm: whether to draw no progress bar.

        Returns:
            The log likelihood of each continuation, and whether its tokens are the likeliest.
        """
        windows = []
        for _, context, continuation in requests:
            if not 1 <= len(continuation) <= self.max_length:
                raise InputError(
                    f"a continuation has {len(continuation)} tokens; 1 to {self.max_length}, the "
                    "context, can be scored"
                )
            # A context of white space has no tokens: read the end token, as before a document.
            context = context or [self.eot_token_id]
            ids = np.array([*context, *continuation], np.int64)[-(self.max_length + 1) :]
            cut = len(ids) - len(continuation)
            windows.append(Window(ids[:cut], ids[cut:]))
        scores = self._score(windows, disable_tqdm)
        for (texts, _, _), result in zip(requests, scores, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, result)
        return scores

    def _score(self, windows: Sequence[Window], quiet: bool) -> list[tuple[float, bool]]:
        """Return (log likelihood, whether all targets are the likeliest) of each window."""
        results = [(0.0, False)] * len(windows)
        engine = self.model.engine
        with engine.exclusive(), tqdm(total=len(windows), disable=quiet) as bar:
            for index, scored in score(engine.decoder(self.batch_size), windows):
                results[index] = (float(scored.log_likelihoods.sum()), bool(scored.is_greedy.all()))
                bar.update()
        return results

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue contexts up to the first of `until`, which the results leave out.

        Requests with the same options are continued in batches, those of similar length together.
        """
        texts = [""] * len(requests)
        same_options: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            same_options.setdefault(repr(request.args[1]), []).append(index)
        with tqdm(total=len(requests), disable=disable_tqdm) as bar:
            for indices in same_options.values():
                indices.sort(key=lambda index: len(requests[index].args[0]))
                for batch in in_groups(indices, self.batch_size):
                    options = requests[batch[0]].args[1]
                    contexts = [requests[index].args[0] for index in batch]
                    continuations = self._continue(contexts, dict(options))
                    for index, text in zip(batch, continuations, strict=True):
                        texts[index] = text
                        self.cache_hook.add_partial("generate_until", requests[index].args, text)
                    bar.update(len(batch))
        return texts

    def _continue(self, contexts: Sequence[str], options: dict[str, Any]) -> list[str]:
        """Continue contexts under the same options, which the harness's functions normalize."""
        arguments = dict(normalize_gen_kwargs(options, MAX_GEN_TOKS))
        until = [stop for stop in handle_stop_sequences(arguments.pop("until"), None) if stop]
        count = min(arguments.pop("max_gen_toks"), self.max_length - 1)
        room = self.max_length - count
        ids = [self.tok_encode(text)[-room:] or [self.eot_token_id] for text in contexts]
        if not arguments.get("temperature", 1.0):  # 0 means greedy
            del arguments["temperature"]
            arguments["do_sample"] = False
        padded = left_padded(ids, self.tokenizer.eos_token_id)
        width = padded["input_ids"].shape[1]
        output = self.model.generate(
            **padded,
            max_new_tokens=count,
            return_dict_in_generate=False,
            eos_token_id=self.eot_token_id,
            stopping_criteria=_stop_in_new_text(self.tokenizer, until, width),
            **arguments,
        )
        texts = self.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
        for stop in until:  # in this order, as the harness's own models do
            texts = [text.split(stop)[0] for text in texts]
        return texts


def _stop_in_new_text(
    tokenizer: Tokenizer, until: Sequence[str], start: int
) -> list[StoppingCriteria]:
    """Stop after one of some texts in the columns from `start` on, where the prompt has ended."""
    if not until:
        return []
    stop = StopStringCriteria(tokenizer, until)
    return [lambda input_ids, scores: stop(input_ids[:, start:], scores)]


def _batch_size(value: int | str | None) -> int:
    """Read the harness's batch size; its "auto", which tries what fits into a GPU, is 16 here."""
    if value is None or str(value).startswith("auto"):
        return 16
    if not str(value).isdigit() or int(value) < 1:
        raise InputError(f"batch_size is {value!r}; a whole number of at least 1 is allowed")
    return int(value)
