"""Beam search against a slow, obvious one over the oracle (plain_generation.beam_search)."""

from itertools import product

import numpy as np
import pytest
from checkpoints import Shape
from plain_generation import beam_search, greedy, left_padded
from refusals import refused

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import GPTNeoForCausalLM

# Small, so that beams meet end tokens, and each other, at every turn.
VOCAB, FILL = 24, 24
SHAPE = Shape(
    vocab_size=VOCAB, layers=("global", "local"), window_size=4, tie_word_embeddings=False
)
CLOSE = 1e-3
SCORED = {"return_dict_in_generate": True, "output_scores": True}


@pytest.fixture
def shape():
    return SHAPE


@pytest.fixture
def prompts(random):
    return [random.integers(0, VOCAB, length).tolist() for length in (5, 2, 9)]


@pytest.fixture
def ends(scores, prompts):
    """End tokens that beams will come upon, early and late: second choices along greedy texts."""
    found = []
    for prompt in prompts:
        text = greedy(scores, prompt, 9)
        found += [int(np.argsort(scores(prompt + text[:step]))[-2]) for step in (1, 5, 9)]
    return [*dict.fromkeys(found)][:6]


def found(output, width):
    """(score, tokens) of every result, without the fill."""
    return [
        (float(score), [token for token in row[width:].tolist() if token != FILL])
        for score, row in zip(output.sequences_scores, output.sequences, strict=True)
    ]


def assert_same(ours, expected):
    """Token for token; the scores float32 can tell apart."""
    assert [tokens for _, tokens in ours] == [tokens for _, tokens in expected]
    difference = np.subtract([score for score, _ in ours], [score for score, _ in expected])
    assert np.abs(difference).max() < CLOSE


class TestAgainstAPlainSearch:
    @pytest.mark.parametrize("early_stopping", [True, False, "never"])
    @pytest.mark.parametrize("length_penalty", [0.0, 1.0, 0.6, 3.0, -1.0])
    def test_length_penalty_and_early_stopping(
        self, model, scores, prompts, ends, length_penalty, early_stopping
    ):
        for beams, count in product((2, 3, 5), (1, 3)):
            output = model.generate(
                *left_padded(prompts),
                num_beams=beams,
                num_return_sequences=beams,
                length_penalty=length_penalty,
                early_stopping=early_stopping,
                max_new_tokens=12,
                eos_token_id=ends[:count],
                pad_token_id=FILL,
                **SCORED,
            )
            ours = found(output, 9)
            for row, prompt in enumerate(prompts):
                expected = beam_search(
                    scores,
                    prompt,
                    beams,
                    12,
                    ends[:count],
                    length_penalty,
                    early_stopping,
                )
                assert_same(ours[beams * row : beams * (row + 1)], expected)

    @pytest.mark.parametrize("beams", [2, 4, 7])
    def test_without_end_tokens_past_the_window(self, model, scores, prompts, beams):
        output = model.generate(
            *left_padded(prompts),
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=20,
            eos_token_id=None,
            **SCORED,
        )
        for row, prompt in enumerate(prompts):
            expected = beam_search(scores, prompt, beams, 20)
            assert_same(found(output, 9)[beams * row : beams * (row + 1)], expected)

    def test_results_end_everywhere(self, model, prompts, ends):
        """Otherwise the comparison above would tell nothing about them."""
        output = model.generate(
            *left_padded(prompts),
            num_beams=5,
            num_return_sequences=5,
            max_new_tokens=12,
            eos_token_id=ends[:3],
            pad_token_id=FILL,
            **SCORED,
        )
        assert len({len(tokens) for _, tokens in found(output, 9)}) > 1

    def test_the_three_meanings_of_early_stopping_differ(self, model, ends, random):
        """And nor would it if this were not so."""
        seen = set()
        for prompt in random.integers(0, VOCAB, (40, 1, 4)):
            results = []
            for early_stopping in (True, False, "never"):
                output = model.generate(
                    prompt,
                    num_beams=2,
                    num_return_sequences=2,
                    early_stopping=early_stopping,
                    max_new_tokens=12,
                    eos_token_id=ends[:3],
                    pad_token_id=FILL,
                    **SCORED,
                )
                results.append(output.sequences.tolist())
            seen.add((results[0] == results[1], results[1] == results[2]))
        assert {first for first, _ in seen} == {True, False}
        assert {second for _, second in seen} == {True, False}


class TestExhaustive:
    """With as many beams as there are texts, nothing is pruned: the best text of all comes out."""

    @pytest.fixture
    def directory(self, export_shape):
        return export_shape(SHAPE.but(vocab_size=6))

    @pytest.mark.parametrize(("steps", "beams"), [(2, 36), (3, 36), (3, 216)])
    def test_fixed_length(self, model, scores, steps, beams):
        prompt = [1, 2, 3]
        output = model.generate(
            [prompt],
            num_beams=beams,
            num_return_sequences=5,
            max_new_tokens=steps,
            eos_token_id=None,
            length_penalty=0.0,
            **SCORED,
        )
        texts = product(range(6), repeat=steps)
        ranked = sorted((likelihood(scores, prompt, text), [*text]) for text in texts)[::-1]
        ours = [
            (float(score), row[3:].tolist())
            for score, row in zip(output.sequences_scores, output.sequences, strict=True)
        ]
        assert_same(ours, ranked[:5])

    @pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -0.5])
    def test_with_an_end_token(self, model, scores, length_penalty):
        prompt, end = [1, 2, 3], 4
        output = model.generate(
            [prompt],
            num_beams=36,
            num_return_sequences=8,
            max_new_tokens=3,
            eos_token_id=end,
            pad_token_id=7,
            length_penalty=length_penalty,
            early_stopping="never",
            **SCORED,
        )
        texts = [
            text
            for length in (1, 2, 3)
            for text in product(range(6), repeat=length)
            if end not in text[:-1] and (length == 3 or text[-1] == end)
        ]
        ranked = sorted(
            (likelihood(scores, prompt, text) / len(text) ** length_penalty, [*text])
            for text in texts
        )[::-1]
        ours = [
            (float(score), [token for token in row[3:].tolist() if token != 7])
            for score, row in zip(output.sequences_scores, output.sequences, strict=True)
        ]
        assert_same(ours, ranked[:8])


def likelihood(scores, prompt, text):
    """Log probability of a text behind the prompt."""
    return sum(scores([*prompt, *text[:i]])[token] for i, token in enumerate(text))


class TestBatches:
    @pytest.mark.parametrize(
        "kind",
        [
            {"num_beams": 4},
            {"num_beams": 4, "do_sample": True, "seed": 8},
            {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.7},
            {"num_beams": 4, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
        ],
        ids=str,
    )
    def test_each_prompt_as_if_alone(self, model, prompts, ends, random, kind):
        prompts = prompts + [random.integers(0, VOCAB, length).tolist() for length in (1, 9)]
        arguments = {
            "max_new_tokens": 15,
            "num_return_sequences": 3,
            "eos_token_id": ends,
            "pad_token_id": FILL,
            **kind,
        }
        together = model.generate(*left_padded(prompts), **arguments)[:, 9:]
        assert len({(row != FILL).sum() for row in together}) > 1
        for row, prompt in enumerate(prompts):
            alone = model.generate([prompt], **arguments)[:, len(prompt) :]
            same = together[3 * row : 3 * row + 3, : alone.shape[1]]
            assert same.tolist() == alone.tolist()
            assert (together[3 * row : 3 * row + 3, alone.shape[1] :] == FILL).all()

    @pytest.mark.parametrize("groups", [{}, {"num_beam_groups": 2, "diversity_penalty": 0.7}])
    def test_fewer_results_are_the_first_of_more(self, model, prompts, groups):
        arguments = {"num_beams": 4, "max_new_tokens": 9, "eos_token_id": None, **groups}
        inputs = left_padded(prompts)
        four = model.generate(*inputs, num_return_sequences=4, **arguments).reshape(3, 4, -1)
        two = model.generate(*inputs, num_return_sequences=2, **arguments).reshape(3, 2, -1)
        one = model.generate(*inputs, **arguments).reshape(3, 1, -1)
        assert two.tolist() == four[:, :2].tolist()
        assert one.tolist() == four[:, :1].tolist()
        assert all(len({*map(tuple, rows)}) > 1 for rows in four.tolist())


class TestEnds:
    def test_an_end_token_is_the_last_and_only_there(self, model, prompts, ends):
        output = model.generate(
            *left_padded(prompts),
            num_beams=5,
            num_return_sequences=5,
            max_new_tokens=12,
            eos_token_id=ends,
            pad_token_id=FILL,
            **SCORED,
        )
        ended = [tokens[-1] in ends for _, tokens in found(output, 9)]
        assert any(ended)
        for _, tokens in found(output, 9):
            assert not {*tokens[:-1]} & {*ends}

    def test_the_fill_is_the_first_end_token_unless_told(self, model, prompts, ends):
        arguments = {"num_beams": 5, "num_return_sequences": 5, "eos_token_id": ends}
        ids, mask = left_padded(prompts)
        filled = model.generate(ids, mask, pad_token_id=FILL, **arguments)
        assert (filled[:, 9:] == FILL).any()
        plain = model.generate(ids, mask, **arguments)
        assert plain[:, 9:].tolist() == np.where(filled == FILL, ends[0], filled)[:, 9:].tolist()

    def test_min_new_tokens_holds_it_back(self, model, prompts, ends):
        result = model.generate(
            *left_padded(prompts),
            num_beams=3,
            num_return_sequences=3,
            min_new_tokens=5,
            max_new_tokens=12,
            eos_token_id=ends,
            pad_token_id=FILL,
        )
        assert not np.isin(result[:, 9 : 9 + 5], [*ends, FILL]).any()
        assert np.isin(result[:, 9 + 5 :], ends).any()

    @pytest.mark.parametrize(
        "kind",
        [
            {},
            {"do_sample": True, "seed": 1},
            {"num_beam_groups": 2, "diversity_penalty": 1.0},
        ],
        ids=str,
    )
    def test_one_new_token(self, model, scores, kind):
        output = model.generate(
            [[1, 2, 3]], num_beams=4, max_new_tokens=1, eos_token_id=0, **kind, **SCORED
        )
        assert output.sequences.shape == (1, 4)
        token, score = int(output.sequences[0, 3]), float(output.sequences_scores[0])
        assert abs(score - scores([1, 2, 3])[token]) < CLOSE

    @pytest.mark.slow
    @pytest.mark.parametrize("length_penalty", [-2, 5, -1.5, 8.0])
    @pytest.mark.parametrize("groups", [{}, {"num_beam_groups": 2, "diversity_penalty": 1.0}])
    def test_length_penalties_in_the_longest_context(self, export_shape, groups, length_penalty):
        """Nothing overflows in the longest context that GPT-Neo has."""
        shape = SHAPE.but(max_position_embeddings=2048)
        model = GPTNeoForCausalLM.from_pretrained(export_shape(shape), device="cpu")
        output = model.generate(
            [[1] * 1000],
            num_beams=4,
            num_return_sequences=4,
            length_penalty=length_penalty,
            min_new_tokens=1048,
            max_new_tokens=1048,
            eos_token_id=0,
            **groups,
            **SCORED,
        )
        assert output.sequences.shape == (4, 2048)
        assert np.isfinite(output.sequences_scores).all()
        assert (output.sequences_scores < 0).all()

    def test_penalties_beyond_numbers(self, model):
        for penalty in (100, 2000.0):
            with refused(InputError, f"length_penalty is {penalty}, and 2 to the power of it can"):
                model.generate([[1]], num_beams=2, length_penalty=penalty)

    def test_a_result_below_an_empty_one_is_empty(self, model):
        """As in transformers: places for results have the score -1e9 at first."""
        output = model.generate(
            [[1, 2]], num_beams=2, length_penalty=-40.0, max_new_tokens=9, **SCORED
        )
        assert output.sequences.tolist() == [[1, 2]]
        assert output.sequences_scores.tolist() == [-1e9]


class TestSampledBeams:
    def test_reproducible_by_seed(self, model, prompts):
        arguments = {"num_beams": 4, "do_sample": True, "max_new_tokens": 12}
        inputs = left_padded(prompts)
        first = model.generate(*inputs, seed=1, **arguments)
        assert model.generate(*inputs, seed=1, **arguments).tolist() == first.tolist()
        others = [model.generate(*inputs, seed=seed, **arguments).tolist() for seed in range(2, 6)]
        assert any(other != first.tolist() for other in others)

    def test_a_seed_for_each_prompt(self, model, prompts):
        arguments = {"num_beams": 3, "do_sample": True, "max_new_tokens": 12}
        result = model.generate(*left_padded(prompts), seed=[4, 5, 6], **arguments)
        for row, prompt in enumerate(prompts):
            alone = model.generate([prompt], seed=4 + row, **arguments)[0, len(prompt) :].tolist()
            assert result[row, 9 : 9 + len(alone)].tolist() == alone

    def test_tokens_are_drawn_without_replacement(self, model):
        """One step: as many different tokens as there are beams, whatever the seed."""
        for seed in range(30):
            result = model.generate(
                [[1, 2, 3]],
                num_beams=6,
                num_return_sequences=6,
                do_sample=True,
                max_new_tokens=1,
                seed=seed,
                eos_token_id=None,
            )
            assert len({*result[:, 3].tolist()}) == 6

    def test_draws_have_the_distribution(self, model, scores):
        """Two of the four that are drawn each time: the likelier ones, but not always the same."""
        expected = np.exp(scores([1, 2, 3]))
        counts = np.zeros(VOCAB)
        for seed in range(300):
            result = model.generate(
                [[1, 2, 3]],
                num_beams=2,
                num_return_sequences=2,
                do_sample=True,
                max_new_tokens=1,
                seed=seed,
                eos_token_id=None,
            )
            counts[result[:, 3]] += 1
        assert counts.sum() == 600
        assert np.corrcoef(counts, expected)[0, 1] > 0.8
        assert (counts > 0).sum() > 4

    def test_top_k_as_few_as_a_beam_needs(self, model, scores, prompts):
        """top_k=1 leaves two tokens to each beam, so that one may end."""
        result = model.generate(
            *left_padded(prompts),
            num_beams=3,
            num_return_sequences=3,
            do_sample=True,
            top_k=1,
            seed=1,
            max_new_tokens=10,
            eos_token_id=None,
        )
        for row, ids in enumerate(result[:, 9:].tolist()):
            prompt = prompts[row // 3]
            for step, token in enumerate(ids):
                best_two = np.argsort(scores(prompt + ids[:step]))[-2:]
                assert token in best_two


GROUPS = {"num_beams": 6, "num_beam_groups": 3}


class TestGroups:
    def test_groups_take_different_first_tokens_at_a_high_penalty(self, model, scores, prompts):
        """Three groups of one beam, one step: the three likeliest tokens, one for each."""
        output = model.generate(
            *left_padded(prompts),
            num_beams=3,
            num_beam_groups=3,
            diversity_penalty=1e5,
            num_return_sequences=3,
            max_new_tokens=1,
            eos_token_id=None,
            **SCORED,
        )
        for row, prompt in enumerate(prompts):
            tokens = output.sequences[3 * row : 3 * row + 3, 9].tolist()
            assert tokens == np.argsort(scores(prompt))[:-4:-1].tolist()
            expected = np.sort(scores(prompt))[:-4:-1]
            difference = output.sequences_scores[3 * row : 3 * row + 3] - expected
            assert np.abs(difference).max() < CLOSE

    def test_penalty_by_hand(self, model, scores, prompts):
        """Two groups of one beam, two steps: the second avoids what the first just took."""
        penalty = 0.6
        output = model.generate(
            [prompts[0]],
            num_beams=2,
            num_beam_groups=2,
            diversity_penalty=penalty,
            num_return_sequences=2,
            max_new_tokens=2,
            eos_token_id=None,
            length_penalty=0.0,
            **SCORED,
        )
        first = greedy(scores, prompts[0], 2)
        second, total = [], 0.0
        for taken in first:
            own = scores(prompts[0] + second) - penalty * (np.arange(VOCAB) == taken)
            second.append(int(own.argmax()))
            total += own.max()
        texts = [tuple(text) for text in output.sequences[:, 5:].tolist()]
        ours = dict(zip(texts, output.sequences_scores, strict=True))
        assert {*ours} == {tuple(first), tuple(second)}
        assert abs(ours[tuple(second)] - total) < CLOSE

    def test_the_first_group_is_a_search_of_its_own(self, model, scores, prompts):
        output = model.generate(
            *left_padded(prompts),
            num_return_sequences=6,
            max_new_tokens=10,
            eos_token_id=None,
            diversity_penalty=0.9,
            **GROUPS,
            **SCORED,
        )
        ours = found(output, 9)
        for row, prompt in enumerate(prompts):
            results = ours[6 * row : 6 * row + 6]
            for score, tokens in beam_search(scores, prompt, 2, 10):
                (same,) = [own for own, ids in results if ids == tokens][:1]
                assert abs(same - score) < CLOSE

    def test_groups_differ_more_than_beams_do(self, model, prompts):
        inputs = left_padded(prompts)
        arguments = {"num_return_sequences": 6, "max_new_tokens": 8, "eos_token_id": None}

        def different(result):
            steps = result[:, 9:].reshape(3, 6, 8)
            return sum(len({*steps[row, :, step].tolist()}) for row, step in np.ndindex(3, 8))

        plain = model.generate(*inputs, num_beams=6, **arguments)
        groups = model.generate(*inputs, diversity_penalty=2.0, **GROUPS, **arguments)
        assert different(groups) > different(plain)
