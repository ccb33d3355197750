"""Callers' processors and criteria in generate(), and the scores it returns, against transformers.

Processors and criteria are written once, for either library's arrays. They depend on a row's number
in the batch, so that they give the same only if both libraries call them with the whole batch,
padding and fill included.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from plain_generation import left_padded

from gptneo_onnx.export import export_model
from gptneo_onnx.runtime import GPTNeoForCausalLM
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList
from gptneo_onnx.runtime.generation.stopping_criteria import StoppingCriteriaList

CLOSE = 1e-4  # of the scores' spread: what float32 differs by
FILL = 3
PROCESSED = {"suppress_tokens": [5, 6], "min_new_tokens": 3}
BEAMS = {"max_new_tokens": 12, "num_beams": 4, "eos_token_id": None}

SHAPES = {
    "alternating": Shape(max_position_embeddings=96, tie_word_embeddings=False),
    "small vocabulary": Shape(
        vocab_size=40, layers=("local", "global"), window_size=6, tie_word_embeddings=False
    ),
}


@dataclass
class Pair:
    """One model, loaded here and in transformers."""

    model: GPTNeoForCausalLM
    original: Any
    vocab_size: int

    def generate(self, ids: Any, mask: Any, both: Any, **arguments: Any) -> tuple[Any, Any]:
        """Return (ours, theirs), with scores; both(tensors) makes arguments for either library."""
        import torch

        common = {
            "return_dict_in_generate": True,
            "output_scores": True,
            "output_logits": True,
            "pad_token_id": FILL,
            "do_sample": False,
            **arguments,
        }
        with torch.no_grad():
            theirs = self.original.generate(
                torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **common, **both(True)
            )
        return self.model.generate(ids, mask, **common, **both(False)), theirs


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(request, tmp_path_factory):
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    folder, shape = tmp_path_factory.mktemp("pair"), SHAPES[request.param]
    seed = int(request.config.getoption("--draw-seed"))
    checkpoint = write_checkpoint(folder / "checkpoint", shape, np.random.default_rng(seed))
    return Pair(
        GPTNeoForCausalLM.from_pretrained(export_model(checkpoint, folder / "export")),
        transformers.GPTNeoForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval(),
        shape.vocab_size,
    )


@pytest.fixture
def inputs(pair, random):
    return left_padded([random.integers(4, pair.vocab_size, n).tolist() for n in (9, 3, 14)])


def none(tensors):
    return {}


class ByRow:
    """Raises another token's score in each row, and lowers that of the row's first token."""

    def __init__(self, vocab):
        self.vocab = vocab
        self.seen = []

    def __call__(self, input_ids, scores):
        self.seen.append(np.array(input_ids).tolist())
        changed = np.array(scores)
        for row, ids in enumerate(self.seen[-1]):
            changed[row, (7 * row + len(ids)) % self.vocab] += 1.5
            changed[row, ids[0]] -= 4
        return _like(scores, changed)


def _like(scores, changed):
    if isinstance(scores, np.ndarray):
        return changed
    import torch

    return torch.from_numpy(changed)


def stops_by_row(limits):
    """Return a criterion by which row i stops at limits[i] columns."""

    def stop(input_ids, scores, **kwargs):
        verdicts = np.array([input_ids.shape[1] >= limits[i] for i in range(len(input_ids))])
        if isinstance(input_ids, np.ndarray):
            return verdicts
        import torch

        return torch.from_numpy(verdicts)

    return stop


def assert_same_scores(ours, theirs, compared):
    """Compare the scores of every step, in the rows that are `compared`, bool [steps, rows]."""
    assert len(ours) == len(theirs)
    for mine, other, rows in zip(ours, theirs, compared, strict=True):
        mine, other = mine[rows], other.numpy()[rows]
        assert (np.isfinite(mine) == np.isfinite(other)).all()
        finite = np.isfinite(mine)
        assert finite.any()
        difference = np.abs(mine[finite] - other[finite])
        assert difference.max() < CLOSE * max(1.0, other[finite].std())


def unfinished(sequences, width, ends):
    """Return bool [steps, rows]: whether a row was unfinished when a step chose its token."""
    generated = sequences[:, width:]
    ended = np.isin(generated, ends).cumsum(1) - np.isin(generated, ends)
    return (ended == 0).T


class TestCallersProcessorsAndCriteria:
    def test_greedy(self, pair, inputs):
        ours_seen, theirs_seen = ByRow(pair.vocab_size), ByRow(pair.vocab_size)

        def both(tensors):
            return {
                "logits_processor": LogitsProcessorList([theirs_seen if tensors else ours_seen]),
                "stopping_criteria": StoppingCriteriaList([stops_by_row([99, 20, 24])]),
            }

        ours, theirs = pair.generate(
            *inputs, transformers_lists(both), max_new_tokens=25, eos_token_id=[0]
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()
        assert (ours.sequences[:, -1] == FILL).any()
        # Everything that a caller sees is the same, at every step.
        assert ours_seen.seen == theirs_seen.seen

    @pytest.mark.parametrize("beams", [2, 4])
    def test_beams(self, pair, inputs, beams):
        ours_seen, theirs_seen = ByRow(pair.vocab_size), ByRow(pair.vocab_size)

        def both(tensors):
            return {
                "logits_processor": LogitsProcessorList([theirs_seen if tensors else ours_seen]),
            }

        ours, theirs = pair.generate(
            *inputs,
            transformers_lists(both),
            max_new_tokens=18,
            num_beams=beams,
            num_return_sequences=2,
            eos_token_id=None,
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()
        difference = np.abs(ours.sequences_scores - theirs.sequences_scores.numpy())
        assert difference.max() < 1e-3
        assert ours_seen.seen == theirs_seen.seen
        assert len(ours_seen.seen[-1]) == 3 * beams

    @pytest.mark.parametrize("beams", [1, 3])
    def test_criteria_that_look_at_the_text(self, pair, inputs, beams):
        """With an end token: without one transformers stops rows only all at once, or fills -1."""

        def both(tensors):
            def stop(input_ids, scores, **kwargs):
                return (input_ids[:, -1] % 5 == 2) & (input_ids.shape[1] > 17)

            return {"stopping_criteria": StoppingCriteriaList([stop])}

        ours, theirs = pair.generate(
            *inputs, transformers_lists(both), max_new_tokens=20, num_beams=beams, eos_token_id=0
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()

    @pytest.mark.parametrize("beams", [1, 3])
    def test_prefixes(self, pair, inputs, beams):
        def allowed(row, ids):
            last = int(ids[-1])
            return [(last * step + row) % pair.vocab_size for step in (1, 3, 5, 7)]

        def both(tensors):
            return {"prefix_allowed_tokens_fn": allowed}

        ours, theirs = pair.generate(
            *inputs, both, max_new_tokens=20, num_beams=beams, eos_token_id=None
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()

    def test_one_of_a_built_in_class_takes_its_place(self, pair, inputs):
        from transformers.generation import logits_process as theirs_classes

        from gptneo_onnx.runtime.generation.processors import penalties as ours_classes

        ids, mask = inputs[0][2:], inputs[1][2:]  # without padding, which they would count

        def both(tensors):
            classes = theirs_classes if tensors else ours_classes
            return {"logits_processor": [classes.RepetitionPenaltyLogitsProcessor(3.0)]}

        ours, theirs = pair.generate(
            ids, mask, transformers_lists(both), max_new_tokens=20, repetition_penalty=0.5
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()
        plain, _ = pair.generate(ids, mask, none, max_new_tokens=20, repetition_penalty=0.5)
        assert plain.sequences.tolist() != ours.sequences.tolist()


@pytest.mark.parametrize("length", [16, 22, 40])
@pytest.mark.parametrize("end", [0, None])
def test_criteria_of_the_caller_replace_the_configs(pair, inputs, length, end):
    import transformers
    from transformers.generation import stopping_criteria as peers

    from gptneo_onnx.runtime.generation import stopping_criteria

    def both(tensors):
        module = peers if tensors else stopping_criteria
        criteria = [module.MaxLengthCriteria(length), module.MaxTimeCriteria(1000)]
        if end is not None:
            criteria.append(module.EosTokenCriteria(end))
        kind = transformers.StoppingCriteriaList if tensors else StoppingCriteriaList
        return {"stopping_criteria": kind(criteria)}

    ours, theirs = pair.generate(
        *inputs, both, max_new_tokens=12, max_time=0.0, eos_token_id=[0, 1, 2, 5, 7, 9]
    )
    assert ours.sequences.tolist() == theirs.sequences.tolist()


def transformers_lists(both):
    """Wrap in transformers' list classes, which call some classes with keyword arguments."""
    from transformers.generation import logits_process, stopping_criteria

    kinds = {
        "logits_processor": logits_process.LogitsProcessorList,
        "stopping_criteria": stopping_criteria.StoppingCriteriaList,
    }

    def wrapped(tensors):
        arguments = both(tensors)
        if not tensors:
            return arguments
        return {name: kinds[name](value) for name, value in arguments.items()}

    return wrapped


class TestGuidance:
    @pytest.mark.parametrize("scale", [0.0, 0.5, 1.5, 3.0])
    @pytest.mark.parametrize("has_negatives", [False, True])
    def test_greedy(self, pair, random, scale, has_negatives):
        """Unpadded: transformers counts a negative prompt's padding among its positions."""
        import torch

        ids = random.integers(4, pair.vocab_size, (3, 8))
        negative = random.integers(4, pair.vocab_size, (3, 11))

        def both(tensors):
            if not has_negatives:
                return {}
            return {"negative_prompt_ids": torch.from_numpy(negative) if tensors else negative}

        ours, theirs = pair.generate(
            ids,
            np.ones_like(ids),
            both,
            guidance_scale=scale,
            max_new_tokens=25,
            eos_token_id=[0, 5, 6],
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()
        compared = unfinished(ours.sequences, 8, [0, 5, 6])
        assert_same_scores(ours.scores, theirs.scores, compared)
        assert_same_scores(ours.logits, theirs.logits, compared)


class TestScores:
    def test_greedy(self, pair, inputs):
        ends = [0, *range(7, pair.vocab_size, 9)]
        ours, theirs = pair.generate(
            *inputs, none, max_new_tokens=25, eos_token_id=ends, **PROCESSED
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()
        compared = unfinished(ours.sequences, 14, ends)
        assert not compared.all()
        assert_same_scores(ours.scores, theirs.scores, compared)
        assert_same_scores(ours.logits, theirs.logits, compared)
        for normalize in (False, True):
            mine, other = transitions(pair, ours, theirs, normalize)
            assert np.abs(mine - other)[compared.T].max() < 1e-3

    @pytest.mark.parametrize("length_penalty", [0.0, 1.0, -1.0])
    def test_beams(self, pair, inputs, length_penalty):
        ours, theirs = pair.generate(
            *inputs,
            none,
            max_new_tokens=15,
            num_beams=4,
            num_return_sequences=3,
            length_penalty=length_penalty,
            eos_token_id=[0, *range(7, pair.vocab_size, 9)],
            **PROCESSED,
        )
        assert ours.sequences.tolist() == theirs.sequences.tolist()
        assert ours.beam_indices.tolist() == theirs.beam_indices.tolist()
        used = np.zeros((len(ours.scores), 12), np.bool_)
        for rows in ours.beam_indices:
            used[np.flatnonzero(rows >= 0), rows[rows >= 0]] = True
        steps = used.any(1)
        ours_scores = [step for step, is_used in zip(ours.scores, steps, strict=True) if is_used]
        theirs_scores = [
            step for step, is_used in zip(theirs.scores, steps, strict=True) if is_used
        ]
        assert_same_scores(ours_scores, theirs_scores, used[steps])
        for normalize in (False, True):
            mine, other = transitions(pair, ours, theirs, normalize)
            assert mine.shape == other.shape
            np.testing.assert_allclose(mine, other, atol=1e-3)


def transitions(pair, ours, theirs, normalize):
    """Return compute_transition_scores() of both, each of its library's output."""
    indices = getattr(theirs, "beam_indices", None)
    other = pair.original.compute_transition_scores(
        theirs.sequences, theirs.scores, indices, normalize_logits=normalize
    )
    mine = pair.model.compute_transition_scores(
        ours.sequences, ours.scores, getattr(ours, "beam_indices", None), normalize
    )
    return mine, other.numpy()


class TestSampling:
    CALLS, DRAWS_PER_CALL = 8, 1000

    @pytest.mark.parametrize(
        "arguments",
        [
            {"top_k": 0},
            {"top_k": 12, "temperature": 1.7},
            {"top_k": 0, "top_p": 0.8, "temperature": 1.3},
            {"top_k": 20, "min_p": 0.05, "typical_p": 0.95},
        ],
        ids=str,
    )
    def test_the_first_token_has_transformers_distribution(self, pair, random, arguments):
        """Chi-square over tokens that are expected at least ten times, all others taken as one."""
        import torch

        prompt = random.integers(4, pair.vocab_size, (1, 9))
        with torch.no_grad():
            processed = pair.original.generate(
                torch.from_numpy(prompt),
                do_sample=True,
                max_new_tokens=1,
                return_dict_in_generate=True,
                output_scores=True,
                eos_token_id=None,
                **arguments,
            ).scores[0][0]
        expected = processed.double().softmax(-1).numpy() * self.CALLS * self.DRAWS_PER_CALL
        drawn = np.zeros(pair.vocab_size)
        for seed in range(self.CALLS):
            tokens = pair.model.generate(
                prompt,
                do_sample=True,
                max_new_tokens=1,
                num_return_sequences=self.DRAWS_PER_CALL,
                seed=seed,
                eos_token_id=None,
                **arguments,
            )[:, -1]
            drawn += np.bincount(tokens, minlength=pair.vocab_size)
        assert drawn.sum() == self.CALLS * self.DRAWS_PER_CALL
        assert not drawn[expected == 0].any()
        is_frequent = expected >= 10
        drawn = np.append(drawn[is_frequent], drawn[~is_frequent].sum())
        expected = np.append(expected[is_frequent], expected[~is_frequent].sum())
        drawn, expected = drawn[expected > 0], expected[expected > 0]
        freedom = len(expected) - 1
        assert freedom > 1
        chi_square = ((drawn - expected) ** 2 / expected).sum()
        # Wilson and Hilferty's approximation: exceeded once in a hundred thousand times.
        limit = freedom * (1 - 2 / (9 * freedom) + 4.265 * np.sqrt(2 / (9 * freedom))) ** 3
        assert chi_square < limit


class TestEncoderRepetitionPenaltyWithBeams:
    """We penalize every beam for its prompt; transformers only as many rows as there are prompts.

    There the first prompt's second beam is penalized for the second prompt's tokens, and later
    beams not at all.
    """

    def test_which_rows_are_penalized(self, random):
        import torch
        from transformers.generation.logits_process import EncoderRepetitionPenaltyLogitsProcessor

        from gptneo_onnx.runtime.generation.processors import penalties

        ids = random.integers(0, 40, (2, 10))
        scores = random.normal(size=(8, 40)).astype(np.float32)
        theirs = EncoderRepetitionPenaltyLogitsProcessor(2.5, torch.from_numpy(ids))
        changed = theirs(None, torch.from_numpy(scores.copy())).numpy() != scores
        assert [{*np.flatnonzero(row)} for row in changed] == [{*ids[0]}, {*ids[1]}, *[set()] * 6]
        ours = penalties.EncoderRepetitionPenaltyLogitsProcessor(2.5, ids)
        changed = ours(np.repeat(ids, 4, axis=0), scores) != scores
        assert [{*np.flatnonzero(row)} for row in changed] == [{*ids[0]}] * 4 + [{*ids[1]}] * 4

    @pytest.mark.parametrize("penalty", [0.4, 2.5])
    def test_its_own_processor_given_every_beams_prompt_gives_our_result(
        self, pair, random, penalty
    ):
        import torch
        from transformers.generation.logits_process import EncoderRepetitionPenaltyLogitsProcessor

        differed = 0
        for _ in range(6):
            ids = random.integers(4, pair.vocab_size, (2, 10))
            expanded = torch.from_numpy(np.repeat(ids, 4, axis=0))
            processor = EncoderRepetitionPenaltyLogitsProcessor(penalty, expanded)

            def both(tensors, processor=processor):
                if tensors:
                    return {"logits_processor": [processor]}
                return {"encoder_repetition_penalty": penalty}

            mask = np.ones_like(ids)
            ours, theirs = pair.generate(ids, mask, transformers_lists(both), **BEAMS)
            assert ours.sequences.tolist() == theirs.sequences.tolist()
            difference = np.abs(ours.sequences_scores - theirs.sequences_scores.numpy())
            assert difference.max() < 1e-3
            _, plainly = pair.generate(ids, mask, none, encoder_repetition_penalty=penalty, **BEAMS)
            differed += plainly.sequences.tolist() != ours.sequences.tolist()
        assert differed


def test_an_end_token_that_is_ruled_out_stays_so_after_a_growing_bonus():
    """In transformers it becomes NaN, which every choice takes for the largest."""
    import torch
    from transformers.generation import logits_process as peers

    from gptneo_onnx.runtime.generation import ExponentialDecayLengthPenalty

    ids = np.ones((1, 8), np.int64)
    scores = np.array([[-np.inf, 1.0, 2.0]], np.float32)
    theirs = peers.ExponentialDecayLengthPenalty((0, 1.5), torch.tensor([0]), 2)
    wrong = theirs(torch.from_numpy(ids), torch.from_numpy(scores.copy()))[0].numpy()
    assert np.isnan(wrong[0])
    assert int(torch.from_numpy(wrong).argmax()) == 0
    ours = ExponentialDecayLengthPenalty((0, 1.5), 0, 2)(ids, scores)
    assert ours.tolist() == scores.tolist()
