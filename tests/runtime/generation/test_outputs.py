"""return_dict_in_generate: what scores, logits and beam_indices are, and each token's score."""

import numpy as np
import pytest
from plain_generation import greedy, left_padded, log_softmax, next_scores
from refusals import refused

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.outputs import (
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
)

VOCAB, FILL = 301, 301  # no text has the fill
CLOSE = {"atol": 1e-3, "rtol": 0}  # of scores with a spread of some units
ALL = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
GROUPS = {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.8}


class TestWhatIsReturned:
    def test_ids_alone_unless_asked_for(self, model):
        result = model.generate([[1, 2]], output_scores=True, output_logits=True)
        assert type(result) is np.ndarray

    def test_only_what_was_asked_for(self, model):
        output = model.generate([[1, 2]], return_dict_in_generate=True, max_new_tokens=3)
        assert type(output) is GenerateDecoderOnlyOutput
        assert output.scores is output.logits is output.past_key_values is None
        output = model.generate([[1, 2]], return_dict_in_generate=True, output_scores=True)
        assert output.scores is not None
        assert output.logits is None
        output = model.generate([[1, 2]], return_dict_in_generate=True, num_beams=2)
        assert type(output) is GenerateBeamDecoderOnlyOutput
        assert output.scores is output.logits is output.sequences_scores is None
        assert output.beam_indices is not None

    def test_by_name_too(self, model):
        output = model.generate([[1, 2]], max_new_tokens=3, **ALL)
        assert output["sequences"] is output.sequences
        assert output["scores"] is output.scores
        assert [*output] == [*output.keys()] == ["sequences", "scores", "logits"]
        assert "scores" in output
        assert "past_key_values" not in output
        with pytest.raises(KeyError):
            output["past_key_values"]

    def test_by_number_too(self, model):
        output = model.generate([[1, 2]], max_new_tokens=3, **ALL)
        assert output[0] is output.sequences
        assert output[1] is output.scores
        assert output[:2] == output.to_tuple()[:2]
        assert len(output) == 3

    def test_beams_have_no_caches_left(self, model):
        output = model.generate(
            [[1, 2]], num_beams=2, past_key_values=model.prefill([[1, 2]]), max_new_tokens=3, **ALL
        )
        assert output.past_key_values is None

    @pytest.mark.parametrize(
        ("arguments", "rows", "results"),
        [
            ({}, 3, 3),
            ({"do_sample": True, "num_return_sequences": 4, "seed": 1}, 12, 12),
            ({"prompt_lookup_num_tokens": 4}, 3, 3),
            ({"num_beams": 4, "num_return_sequences": 2}, 12, 6),
            ({"num_beams": 4, "do_sample": True, "seed": 1}, 12, 3),
            (GROUPS | {"num_return_sequences": 5}, 18, 15),
        ],
        ids=str,
    )
    def test_shapes(self, model, prompts, arguments, rows, results):
        output = model.generate(
            *left_padded(prompts), max_new_tokens=9, eos_token_id=None, **ALL, **arguments
        )
        assert output.sequences.shape == (results, 11 + 9)
        for steps in (output.scores, output.logits):
            assert type(steps) is tuple
            assert [step.shape for step in steps] == [(rows, VOCAB)] * 9
            assert {step.dtype for step in steps} == {np.dtype(np.float32)}
        if "num_beams" in arguments:
            assert output.sequences_scores.shape == (results,)
            assert output.beam_indices.shape == (results, 9)


class TestOneSequenceEach:
    def test_logits_are_the_models_and_scores_the_processors(self, model, oracle, prompts):
        output = model.generate(
            *left_padded(prompts),
            max_new_tokens=20,
            eos_token_id=None,
            suppress_tokens=[5, 6],
            **ALL,
        )
        for row, prompt in enumerate(prompts):
            generated = output.sequences[row, 11:].tolist()
            expected = oracle.logits(np.array(prompt + generated))
            for step in range(20):
                wanted = expected[len(prompt) - 1 + step]
                np.testing.assert_allclose(output.logits[step][row], wanted, **CLOSE)
                assert set(np.flatnonzero(np.isneginf(output.scores[step][row]))) == {5, 6}
                kept = np.delete(output.scores[step][row], [5, 6])
                assert (kept == np.delete(output.logits[step][row], [5, 6])).all()
                assert output.scores[step][row].argmax() == generated[step]

    def test_zeros_behind_an_end(self, model, oracle, prompts):
        plain = [greedy(next_scores(oracle), prompt, 12) for prompt in prompts]
        end = plain[1][4]
        lengths = [row.index(end) + 1 if end in row else 12 for row in plain]
        assert len({*lengths}) > 1
        output = model.generate(
            *left_padded(prompts), max_new_tokens=12, eos_token_id=end, pad_token_id=9, **ALL
        )
        for steps in (output.scores, output.logits):
            present = [[bool(step[row].any()) for step in steps] for row in range(3)]
            steps_made = max(lengths)
            assert present == [[step < length for step in range(steps_made)] for length in lengths]

    def test_sampled_scores_are_those_drawn_from(self, model, prompts):
        output = model.generate(
            *left_padded(prompts),
            do_sample=True,
            top_k=5,
            temperature=2.0,
            num_return_sequences=2,
            seed=4,
            max_new_tokens=10,
            eos_token_id=None,
            **ALL,
        )
        for step in range(10):
            for row in range(6):
                logits, scores = output.logits[step][row], output.scores[step][row]
                kept = np.flatnonzero(np.isfinite(scores))
                assert set(kept) == set(np.argsort(logits)[-5:])
                np.testing.assert_allclose(scores[kept], logits[kept] / 2, rtol=1e-6)
                assert output.sequences[row, 11 + step] in kept
        for prompt in range(3):  # both results of a prompt began alike
            first = output.logits[0][2 * prompt : 2 * prompt + 2]
            assert (first[0] == first[1]).all()

    def test_assisted_decoding_has_those_of_plain_decoding(self, model, oracle, prompts):
        end = greedy(next_scores(oracle), prompts[1], 5)[4]
        arguments = {"max_new_tokens": 25, "eos_token_id": end, "suppress_tokens": [5, 6], **ALL}
        for given in (left_padded(prompts), left_padded(prompts[:1])):
            plain = model.generate(*given, **arguments)
            assisted = model.generate(*given, prompt_lookup_num_tokens=4, **arguments)
            assert assisted.sequences.tolist() == plain.sequences.tolist()
            np.testing.assert_allclose(assisted.logits, plain.logits, **CLOSE)
            np.testing.assert_allclose(assisted.scores, plain.scores, **CLOSE)


def rebuilt(model, output, length_penalty):
    """sequences_scores, from the score of every token."""
    transitions = model.compute_transition_scores(
        output.sequences, output.scores, output.beam_indices
    )
    assert transitions.shape == output.beam_indices.shape
    lengths = (output.beam_indices >= 0).sum(-1)
    return transitions.sum(-1) / lengths**length_penalty


def assert_rows_are_the_tokens_own(oracle, output, prompts, results):
    """What each token was taken from: logits behind the prompt and the tokens before it."""
    width = max(map(len, prompts))
    for result, rows in enumerate(output.beam_indices):
        prompt = prompts[result // results]
        rows = rows[rows >= 0]
        generated = output.sequences[result, width : width + len(rows)].tolist()
        expected = oracle.logits(np.array(prompt + generated))
        for step, row in enumerate(rows):
            wanted = expected[len(prompt) - 1 + step]
            np.testing.assert_allclose(output.logits[step][row], wanted, **CLOSE)


class TestBeams:
    @pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -1.0])
    @pytest.mark.parametrize("kind", [{"num_beams": 4}, GROUPS], ids=["beams", "groups"])
    def test_their_scores_are_the_sums_of_their_tokens(
        self, model, oracle, prompts, kind, length_penalty
    ):
        end = greedy(next_scores(oracle), prompts[0], 7)[6]
        output = model.generate(
            *left_padded(prompts),
            length_penalty=length_penalty,
            num_return_sequences=4,
            max_new_tokens=12,
            eos_token_id=end,
            pad_token_id=FILL,
            **kind,
            **ALL,
        )
        expected = rebuilt(model, output, length_penalty)
        np.testing.assert_allclose(output.sequences_scores, expected, rtol=1e-4)
        assert_rows_are_the_tokens_own(oracle, output, prompts, 4)
        ranked = output.sequences_scores.reshape(3, 4)
        assert (np.diff(ranked, axis=1) <= 0).all()

    def test_some_end_early(self, model, oracle, prompts):
        """Behind an end stand -1 and zeros; the test above would not notice if none ended."""
        end = greedy(next_scores(oracle), prompts[0], 3)[2]
        output = model.generate(
            *left_padded(prompts),
            num_beams=4,
            num_return_sequences=4,
            max_new_tokens=12,
            eos_token_id=end,
            pad_token_id=FILL,
            length_penalty=0.0,
            **ALL,
        )
        generated = output.sequences[:, 11:]
        transitions = model.compute_transition_scores(
            output.sequences, output.scores, output.beam_indices
        )
        lengths = [row.index(FILL) if FILL in row else len(row) for row in generated.tolist()]
        assert min(lengths) < max(lengths)
        for row, length in enumerate(lengths):
            assert (output.beam_indices[row, :length] >= 0).all()
            assert (output.beam_indices[row, length:] == -1).all()
            assert (transitions[row, :length] < 0).all()
            assert (transitions[row, length:] == 0).all()

    def test_scores_are_log_probabilities_before_processors(self, model, prompts):
        output = model.generate(
            *left_padded(prompts), num_beams=3, max_new_tokens=6, eos_token_id=None, **ALL
        )
        for scores, logits in zip(output.scores, output.logits, strict=True):
            np.testing.assert_allclose(scores, log_softmax(logits), **CLOSE)

    def test_beams_of_the_second_prompt_are_counted_on(self, model, prompts):
        output = model.generate(
            *left_padded(prompts), num_beams=3, max_new_tokens=6, eos_token_id=None, **ALL
        )
        for prompt, rows in enumerate(output.beam_indices.tolist()):
            assert rows[0] == 3 * prompt
            assert set(rows) <= {3 * prompt, 3 * prompt + 1, 3 * prompt + 2}

    def test_sampled_beams(self, model, oracle, prompts):
        output = model.generate(
            *left_padded(prompts),
            num_beams=4,
            do_sample=True,
            top_k=20,
            seed=2,
            num_return_sequences=3,
            max_new_tokens=12,
            eos_token_id=None,
            **ALL,
        )
        np.testing.assert_allclose(output.sequences_scores, rebuilt(model, output, 1), rtol=1e-4)
        assert_rows_are_the_tokens_own(oracle, output, prompts, 3)

    def test_groups_that_a_criterion_stops(self, model, oracle, prompts):
        """They get no end token: no step chose one, and it would have no score."""
        output = model.generate(
            [prompts[0]],
            stopping_criteria=[lambda ids, scores: ids.shape[1] >= 12],
            max_new_tokens=12,
            eos_token_id=300,
            suppress_tokens=[300],
            **GROUPS,
            **ALL,
        )
        assert output.sequences.shape == (1, 7 + 5)
        np.testing.assert_allclose(output.sequences_scores, rebuilt(model, output, 1), rtol=1e-4)
        assert_rows_are_the_tokens_own(oracle, output, prompts[:1], 1)

    def test_groups_with_several_end_tokens(self, model, oracle, prompts):
        plain = greedy(next_scores(oracle), prompts[0], 9)
        second = int(np.argsort(next_scores(oracle)(prompts[1]))[-2])
        output = model.generate(
            *left_padded(prompts),
            num_return_sequences=6,
            max_new_tokens=12,
            eos_token_id=[plain[8], plain[2], second],
            length_penalty=0.0,
            pad_token_id=FILL,
            **GROUPS,
            **ALL,
        )
        np.testing.assert_allclose(output.sequences_scores, rebuilt(model, output, 0), rtol=1e-4)
        assert_rows_are_the_tokens_own(oracle, output, prompts, 6)
        assert (output.beam_indices == -1).any()


class TestTransitionScores:
    def test_greedy_normalized_are_the_oracles_log_probabilities(self, model, oracle, prompts):
        output = model.generate(*left_padded(prompts), max_new_tokens=20, eos_token_id=None, **ALL)
        found = model.compute_transition_scores(
            output.sequences, output.scores, normalize_logits=True
        )
        assert found.shape == (3, 20)
        for row, prompt in enumerate(prompts):
            generated = output.sequences[row, 11:]
            expected = log_softmax(oracle.logits(np.array([*prompt, *generated])))
            steps = np.arange(len(prompt) - 1, len(prompt) + 19)
            np.testing.assert_allclose(found[row], expected[steps, generated], **CLOSE)

    def test_greedy_unnormalized_are_the_scores(self, model, prompts):
        output = model.generate(*left_padded(prompts), max_new_tokens=8, eos_token_id=None, **ALL)
        found = model.compute_transition_scores(output.sequences, output.scores)
        for step, scores in enumerate(output.scores):
            assert found[:, step].tolist() == scores.max(-1).tolist()

    def test_greedy_zeros_behind_ends(self, model, oracle, prompts):
        end = greedy(next_scores(oracle), prompts[1], 5)[4]
        output = model.generate(
            *left_padded(prompts), max_new_tokens=12, eos_token_id=end, pad_token_id=FILL, **ALL
        )
        found = model.compute_transition_scores(output.sequences, output.scores)
        behind = output.sequences[:, 11:] == FILL
        assert behind.any()
        assert (found[behind] == 0).all()
        assert (found[~behind] != 0).all()

    @pytest.mark.parametrize("beams", [1, 4])
    def test_a_fill_beyond_the_vocabulary(self, model, oracle, prompts, beams):
        end = greedy(next_scores(oracle), prompts[1], 5)[4]
        early = int(np.argsort(next_scores(oracle)(prompts[1]))[-2])
        arguments = {"max_new_tokens": 12, "eos_token_id": [end, early], **ALL}
        arguments |= {"num_beams": beams, "num_return_sequences": beams, "length_penalty": 0.0}
        found = []
        for fill in (VOCAB - 1, 50256):
            output = model.generate(*left_padded(prompts), pad_token_id=fill, **arguments)
            assert (output.sequences == fill).any()
            indices = output.beam_indices if beams > 1 else None
            found.append(
                model.compute_transition_scores(output.sequences, output.scores, indices).tolist()
            )
        assert found[0] == found[1]

    def test_by_hand(self, model):
        scores = [np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([[7.0, 8, 9], [10, 11, 12]])]
        scores = [step.astype(np.float32) for step in scores]
        sequences = np.array([[0, 0, 2, 1], [0, 0, 0, 2]])
        plain = model.compute_transition_scores(sequences, scores)
        assert plain.tolist() == [[3, 8], [4, 12]]
        beams = np.array([[1, 0], [0, -1]])
        assert model.compute_transition_scores(sequences, scores, beams).tolist() == [
            [6, 8],
            [1, 0],
        ]
        shorter = np.array([[1, -1], [0, -1]])  # one step: it belongs to the last column
        assert model.compute_transition_scores(sequences, scores, shorter).tolist() == [[5], [3]]

    @pytest.mark.parametrize("scores", [None, (), []], ids=str)
    def test_without_scores(self, model, scores):
        message = "there are no scores; pass return_dict_in_generate=True and output_scores=True"
        with refused(InputError, message):
            model.compute_transition_scores(np.ones((1, 3), np.int64), scores)
