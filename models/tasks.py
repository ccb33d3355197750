"""What an exported model is for: its task, by Optimum's names, and the head that it needs.

https://huggingface.co/docs/optimum-onnx: of these tasks, Optimum exports a GPT-Neo for the first
five. Heads: transformers.models.gpt_neo.modeling_gpt_neo.
"""

from dataclasses import dataclass
from enum import Enum

from gptneo_onnx.models.config import GPTNeoConfig
from gptneo_onnx.models.errors import InputError, shown

LM_HEAD = "lm_head.weight"
PAST_SUFFIX = "-with-past"


class Head(Enum):
    """What stands on the decoder: one of transformers' classes of GPT-Neo, by its name."""

    CAUSAL_LM = "GPTNeoForCausalLM"
    NONE = "GPTNeoModel"
    SEQUENCE_CLASSIFICATION = "GPTNeoForSequenceClassification"
    TOKEN_CLASSIFICATION = "GPTNeoForTokenClassification"  # noqa: S105
    QUESTION_ANSWERING = "GPTNeoForQuestionAnswering"

    @property
    def tensors(self) -> "HeadTensors | None":
        """The head's linear layer; None for GPTNeoForCausalLM and GPTNeoModel."""
        return _TENSORS.get(self.value)


@dataclass(frozen=True)
class HeadTensors:
    """The names of a head's weight [columns, hidden] and of its bias [columns], if it has one."""

    weight: str
    bias: str | None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.weight,) if self.bias is None else (self.weight, self.bias)


_TENSORS = {
    "GPTNeoForSequenceClassification": HeadTensors("score.weight", None),
    "GPTNeoForTokenClassification": HeadTensors("classifier.weight", "classifier.bias"),
    "GPTNeoForQuestionAnswering": HeadTensors("qa_outputs.weight", "qa_outputs.bias"),
}


class Task(Enum):
    """The task of an export.

    What graphs of each give, besides hidden states (fused_contract, portable_contract):

    - text-generation-with-past, text-generation: `logits` over the vocabulary
    - feature-extraction-with-past, feature-extraction: the last hidden states, no logits
    - text-classification: `logits` over the labels, one row for each text
    - token-classification: `logits` over the labels, at every token
    - question-answering: two logits at every token, that the answer starts and ends there
    """

    TEXT_GENERATION_WITH_PAST = "text-generation-with-past"
    TEXT_GENERATION = "text-generation"
    FEATURE_EXTRACTION_WITH_PAST = "feature-extraction-with-past"
    FEATURE_EXTRACTION = "feature-extraction"
    TEXT_CLASSIFICATION = "text-classification"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105
    QUESTION_ANSWERING = "question-answering"

    @classmethod
    def named(cls, name: object) -> "Task":
        """Return the task of that name; raises InputError for an unknown name."""
        if isinstance(name, Task):
            return name
        names = [task.value for task in cls]
        if not isinstance(name, str) or name not in names:
            raise InputError(f"task is {shown(name)}; one of {', '.join(names)} is allowed")
        return cls(name)

    @property
    def head(self) -> Head:
        return _HEADS[self.value.removesuffix(PAST_SUFFIX)]

    @property
    def has_past(self) -> bool:
        """Whether portable graphs give caches. Fused graphs always take and give them."""
        return self.value.endswith(PAST_SUFFIX)

    @property
    def is_generation(self) -> bool:
        return self.head is Head.CAUSAL_LM

    @property
    def has_labels(self) -> bool:
        """Whether the columns of logits are the labels of config.json."""
        return self in (Task.TEXT_CLASSIFICATION, Task.TOKEN_CLASSIFICATION)

    @property
    def is_optimums(self) -> bool:
        """Whether Optimum exports a GPT-Neo for this task."""
        return self not in (Task.TOKEN_CLASSIFICATION, Task.QUESTION_ANSWERING)

    @property
    def graph_kinds(self) -> tuple[str, ...]:
        """The kinds of graphs (GRAPH_KINDS) that can be for this task, the default first."""
        if self is Task.TEXT_GENERATION_WITH_PAST:
            return ("fused", "portable", "genai")
        # Asked for without past; a fused graph is nothing but a graph with past.
        if self in (Task.TEXT_GENERATION, Task.FEATURE_EXTRACTION):
            return ("portable",)
        return ("fused", "portable")

    def columns(self, config: GPTNeoConfig) -> int:
        """Return the numbers that the head gives for a token; 0 where there is no head."""
        match self.head:
            case Head.CAUSAL_LM:
                return config.vocab_size
            case Head.NONE:
                return 0
            case Head.QUESTION_ANSWERING:
                return 2
            case Head.SEQUENCE_CLASSIFICATION | Head.TOKEN_CLASSIFICATION:
                return config.labels.count


_HEADS = {
    "text-generation": Head.CAUSAL_LM,
    "feature-extraction": Head.NONE,
    "text-classification": Head.SEQUENCE_CLASSIFICATION,
    "token-classification": Head.TOKEN_CLASSIFICATION,
    "question-answering": Head.QUESTION_ANSWERING,
}
