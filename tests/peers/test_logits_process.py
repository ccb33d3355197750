"""Each logits processor against transformers' class of that name, on drawn contexts and scores.

The scores are equal within float32 rounding, and the same tokens are removed, but for two cases. A
token's mass or distance can be so near the threshold that float32 does not decide it. And among
equal scores at the threshold PyTorch's sort, which is not stable where it uses AVX-512, leaves it
to chance which are removed: then only their number must be the same.
"""

import numpy as np
import pytest

from gptneo_onnx.runtime.generation.processors import (
    constraints,
    penalties,
    sequence_bias,
    warpers,
)
from gptneo_onnx.runtime.generation.processors.synthid import SynthIDTextWatermarkLogitsProcessor
from gptneo_onnx.runtime.generation.processors.torch_random import (
    randint_bits,
    randperm,
    randperm_start,
)
from gptneo_onnx.runtime.generation.processors.torch_softmax import (
    cumulative_softmax,
    torch_softmax,
)
from gptneo_onnx.runtime.generation.processors.watermarking import (
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)

CASES = 4000


def has_avx512():
    torch = pytest.importorskip("torch")
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


# PyTorch's sums of eight lanes, on other processors, are others in the last bit.
avx512 = pytest.mark.skipif("not has_avx512()", reason="PyTorch computes with AVX-512 there")
WHOLE_VOCABULARY = 50257
# For likelihoods: PyTorch's float32 softmax of the whole vocabulary adds up to 1 within 5e-6.
ROUNDING = {False: 1e-6, True: 1e-5}
ENTROPY_ROUNDING = 1e-5  # for a sum of logarithms


@pytest.fixture(autouse=True, scope="module")
def single_thread():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def peers():
    from transformers.generation import logits_process

    return logits_process


class Draw:
    """One case: the tokens so far, scores of the next one, and draws to make arguments of."""

    def __init__(self, random, number):
        self.random = random
        self.vocab = WHOLE_VOCABULARY if number % 500 == 0 else self.whole(4, 60)
        self.batch = self.whole(1, 4)
        self.ids = random.integers(0, min(self.vocab, 60), (self.batch, self.whole(1, 24)))
        self.scores = self.draw_scores()

    def draw_scores(self, ties=True):
        shape = (self.batch, self.vocab)
        scores = self.random.normal(scale=self.number(0.1, 8), size=shape).astype(np.float32)
        if ties and self.chance():
            scores = np.round(scores)  # ties
        if self.chance():  # as an earlier processor would
            scores[self.random.random(shape) < self.number(0, 1)] = -np.inf
            scores[:, self.token()] = 1
        return scores

    def whole(self, low, high):
        return int(self.random.integers(low, high + 1))

    def number(self, low, high):
        """Draw a number; half have two decimals, and so can equal a threshold exactly."""
        drawn = float(self.random.uniform(low, high))
        return drawn if self.chance() else min(max(round(drawn, 2), low), high)

    def chance(self):
        return bool(self.random.random() < 0.5)

    def token(self):
        return self.whole(0, min(self.vocab, 60) - 1)

    def tokens(self, limit=3):
        return [self.token() for _ in range(self.whole(1, limit))]

    def sequences(self):
        """Draw sequences; one more token would complete some of them."""
        drawn = [self.tokens(4) for _ in range(self.whole(1, 5))]
        for size in range(1, min(4, self.ids.shape[1])):
            drawn.append([*self.ids[self.whole(0, self.batch - 1), -size:].tolist(), self.token()])
        return drawn


def warper_arguments(draw):
    filter_value = -np.inf if draw.chance() else -1e4
    return {"filter_value": filter_value, "min_tokens_to_keep": draw.whole(1, 4)}


def pair(draw, peers, module, name, *arguments, **named):
    """Return our processor and theirs, made with the same arguments."""
    return getattr(module, name)(*arguments, **named), getattr(peers, name)(*arguments, **named)


WARPERS = {
    "TemperatureLogitsWarper": lambda d: {"temperature": d.number(0.1, 3)},
    "TopKLogitsWarper": lambda d: {"top_k": d.whole(1, 70), **warper_arguments(d)},
    "TopPLogitsWarper": lambda d: {"top_p": d.number(0, 1), **warper_arguments(d)},
    "MinPLogitsWarper": lambda d: {"min_p": d.number(0, 1), **warper_arguments(d)},
    "TypicalLogitsWarper": lambda d: {"mass": d.number(0.01, 0.99), **warper_arguments(d)},
    "EpsilonLogitsWarper": lambda d: {"epsilon": d.number(1e-4, 0.5), **warper_arguments(d)},
    "EtaLogitsWarper": lambda d: {"epsilon": d.number(1e-4, 0.5), **warper_arguments(d)},
    "LogitNormalization": lambda d: {},
}
CONSTRAINTS = {
    "MinLengthLogitsProcessor": lambda d: {
        "min_length": d.whole(0, 24),
        # One is beyond the vocabulary, which both ignore.
        "eos_token_id": [*d.tokens(), 50_300] if d.chance() else d.token(),
    },
    "MinNewTokensLengthLogitsProcessor": lambda d: {
        "prompt_length_to_skip": d.whole(0, 24),
        "min_new_tokens": d.whole(0, 24),
        "eos_token_id": [*d.tokens(), 50_300] if d.chance() else d.token(),
    },
    "ForcedBOSTokenLogitsProcessor": lambda d: {"bos_token_id": d.token()},
    "ForcedEOSTokenLogitsProcessor": lambda d: {
        "max_length": d.ids.shape[1] + d.whole(0, 2),
        "eos_token_id": d.tokens() if d.chance() else d.token(),
    },
    "SuppressTokensLogitsProcessor": lambda d: {"suppress_tokens": [*d.tokens(9), 50_300]},
    "SuppressTokensAtBeginLogitsProcessor": lambda d: {
        "begin_suppress_tokens": [*d.tokens(9), 50_300],
        "begin_index": d.ids.shape[1] + d.whole(-1, 1),
    },
    "InfNanRemoveLogitsProcessor": lambda d: {},
}
PENALTIES = {
    "RepetitionPenaltyLogitsProcessor": lambda d: {
        "penalty": d.number(0.5, 2),
        "prompt_ignore_length": d.whole(0, 24) if d.chance() else None,
    },
    "NoRepeatNGramLogitsProcessor": lambda d: {"ngram_size": d.whole(1, 5)},
}
SEQUENCES = {
    "SequenceBiasLogitsProcessor": lambda d: {
        "sequence_bias": {
            tuple(sequence): d.number(-9, 9) if d.chance() else -np.inf
            for sequence in d.sequences()
        }
    },
    "NoBadWordsLogitsProcessor": lambda d: {
        "bad_words_ids": d.sequences(),
        "eos_token_id": d.tokens() if d.chance() else None,
    },
}


@pytest.mark.parametrize("name", [*WARPERS, *CONSTRAINTS, *PENALTIES, *SEQUENCES])
def test_equal_scores_and_the_same_tokens_removed(random, peers, name):
    module, table = next(
        (module, table)
        for module, table in (
            (warpers, WARPERS),
            (constraints, CONSTRAINTS),
            (penalties, PENALTIES),
            (sequence_bias, SEQUENCES),
        )
        if name in table
    )
    undecided_cases = 0
    for number in range(CASES):
        draw = Draw(random, number)
        if name == "InfNanRemoveLogitsProcessor":
            where = random.random(draw.scores.shape) < 0.1
            draw.scores[where] = random.choice([np.nan, np.inf, -np.inf], where.sum())
        ours, theirs = pair(draw, peers, module, name, **table[name](draw))
        undecided_cases += compare(ours, theirs, draw)
    assert undecided_cases <= CASES / 100


def shares(random):
    """Draw simple fractions, and a threshold that a sum of some may equal."""
    drawn = random.integers(1, 12, int(random.integers(2, 9)))
    threshold = float(random.integers(1, drawn.sum()) / drawn.sum())
    return np.log((drawn / drawn.sum()).astype(np.float32))[None], threshold


def normal(vocab):
    def draw(random):
        scores = random.normal(size=(1, vocab), scale=random.uniform(0.5, 5)).astype(np.float32)
        return scores, round(float(random.uniform(0.05, 0.95)), 2)

    return draw


@pytest.mark.parametrize(
    ("draw", "cases"),
    [(shares, CASES), (normal(5), CASES), (normal(100), CASES), (normal(WHOLE_VOCABULARY), 50)],
    ids=["shares", "5", "100", "50257"],
)
@pytest.mark.parametrize(
    ("name", "argument", "most"),
    [
        ("TopPLogitsWarper", "top_p", 0),
        ("MinPLogitsWarper", "min_p", 0),
        ("EpsilonLogitsWarper", "epsilon", 0),
        # Their entropy is a sum of logarithms, which PyTorch has from MKL.
        ("TypicalLogitsWarper", "mass", 0.005),
        ("EtaLogitsWarper", "epsilon", 0.005),
    ],
)
@avx512
def test_likelihoods_at_the_threshold(random, peers, draw, cases, name, argument, most):
    """Simple fractions whose sums equal the threshold: the arithmetic must be PyTorch's."""
    differing = 0
    for _ in range(cases):
        scores, threshold = draw(random)
        ours = getattr(warpers, name)(**{argument: threshold})(None, scores)
        theirs = getattr(peers, name)(**{argument: threshold})(None, tensor(scores)).numpy()
        differing += not np.array_equal(np.isneginf(ours), np.isneginf(theirs))
    assert differing <= max(most * cases, 1 if most else 0)


@avx512
@pytest.mark.parametrize("vocab", [1, 5, 15, 16, 17, 33, 100, 1000, WHOLE_VOCABULARY])
def test_torchs_softmax_bit_for_bit(random, vocab):
    import torch

    for number in range(300 if vocab < WHOLE_VOCABULARY else 10):
        row = random.normal(size=vocab, scale=random.uniform(0.1, 40)).astype(np.float32)
        if number % 2:
            row[random.random(vocab) < 0.3] = -np.inf
            row[0] = 1
        expected = torch.softmax(tensor(row), -1)
        np.testing.assert_array_equal(torch_softmax(row), expected.numpy())
        np.testing.assert_array_equal(cumulative_softmax(row), expected.cumsum(-1).numpy())


def test_tokens_of_the_prompt_get_likelier_and_its_ngrams_do_not_come(random, peers):
    for number in range(CASES):
        draw = Draw(random, number)
        prompts = random.integers(0, min(draw.vocab, 60), (draw.batch, draw.whole(1, 24)))
        penalty = draw.number(0.5, 2)
        compare(
            penalties.EncoderRepetitionPenaltyLogitsProcessor(penalty, prompts),
            peers.EncoderRepetitionPenaltyLogitsProcessor(penalty, tensor(prompts)),
            draw,
        )
        prompts = prompts[: 1 if draw.chance() else draw.batch]  # one prompt: the rows are beams
        size = draw.whole(1, 4)
        compare(
            penalties.EncoderNoRepeatNGramLogitsProcessor(size, prompts),
            peers.EncoderNoRepeatNGramLogitsProcessor(size, tensor(prompts)),
            draw,
        )


def test_each_beam_of_a_prompt_is_penalized_where_transformers_forgets_the_second(peers):
    ids, scores = np.array([[0], [0]]), np.ones((2, 2), np.float32)
    ours = penalties.EncoderRepetitionPenaltyLogitsProcessor(2.0, ids[:1])(ids, scores)
    theirs = peers.EncoderRepetitionPenaltyLogitsProcessor(2.0, tensor(ids[:1]))
    assert ours.tolist() == [[2, 1], [2, 1]]
    assert theirs(tensor(ids), tensor(scores)).tolist() == [[2, 1], [1, 1]]


def test_groups_of_beams_differ(random, peers):
    for number in range(CASES):
        draw = Draw(random, number)
        groups = draw.whole(2, 3)
        beams = groups * draw.whole(1, 2)
        prompts = draw.whole(1, 2)
        draw.scores = random.normal(size=(prompts * beams // groups, draw.vocab)).astype(np.float32)
        chosen = random.integers(0, draw.vocab, prompts * beams)
        group, penalty = draw.whole(0, groups - 1), draw.number(0.01, 2)
        ours, theirs = pair(
            draw, peers, penalties, "HammingDiversityLogitsProcessor", penalty, beams, groups
        )
        processed = ours(draw.ids, draw.scores, chosen, group)
        expected = theirs(tensor(draw.ids), tensor(draw.scores), tensor(chosen), group)
        np.testing.assert_allclose(processed, expected.numpy(), rtol=1e-6, atol=1e-6)


def test_end_tokens_grow_likelier(random, peers):
    for number in range(CASES):
        draw = Draw(random, number)
        arguments = ((draw.whole(0, 9), draw.number(0.5, 2)), draw.tokens(), draw.whole(1, 9))
        ours, theirs = pair(draw, peers, constraints, "ExponentialDecayLengthPenalty", *arguments)
        expected = theirs(tensor(draw.ids), tensor(draw.scores)).numpy()
        # There, end tokens that were removed become NaN, at which sampling fails.
        expected = np.where(np.isnan(expected), -np.inf, expected)
        processed = ours(draw.ids, draw.scores)
        np.testing.assert_allclose(processed, expected, rtol=1e-5, atol=1e-6)


def test_only_allowed_tokens_may_follow(random, peers):
    for number in range(CASES):
        draw = Draw(random, number)
        beams = draw.whole(1, 4)
        draw.ids, draw.scores = (np.repeat(array, beams, 0) for array in (draw.ids, draw.scores))
        allowed = {batch: draw.tokens(9) for batch in range(draw.batch)}

        def listed(batch, tokens, allowed=allowed):
            return [*allowed[batch], int(tokens[-1])]

        compare(
            *pair(draw, peers, constraints, "PrefixConstrainedLogitsProcessor", listed, beams), draw
        )


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
@pytest.mark.parametrize("vocab", [50, 101, 300, WHOLE_VOCABULARY])
def test_green_lists(random, peers, scheme, vocab):
    for _ in range(1 if vocab == WHOLE_VOCABULARY else 3):
        config = {
            "greenlist_ratio": float(random.uniform(0.2, 0.8)),
            "bias": float(random.uniform(-3, 3)),
            "hashing_key": int(random.integers(2**63)) if random.random() < 0.5 else 15485863,
            "seeding_scheme": scheme,
            "context_width": int(random.integers(1, 5)),
        }
        ours = WatermarkingConfig(**config).construct_processor(vocab)
        theirs = peers.WatermarkLogitsProcessor(vocab, "cpu", **config)
        for number in range(2 if vocab == WHOLE_VOCABULARY else 60):
            draw = Draw(random, number + 1)
            draw.vocab = vocab
            draw.scores = draw.draw_scores(ties=scheme == "lefthash")
            draw.ids = random.integers(0, vocab, draw.ids.shape)
            assert compare(ours, theirs, draw) == 0


def test_synthid_over_many_calls(random, peers):
    for number in range(60):
        draw = Draw(random, number * 50)
        config = {
            "ngram_len": draw.whole(1, 6),
            "keys": random.integers(-(2**63), 2**63, draw.whole(1, 30)).tolist(),
            "sampling_table_size": draw.whole(1, 3000) if draw.chance() else 2**16,
            "sampling_table_seed": draw.whole(0, 2**40),
            "context_history_size": draw.whole(0, 20),
            "skip_first_ngram_calls": draw.chance(),
            "debug_mode": draw.whole(0, 9) == 0,
        }
        ours = SynthIDTextWatermarkingConfig(**config).construct_processor(draw.vocab)
        theirs = peers.SynthIDTextWatermarkLogitsProcessor(device="cpu", **config)
        for _ in range(3 if draw.vocab == WHOLE_VOCABULARY else 20):
            processed = ours(draw.ids, draw.scores)
            expected = theirs(tensor(draw.ids), tensor(draw.scores)).numpy()
            # As likelihoods: beside a token with nearly all of the mass, another has 1 - mass,
            # which is noise in float32.
            np.testing.assert_allclose(np.exp(processed), np.exp(expected), rtol=1e-4, atol=1e-6)
            draw.scores = draw.draw_scores()
            # Few different tokens, so that contexts recur.
            new = random.integers(0, 2, (draw.batch, 1))
            draw.ids = np.concatenate([draw.ids, new], axis=1)


def test_synthid_detection(random, peers):
    for _ in range(100):
        arguments = (int(random.integers(2, 6)), random.integers(0, 999, 9).tolist(), 4096, 5, 7)
        ours = SynthIDTextWatermarkLogitsProcessor(*arguments)
        theirs = peers.SynthIDTextWatermarkLogitsProcessor(*arguments, "cpu")
        ids = random.integers(0, 3, (2, int(random.integers(8, 40))))
        for result, expected in (
            (ours.compute_g_values(ids), theirs.compute_g_values(tensor(ids))),
            (
                ours.compute_context_repetition_mask(ids),
                theirs.compute_context_repetition_mask(tensor(ids)),
            ),
            (ours.compute_eos_token_mask(ids, 2), theirs.compute_eos_token_mask(tensor(ids), 2)),
        ):
            np.testing.assert_array_equal(result, expected.numpy())
        assert ours.expected_mean_g_value(500) == theirs.expected_mean_g_value(500)


def test_configs_have_transformers_defaults():
    import transformers

    assert vars(WatermarkingConfig()) == vars(transformers.WatermarkingConfig())
    arguments = {"ngram_len": 5, "keys": [1, 2]}
    ours = SynthIDTextWatermarkingConfig(**arguments)
    assert vars(ours) == vars(transformers.SynthIDTextWatermarkingConfig(**arguments))


def test_torch_draws_the_same(random):
    import torch

    for number in range(CASES):
        seed = int(random.integers(2**64, dtype=np.uint64)) if number % 2 else number
        n = 100_003 if number % 500 == 0 else int(random.integers(1, 60))
        count = int(random.integers(0, n + 1))
        permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
        np.testing.assert_array_equal(randperm(seed, n), permutation)
        start = np.flatnonzero(randperm_start(seed, n, count))
        np.testing.assert_array_equal(start, np.sort(permutation[:count]))
        bits = torch.randint(0, 2, (n,), generator=torch.Generator().manual_seed(seed))
        np.testing.assert_array_equal(randint_bits(seed, n), bits.numpy())


def tensor(array):
    import torch

    return torch.from_numpy(array.copy())


def compare(ours, theirs, draw):
    """Check that both agree except on undecided tokens; return whether there were any."""
    processed = ours(draw.ids, draw.scores)
    expected = theirs(tensor(draw.ids), tensor(draw.scores)).numpy()
    assert processed.dtype == np.float32
    with np.errstate(invalid="ignore"):
        differs = ~(np.isclose(processed, expected, rtol=1e-5, atol=1e-5) | (processed == expected))
    if not differs.any():
        return False
    for row in np.flatnonzero(differs.any(-1)):
        if as_many_equals(draw.scores[row], differs[row], processed[row], expected[row]):
            differs[row] = False
            continue
        wrong = differs[row] & ~UNDECIDED[type(ours)](ours, draw.scores[row].astype(np.float64))
        assert not wrong.any(), (
            f"{ours}: tokens {wrong.nonzero()[0][:9]} of {draw.scores[row][:99].tolist()}"
        )
    return bool(differs.any())


def as_many_equals(scores, differs, processed, expected):
    """Return whether the tokens that differ have equal scores, and are only exchanged."""
    return (
        len(scores) > 16  # up to there the sort is stable
        and len(np.unique(scores[differs])) == 1
        and np.array_equal(np.sort(processed), np.sort(expected))
    )


def likelihoods_of(row):
    exponentials = np.exp(row - row.max())
    return exponentials / exponentials.sum()


def rounding(row):
    return ROUNDING[len(row) == WHOLE_VOCABULARY]


def close(values, threshold, tolerance):
    return np.abs(values - threshold) < tolerance * threshold


def top_p_undecided(warper, row):
    ascending = np.argsort(row, kind="stable")
    cumulative = np.empty_like(row)
    cumulative[ascending] = np.cumsum(likelihoods_of(row)[ascending])
    return np.abs(cumulative - (1 - warper.top_p)) < rounding(row)


def typical_undecided(warper, row):
    """The mass before a token is at the limit, or earlier tokens are as near the entropy as it."""
    likelihoods = likelihoods_of(row)
    surprise = -np.log(np.maximum(likelihoods, 1e-300))
    distance = np.abs(surprise - (surprise * likelihoods).sum())
    before, up_to = (
        np.array(
            [
                likelihoods[(distance < limit + shift) & (row != score)].sum()
                for limit, score in zip(distance, row, strict=True)
            ]
        )
        for shift in (-ENTROPY_ROUNDING, ENTROPY_ROUNDING)
    )
    return (before - rounding(row) < warper.mass) & (warper.mass < up_to + rounding(row))


def eta_undecided(warper, row):
    likelihoods = likelihoods_of(row)
    entropy = -(likelihoods * np.log(np.maximum(likelihoods, 1e-300))).sum()
    eta = min(warper.epsilon, np.sqrt(warper.epsilon) * np.exp(-entropy))
    return close(likelihoods, eta, ENTROPY_ROUNDING)


UNDECIDED = {
    warpers.TopPLogitsWarper: top_p_undecided,
    warpers.TypicalLogitsWarper: typical_undecided,
    warpers.MinPLogitsWarper: lambda warper, row: close(
        np.exp(row - row.max()), warper.min_p, rounding(row)
    ),
    warpers.EpsilonLogitsWarper: lambda warper, row: close(
        likelihoods_of(row), warper.epsilon, rounding(row)
    ),
    warpers.EtaLogitsWarper: eta_undecided,
}
