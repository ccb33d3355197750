"""Classifier-free guidance: scale * (prompt - negative) + negative, in log probabilities.

Both streams are computed by the oracle, each from its own first token on.
"""

import numpy as np
import pytest
from plain_generation import beam_search, greedy, left_padded
from refusals import refused

from gptneo_onnx.models import InputError

VOCAB, FILL = 301, 301  # no text has the fill
CLOSE = {"atol": 3e-3, "rtol": 0}  # of scores with a spread of some tens
SCALES = [0.0, 0.5, 1.5, 3.0]


@pytest.fixture
def negatives(random):
    return [random.integers(0, VOCAB, length).tolist() for length in (2, 14, 5)]


def guided(scores, scale, prompt, negative):
    """The guided scores behind the prompt and what follows it."""

    def next_guided(ids):
        generated = ids[len(prompt) :]
        unconditional = scores(negative + generated)
        return scale * (scores(prompt + generated) - unconditional) + unconditional

    return next_guided


def negative_arguments(negatives):
    ids, mask = left_padded(negatives, padding=11)
    return {"negative_prompt_ids": ids, "negative_prompt_attention_mask": mask}


class TestGreedy:
    @pytest.mark.parametrize("scale", SCALES)
    def test_without_negative_prompts_it_leads_away_from_the_last_token_alone(
        self, model, scores, prompts, scale
    ):
        result = model.generate(
            *left_padded(prompts), guidance_scale=scale, max_new_tokens=25, eos_token_id=None
        )
        for row, prompt in enumerate(prompts):
            expected = greedy(guided(scores, scale, prompt, prompt[-1:]), prompt, 25)
            assert result[row, 11:].tolist() == expected

    @pytest.mark.parametrize("scale", SCALES)
    def test_with_negative_prompts(self, model, scores, prompts, negatives, scale):
        """Ragged on both sides, past the window of 5."""
        result = model.generate(
            *left_padded(prompts),
            guidance_scale=scale,
            max_new_tokens=25,
            eos_token_id=None,
            **negative_arguments(negatives),
        )
        assert result[:, :11].tolist() == left_padded(prompts)[0].tolist()
        for row, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
            expected = greedy(guided(scores, scale, prompt, negative), prompt, 25)
            assert result[row, 11:].tolist() == expected

    def test_at_scale_0_the_negative_prompt_is_continued(self, model, prompts, negatives):
        result = model.generate(
            [prompts[0]],
            guidance_scale=0.0,
            negative_prompt_ids=[negatives[0]],
            max_new_tokens=20,
            eos_token_id=None,
        )
        alone = model.generate([negatives[0]], max_new_tokens=20, eos_token_id=None)
        assert result[0, 7:].tolist() == alone[0, 2:].tolist()

    @pytest.mark.parametrize("scale", [1, 1.0])
    def test_at_scale_1_there_is_none(self, model, prompts, negatives, scale):
        inputs = left_padded(prompts)
        plain = model.generate(*inputs, max_new_tokens=20, eos_token_id=None)
        result = model.generate(
            *inputs,
            guidance_scale=scale,
            max_new_tokens=20,
            eos_token_id=None,
            **negative_arguments(negatives),
        )
        assert result.tolist() == plain.tolist()

    def test_in_chunks(self, model, prompts, negatives):
        arguments = {"guidance_scale": 2.0, "max_new_tokens": 20, "eos_token_id": None}
        arguments |= negative_arguments(negatives)
        whole = model.generate(*left_padded(prompts), **arguments)
        model.engine.prefill_chunk = 3
        assert model.generate(*left_padded(prompts), **arguments).tolist() == whole.tolist()

    def test_rows_that_end_leave_the_others_alone(self, model, scores, prompts, negatives):
        plain = [
            greedy(guided(scores, 1.5, prompt, negative), prompt, 20)
            for prompt, negative in zip(prompts, negatives, strict=True)
        ]
        end = plain[0][3]
        result = model.generate(
            *left_padded(prompts),
            guidance_scale=1.5,
            max_new_tokens=20,
            eos_token_id=end,
            pad_token_id=FILL,
            **negative_arguments(negatives),
        )
        lengths = [row.index(end) + 1 if end in row else 20 for row in plain]
        assert lengths[0] < max(lengths)
        for row in range(3):
            expected = plain[row][: lengths[row]] + [FILL] * (max(lengths) - lengths[row])
            assert result[row, 11:].tolist() == expected


class TestScores:
    def test_logits_are_the_prompts_scores_the_guided(self, model, scores, prompts, negatives):
        output = model.generate(
            *left_padded(prompts),
            guidance_scale=1.5,
            max_new_tokens=6,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_scores=True,
            output_logits=True,
            **negative_arguments(negatives),
        )
        for row, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
            ids = output.sequences[row, 11:].tolist()
            for step in range(6):
                behind = prompt + ids[:step]
                expected = guided(scores, 1.5, prompt, negative)(behind)
                np.testing.assert_allclose(output.scores[step][row], expected, **CLOSE)
                logits = output.logits[step][row]
                np.testing.assert_allclose(
                    logits - np.log(np.exp(logits.astype(np.float64)).sum()),
                    scores(behind),
                    **CLOSE,
                )

    def test_several_results_of_a_prompt(self, model, scores, prompts, negatives):
        """Each follows its own text in both streams."""
        output = model.generate(
            *left_padded(prompts),
            guidance_scale=1.5,
            do_sample=True,
            top_k=0,
            seed=1,
            num_return_sequences=3,
            max_new_tokens=9,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_scores=True,
            **negative_arguments(negatives),
        )
        generated = output.sequences[:, 11:].tolist()
        assert len({*map(tuple, generated)}) > 6
        for row, ids in enumerate(generated):
            prompt, negative = prompts[row // 3], negatives[row // 3]
            for step in range(9):
                expected = guided(scores, 1.5, prompt, negative)(prompt + ids[:step])
                np.testing.assert_allclose(output.scores[step][row], expected, **CLOSE)

    def test_it_comes_before_all_processors(self, model, scores, prompts):
        seen = []

        def note(ids, given):
            seen.append(given.copy())
            return given

        model.generate([prompts[0]], guidance_scale=2.0, logits_processor=[note], max_new_tokens=1)
        expected = guided(scores, 2.0, prompts[0], prompts[0][-1:])(prompts[0])
        np.testing.assert_allclose(seen[0][0], expected, **CLOSE)


class TestBeams:
    @pytest.mark.parametrize("scale", [0.5, 1.5, 3.0])
    @pytest.mark.parametrize("has_negatives", [False, True])
    def test_against_a_search_over_the_oracle(
        self, model, scores, prompts, negatives, scale, has_negatives
    ):
        """Both streams follow their beam wherever it goes."""
        if not has_negatives:
            negatives = [prompt[-1:] for prompt in prompts]
        output = model.generate(
            *left_padded(prompts),
            guidance_scale=scale,
            num_beams=3,
            num_return_sequences=3,
            max_new_tokens=10,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_scores=True,
            **(negative_arguments(negatives) if has_negatives else {}),
        )
        for row, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
            expected = beam_search(guided(scores, scale, prompt, negative), prompt, 3, 10)
            for rank, (score, ids) in enumerate(expected):
                assert output.sequences[3 * row + rank, 11:].tolist() == ids
                assert abs(output.sequences_scores[3 * row + rank] - score) < 3e-3

    def test_prompts_that_are_done_leave_the_others_alone(self, model, scores, prompts, negatives):
        first = guided(scores, 1.5, prompts[0], negatives[0])(prompts[0])
        ends = np.argsort(first)[-3:].tolist()  # all three beams of the first prompt end at once
        result = model.generate(
            *left_padded(prompts),
            guidance_scale=1.5,
            num_beams=3,
            max_new_tokens=14,
            eos_token_id=ends,
            pad_token_id=FILL,
            early_stopping=True,
            **negative_arguments(negatives),
        )
        lengths = []
        for row, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
            search = beam_search(
                guided(scores, 1.5, prompt, negative), prompt, 3, 14, ends, early_stopping=True
            )
            found = [token for token in result[row, 11:].tolist() if token != FILL]
            assert found == search[0][1]
            lengths.append(len(found))
        assert lengths[0] == 1 < max(lengths)


class TestErrors:
    def test_another_number_of_negative_prompts(self, model):
        with refused(InputError, "negative_prompt_ids need a weight; pass guidance_scale too"):
            model.generate([[1, 2]], negative_prompt_ids=[[1]])
        message = "negative_prompt_ids has 2 rows, input_ids 1; one for each prompt is expected, or"
        with refused(InputError, message):
            model.generate([[1, 2]], guidance_scale=2.0, negative_prompt_ids=[[1], [2]])

    def test_one_negative_prompt_serves_every_prompt(self, model, prompts):
        arguments = {"guidance_scale": 2.0, "max_new_tokens": 5, "eos_token_id": None}
        one = model.generate(*left_padded(prompts), negative_prompt_ids=[[4, 5]], **arguments)
        each = model.generate(*left_padded(prompts), negative_prompt_ids=[[4, 5]] * 3, **arguments)
        assert one.tolist() == each.tolist()

    def test_a_negative_prompt_that_leaves_no_room(self, model):
        """The context has 64 tokens; both streams must fit."""
        arguments = {"guidance_scale": 2.0, "max_new_tokens": 10, "eos_token_id": None}
        longest = model.generate([[1, 2]], negative_prompt_ids=[[3] * 55], **arguments)
        assert longest.shape == (1, 12)
        message = "a negative prompt has 56 tokens and 10 are to follow, .* context of 64; shorten"
        with refused(InputError, message):
            model.generate([[1, 2]], negative_prompt_ids=[[3] * 56], **arguments)

    @pytest.mark.parametrize(
        ("negative", "message"),
        [
            (
                {"negative_prompt_ids": [[301]]},
                "token id 301 of negative_prompt_ids is out of range",
            ),
            ({"negative_prompt_ids": [[]]}, "at least one token"),
            (
                {"negative_prompt_ids": [[1, 2]], "negative_prompt_attention_mask": [[1, 0]]},
                "padded on the right",
            ),
            (
                {"negative_prompt_ids": [[1]], "guidance_scale": float("inf")},
                "guidance_scale is inf; a n",
            ),
        ],
        ids=range(4),
    )
    def test_what_cannot_be_used(self, model, negative, message):
        with refused(InputError, message):
            model.generate([[1, 2]], **({"guidance_scale": 2.0} | negative))
