"""The pipelines of the heads against transformers' own, on the embedded model with drawn heads.

transformers' need a padding token for batches, and for windows of long texts; ours do not.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from heads import with_head

from gptneo_onnx.export import export_model
from gptneo_onnx.models import EMBEDDED_CHECKPOINT
from gptneo_onnx.models.tasks import Head
from gptneo_onnx.runtime import InputError, Tokenizer, pipeline
from gptneo_onnx.runtime.pipelines.question_answering import Question
from gptneo_onnx.runtime.pipelines.windows import WindowEncoder

TEXTS = [
    "She was very fond of Mr. Darcy, and of Emma Woodhouse too.",
    "“My dear Anne,” said Sir Walter; <|endoftext|> no one else.",
    "x",
    "Emma Woodhouse, handsome, clever, and rich, with a comfortable home " * 8,
]
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
QUESTION = "Who was fond of Emma?"
GRAPHS = ("model.onnx", "portable.onnx")


def same(ours, theirs):
    """Whether two results are equal; scores to 1e-5, logits to 1e-5 of their size."""
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float | np.floating):
        return type(ours) is float and abs(ours - theirs) < 1e-5 * max(1, abs(theirs))
    return ours == theirs


class Pair:
    """Our pipelines of a checkpoint, one for each graph, and transformers'."""

    def __init__(self, folder, task, head, tokenizer=None, labels=LABELS, **config):
        import torch
        import transformers

        checkpoint = Path(shutil.copytree(EMBEDDED_CHECKPOINT, folder / "checkpoint"))
        with_head(checkpoint, head, np.random.default_rng(5), labels, **config)
        export = export_model(checkpoint, folder / "export", graph=("fused", "portable"))
        read = transformers.AutoTokenizer.from_pretrained(checkpoint, **tokenizer or {})
        self.theirs = transformers.pipeline(
            task, str(checkpoint), tokenizer=read, device=-1, dtype=torch.float32
        )
        self.ours = [
            pipeline(None, export, Tokenizer.coerce(read), device="cpu", file_name=graph)
            for graph in GRAPHS
        ]

    def check(self, *args, batched=False, **kwargs):
        expected = self.theirs(*args, **kwargs)
        for ours in self.ours:
            assert same(ours(*args, **kwargs), expected)
            if batched:
                assert same(ours(*args, batch_size=4, **kwargs), expected)


class TestTextClassification:
    @pytest.fixture(
        scope="class",
        params=[
            (("no", "perhaps", "yes"), None),
            (("no", "yes"), "multi_label_classification"),
            (("positive",), None),
            (("stars",), "regression"),
        ],
        ids=str,
    )
    def pair(self, request, tmp_path_factory):
        labels, problem = request.param
        folder = tmp_path_factory.mktemp("pair")
        return Pair(
            folder,
            "text-classification",
            Head.SEQUENCE_CLASSIFICATION,
            labels=labels,
            problem_type=problem,
        )

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"top_k": 1},
            {"top_k": 2},
            {"top_k": None},
            {"function_to_apply": "sigmoid"},
            {"function_to_apply": "SOFTMAX"},
            {"function_to_apply": "none", "top_k": None},
            {"return_all_scores": True},
            {"return_all_scores": False},
            {"truncation": True, "max_length": 3},
            {"max_length": 3},
        ],
        ids=str,
    )
    def test_the_same_results(self, pair, arguments):
        pair.check(TEXTS[0], **arguments)
        pair.check(TEXTS, batched=True, **arguments)
        pair.check({"text": TEXTS[0], "text_pair": TEXTS[1]}, **arguments)
        pair.check([{"text": TEXTS[0]}, {"text": TEXTS[2], "text_pair": TEXTS[1]}], **arguments)
        pair.check([[[TEXTS[0], TEXTS[1]]]], **arguments)

    @pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
    def test_pairs_are_cut_alike(self, pair, strategy):
        texts = {"text": TEXTS[0], "text_pair": TEXTS[1]}
        pair.check(texts, truncation=strategy, max_length=28)

    def test_iterators(self, pair):
        expected = list(pair.theirs(text for text in TEXTS))
        for ours in pair.ours:
            assert same(list(ours(text for text in TEXTS)), expected)

    def test_what_transformers_cannot_do_without_a_padding_token(self, pair):
        with pytest.raises(ValueError, match="tokenizer without pad_token"):
            pair.theirs(TEXTS, batch_size=2)

    def test_an_empty_text_is_refused(self, pair):
        with pytest.raises(RuntimeError):
            pair.theirs("")
        for ours in pair.ours:
            with pytest.raises(InputError, match="the text is empty"):
                ours("")


def test_a_pad_token_changes_nothing_but_what_ends_in_it(tmp_path):
    """transformers passes over pad tokens at the end of a text, even of a single one."""
    pair = Pair(
        tmp_path,
        "text-classification",
        Head.SEQUENCE_CLASSIFICATION,
        {"pad_token": "<|endoftext|>"},
        pad_token_id=0,
    )
    texts = [*TEXTS, "It is a truth<|endoftext|>"]
    pair.check(texts, batched=True)
    pair.check(texts[-1])
    expected = pair.theirs(texts, batch_size=3)
    assert same(pair.ours[0](texts), expected)


def test_a_pipeline_with_top_k_of_its_own(tmp_path):
    pair = Pair(tmp_path, "text-classification", Head.SEQUENCE_CLASSIFICATION)
    import transformers

    theirs = transformers.pipeline(
        "sentiment-analysis",
        str(tmp_path / "checkpoint"),
        device=-1,
        top_k=2,
        dtype=pair.theirs.model.dtype,
    )
    ours = pipeline("sentiment-analysis", tmp_path / "export", device="cpu", top_k=2)
    for inputs in (TEXTS[0], TEXTS[:2]):
        assert same(ours(inputs), theirs(inputs))
        assert same(ours(inputs, top_k=1), theirs(inputs, top_k=1))
    pair.check(TEXTS[0])


class TestTokenClassification:
    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory):
        return Pair(tmp_path_factory.mktemp("pair"), "ner", Head.TOKEN_CLASSIFICATION)

    @pytest.fixture(scope="class")
    def short(self, tmp_path_factory):
        """With texts of at most 40 tokens, and the padding token that transformers needs."""
        tokenizer = {"model_max_length": 40, "pad_token": "<|endoftext|>"}
        folder = tmp_path_factory.mktemp("pair")
        return Pair(folder, "ner", Head.TOKEN_CLASSIFICATION, tokenizer)

    @pytest.mark.parametrize("ignored", [None, [], ["O", "I-PER"]], ids=str)
    @pytest.mark.parametrize("strategy", [None, "none", "simple", "first", "average", "MAX"])
    def test_the_same_entities(self, pair, strategy, ignored):
        arguments = {"aggregation_strategy": strategy, "ignore_labels": ignored}
        pair.check(TEXTS, batched=True, **arguments)
        pair.check(TEXTS[1], **arguments)

    @pytest.mark.parametrize("stride", [0, 3, 17])
    @pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
    def test_long_texts_in_windows(self, short, strategy, stride):
        short.check(TEXTS, batched=True, aggregation_strategy=strategy, stride=stride)

    def test_without_a_stride_the_rest_is_left_out(self, short, caplog):
        short.check(TEXTS)
        assert "has more than 40 tokens; the rest is not read" in caplog.text


class TestQuestionAnswering:
    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("pair")
        return Pair(folder, "question-answering", Head.QUESTION_ANSWERING)

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"top_k": 3},
            {"top_k": 40},
            {"max_answer_len": 2},
            {"align_to_words": False},
            {"align_to_words": False, "top_k": 5},
            {"handle_impossible_answer": True},
            {"handle_impossible_answer": True, "top_k": 3},
            {"max_seq_len": 40, "doc_stride": 10},
            {"max_seq_len": 60, "top_k": 5},
            {"max_seq_len": 32},
            {"max_seq_len": 400, "max_question_len": 2},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("text", range(len(TEXTS)))
    def test_the_same_answers(self, pair, arguments, text):
        pair.check(question=QUESTION, context=TEXTS[text], batched=True, **arguments)

    def test_every_form_of_questions(self, pair):
        pair.check(question=[QUESTION, "Why?"], context=TEXTS[:2])
        pair.check(question=[QUESTION, "Why?"], context=TEXTS[0])
        pair.check(question=[QUESTION], context=[TEXTS[0]])
        pair.check(QUESTION, TEXTS[0])
        pair.check({"question": QUESTION, "context": TEXTS[0]})
        pair.check([{"question": QUESTION, "context": text} for text in TEXTS], batched=True)

    def test_where_padding_is_on_the_left_the_context_comes_first(self, tmp_path):
        """transformers then lets answers lie in the question, and cuts them out of the context.

        Ours lie in the context: the best of those that transformers finds there.
        """
        pair = Pair(
            tmp_path, "question-answering", Head.QUESTION_ANSWERING, {"padding_side": "left"}
        )
        encoding = pair.ours[0].encode(Question("Why?", TEXTS[0]))[0]
        theirs = pair.theirs.tokenizer(TEXTS[0], "Why?")
        assert encoding.ids == theirs["input_ids"]
        answer = pair.ours[0](question="Why?", context=TEXTS[0])
        assert TEXTS[0][answer["start"] : answer["end"]] == answer["answer"] != ""


@pytest.mark.parametrize("stride", [0, 3])
@pytest.mark.parametrize("side", ["left", "right"])
def test_windows_are_those_of_transformers(side, stride):
    """With tokens that the tokenizer adds, which each window has."""
    import transformers
    from tokenizers.processors import TemplateProcessing

    theirs = transformers.AutoTokenizer.from_pretrained(EMBEDDED_CHECKPOINT, truncation_side=side)
    end = "<|endoftext|>"
    theirs.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{end} $A {end}", pair=f"{end} $A {end} $B:1", special_tokens=[(end, 0)]
    )
    encoder = WindowEncoder(Tokenizer.coerce(theirs), 512)
    arguments = {"max_length": 14, "stride": stride}
    for texts, strategy in (
        ((TEXTS[3],), "longest_first"),
        (("Who was", TEXTS[3]), "only_second"),
        ((TEXTS[3], "Who was"), "only_first"),
    ):
        found = encoder.windows(*texts, strategy=strategy, **arguments)
        expected = theirs(
            *texts,
            truncation=strategy,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            **arguments,
        )
        assert [window.ids for window in found] == expected["input_ids"]
        assert [window.offsets for window in found] == expected["offset_mapping"]
        sequences = [expected.sequence_ids(index) for index in range(len(found))]
        assert [window.sequence_ids for window in found] == sequences


def test_the_classes_are_transformers(tmp_path, random):
    """Ragged batches, padded on either side."""
    import torch
    import transformers

    for head in (
        Head.SEQUENCE_CLASSIFICATION,
        Head.TOKEN_CLASSIFICATION,
        Head.QUESTION_ANSWERING,
    ):
        pair = Pair(tmp_path / head.value, _TASKS[head], head, pad_token_id=0)
        theirs = getattr(transformers, head.value).from_pretrained(pair.theirs.model.name_or_path)
        ids, mask = random.integers(1, 500, (3, 300)), np.ones((3, 300), int)
        for row, part in ((1, slice(40, None)), (2, slice(0, 211))):
            ids[row, part] = mask[row, part] = 0
        with torch.no_grad():
            expected = theirs(torch.tensor(ids), attention_mask=torch.tensor(mask))
        for ours in pair.ours:
            found = ours.model(ids, attention_mask=mask)
            for name in ("start_logits", "end_logits", "logits"):
                if name in expected:
                    logits = expected[name].numpy()
                    is_token = ... if head is Head.SEQUENCE_CLASSIFICATION else mask == 1
                    np.testing.assert_allclose(
                        getattr(found, name)[is_token],
                        logits[is_token],
                        atol=1e-4 * logits.std(),
                    )


_TASKS = {
    Head.SEQUENCE_CLASSIFICATION: "text-classification",
    Head.TOKEN_CLASSIFICATION: "token-classification",
    Head.QUESTION_ANSWERING: "question-answering",
}
