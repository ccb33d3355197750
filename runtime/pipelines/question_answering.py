"""pipeline("question-answering"): answers that stand in a text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.arrays import Logits, Mask
from gptneo_onnx.runtime.engine.batching import READ_AHEAD, in_groups
from gptneo_onnx.runtime.heads import GPTNeoForQuestionAnswering
from gptneo_onnx.runtime.pipelines.answers import best_spans
from gptneo_onnx.runtime.pipelines.arguments import (
    BatchArguments,
    check_count,
    check_flags,
    updated,
)
from gptneo_onnx.runtime.pipelines.base import BasePipeline
from gptneo_onnx.runtime.pipelines.inputs import each_input
from gptneo_onnx.runtime.pipelines.windows import WindowEncoder
from gptneo_onnx.runtime.tokenizer import Tokenizer

# transformers' defaults: tokens of a window, and those that it repeats of the one before.
_WINDOW, _STRIDE = 384, 128

Answer = dict[str, Any]
# An end of a window that has more than one token, as transformers looks for more spans than it
# returns: words may hold several.
_MORE_SPANS = 10


@dataclass(frozen=True)
class AnswerArguments(BatchArguments):
    """The arguments of one call; see QuestionAnsweringPipeline.__call__()."""

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int = 15
    max_seq_len: int | None = None
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    align_to_words: bool = True
    padding: bool | str = False

    def update(self, changes: Mapping[str, Any]) -> "AnswerArguments":
        """Return a copy with changes; arguments that are None are not changed.

        Raises:
            InputError: an unknown argument, or a value out of range.
        """
        arguments = updated(self, changes, "question-answering")
        arguments._check()
        return arguments

    def _check(self) -> None:
        for name in ("top_k", "max_answer_len", "max_seq_len"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if self.doc_stride is not None:
            check_count("doc_stride", self.doc_stride, least=0)
        check_flags(self, "handle_impossible_answer", "align_to_words")


@dataclass(frozen=True)
class Question:
    """A question, and the text that is to hold its answer."""

    text: str
    context: str


class QuestionAnsweringPipeline(BasePipeline):
    """Answers questions; see pipeline(). As transformers.QuestionAnsweringPipeline."""

    task = "question-answering"

    def __init__(
        self, model: GPTNeoForQuestionAnswering, tokenizer: Tokenizer, **kwargs: Any
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._encoder = WindowEncoder(tokenizer, model.config.max_position_embeddings)
        self._cls = tokenizer.cls_token_id
        # Where padding would be on the left, transformers puts the context first.
        self._is_first = tokenizer.settings.padding_side == "right"
        self._defaults = AnswerArguments().update(kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the answer to a question, or the answers to several.

        Args:
            args: a dict with question and context, or several; or a question and a context.

        Keyword Args:
            question: a question, or several.
            context: its context, or that of each; several questions may have one context.
            top_k: how many answers are returned, the best first.
            doc_stride: a context that is too long is read in windows, which repeat that many tokens
                of the one before; by default 128, or half of a window.
            max_answer_len: tokens of an answer at most.
            max_seq_len: tokens of a window, with the question; by default 384.
            max_question_len: changes nothing, as in transformers with its fast tokenizers.
            handle_impossible_answer: whether "" may be returned: the context has no answer.
            align_to_words: whether answers begin and end with whole words.
            padding: changes nothing.
            batch_size: how many short windows are read together; changes at most the last bits of
                a result. It needs no padding token.

        Returns:
            For each question {"score", "start", "end", "answer"}, or a list of them where there
            are more than one, or none; `start` and `end` are characters of the context. For a
            single question its result alone.

        Raises:
            InputError: an unknown argument, an empty question or context, windows that hold no
                context.
            ModelFileError: the model's numbers overflow.
        """
        names = ("question", "context")
        given: dict[str, Any] = {name: kwargs.pop(name) for name in names if name in kwargs}
        arguments = self._defaults.update(kwargs)
        questions = _questions(args, given)
        if isinstance(questions, Iterator):
            return self._results(map(_question, questions), arguments)
        results = list(self._results(questions, arguments))
        return results[0] if len(results) == 1 else results

    def _results(
        self, questions: Iterable[Question], arguments: AnswerArguments
    ) -> Iterator[Answer | list[Answer]]:
        """Yield each question's answers, in order."""
        read_ahead = READ_AHEAD if arguments.batch_size > 1 else 1
        for group in in_groups(questions, read_ahead):
            windows = [self.encode(question, arguments) for question in group]
            sequences = [np.array(each.ids, np.int64) for part in windows for each in part]
            logits = dict(self.model.of_sequences(sequences, arguments.batch_size))
            done = 0
            for question, part in zip(group, windows, strict=True):
                of_question = [logits[done + index] for index in range(len(part))]
                done += len(part)
                answers = self._answers(question, part, of_question, arguments)
                yield answers[0] if len(answers) == 1 else answers

    def check(self, text: str, context: str) -> None:
        """Raise InputError unless a question can be answered from a context."""
        self.encode(_question({"question": text, "context": context}))

    def encode(
        self, question: Question, arguments: AnswerArguments | None = None
    ) -> list[tokenizers.Encoding]:
        """Return the windows of a question with its context.

        Raises:
            InputError: the windows hold no context.
        """
        arguments = arguments or self._defaults
        length = arguments.max_seq_len or min(self._encoder.longest, _WINDOW)
        stride = arguments.doc_stride
        if stride is None:
            stride = min(length // 2, _STRIDE)
        if stride > length:
            raise InputError(f"doc_stride is {stride}, max_seq_len {length}; it must be smaller")
        texts = (question.text, question.context)
        return self._encoder.windows(
            *(texts if self._is_first else texts[::-1]),
            max_length=min(length, self._encoder.context),
            stride=stride,
            strategy="only_second" if self._is_first else "only_first",
        )

    def _answers(
        self,
        question: Question,
        windows: Sequence[tokenizers.Encoding],
        logits: Sequence[Logits],
        arguments: AnswerArguments,
    ) -> list[Answer]:
        """Return the best answers of all windows; those of one text, whatever its case, are one."""
        top_k, aligns = arguments.top_k, arguments.align_to_words
        count = 2 * top_k + _MORE_SPANS if aligns else top_k
        answers: dict[str, Answer] = {}
        least_no_answer = 1e6
        for window, window_logits in zip(windows, logits, strict=True):
            allowed = self._allowed(window)
            spans, no_answer = best_spans(window_logits, allowed, count, arguments.max_answer_len)
            least_no_answer = min(least_no_answer, no_answer)
            for span in spans:
                start, end = self._characters(window, span.first, span.last, aligns)
                text = question.context[start:end]
                answer = answers.setdefault(
                    text.lower(), {"score": 0.0, "start": start, "end": end, "answer": text}
                )
                answer["score"] += span.score
        found = [*answers.values()]
        if arguments.handle_impossible_answer:
            found.append({"score": least_no_answer, "start": 0, "end": 0, "answer": ""})
        return sorted(found, key=lambda answer: -answer["score"])[:top_k]

    def _allowed(self, window: tokenizers.Encoding) -> Mask:
        """Return bool [length]: the context, and cls_token, which stands for no answer."""
        sequence = 1 if self._is_first else 0
        places = zip(window.sequence_ids, window.ids, strict=True)
        return np.array([each == sequence or token == self._cls for each, token in places])

    def _characters(
        self, window: tokenizers.Encoding, first: int, last: int, aligns: bool
    ) -> tuple[int, int]:
        """Return where a span begins and ends in the context."""
        sequence = 1 if self._is_first else 0
        words = [window.token_to_word(token) for token in (first, last) if aligns]
        places = [window.word_to_chars(word, sequence) for word in words if word is not None]
        match places:
            case [(start, _), (_, end)]:
                return start, end
            case _:
                return window.offsets[first][0], window.offsets[last][1]


def _questions(args: Sequence[Any], given: Mapping[str, Any]) -> Iterator[Any] | list[Question]:
    """Return the questions that a call passes; an iterator is passed on as it is."""
    if args and given:
        raise InputError("question and context were passed, and others before them; pass either")
    if given:
        return _zipped(given.get("question"), given.get("context"))
    match args:
        case (str(text), str(context)):
            return [_question({"question": text, "context": context})]
        case (Iterator() as questions,):
            return questions
        case (Mapping() as question,):
            return [_question(question)]
        case (several,) if not isinstance(several, str):
            each = each_input(several, "a question with its context, or several")
            return each if isinstance(each, Iterator) else [_question(item) for item in each]
        case ():
            raise InputError("no question was given; pass question= and context=")
        case _:
            return [_question(question) for question in args]


def _zipped(texts: Any, contexts: Any) -> list[Question]:
    """Return questions with their contexts; all may have the same."""
    texts, contexts = _listed(texts), _listed(contexts)
    if isinstance(texts, str) and isinstance(contexts, str):
        texts, contexts = [texts], [contexts]
    elif isinstance(texts, list) and isinstance(contexts, str):
        contexts = [contexts] * len(texts)
    if not isinstance(texts, list) or not isinstance(contexts, list):
        raise InputError(
            f"question is of type {type(texts).__name__}, context of type "
            f"{type(contexts).__name__}; texts, or lists of texts, are expected"
        )
    if len(texts) != len(contexts):
        raise InputError(
            f"there are {len(texts)} questions and {len(contexts)} contexts; pass a context for "
            "each, or one for all"
        )
    pairs = zip(texts, contexts, strict=True)
    return [_question({"question": text, "context": context}) for text, context in pairs]


def _listed(texts: Any) -> Any:
    """Return a list of texts in any form, such as a column of a data set, as a list."""
    is_several = hasattr(texts, "__len__") and not isinstance(texts, str | bytes | Mapping)
    return [*each_input(texts, "texts")] if is_several else texts


def _question(item: Any) -> Question:
    """Check a question with its context."""
    if not isinstance(item, Mapping) or set(item) != {"question", "context"}:
        raise InputError(
            f'{shown(item)} is no question; {{"question": ..., "context": ...}} is expected'
        )
    for name, text in item.items():
        if not isinstance(text, str) or not text:
            raise InputError(f"{name} is {shown(text)}; a text that is not empty is expected")
    return Question(item["question"], item["context"])
