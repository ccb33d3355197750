"""The caller's own processors, criteria and prefixes: what they see, when, and what they decide."""

import numpy as np
import pytest
from plain_generation import beam_search, greedy, left_padded
from refusals import refused

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime.generation.processors.base import LogitsProcessorList
from gptneo_onnx.runtime.generation.processors.penalties import (
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)
from gptneo_onnx.runtime.generation.processors.warpers import TopKLogitsWarper
from gptneo_onnx.runtime.generation.stopping_criteria import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteriaList,
)

VOCAB, FILL = 301, 301  # no text has the fill


class Seen:
    """A processor, or a criterion, that notes what it sees and does `action`."""

    def __init__(self, action):
        self.action = action
        self.ids = []
        self.scores = []

    def __call__(self, input_ids, scores):
        self.ids.append(input_ids.copy())
        self.scores.append(scores.copy())
        return self.action(input_ids, scores)


def unchanged(ids, scores):
    return scores


def never(ids, scores):
    return np.zeros(len(ids), np.bool_)


class TestWhatTheySee:
    @pytest.mark.parametrize("sampling", [{}, {"do_sample": True, "seed": 1}], ids=str)
    def test_all_rows_padding_on_the_left_fill_behind_ends(self, model, prompts, sampling):
        """At each step what the result will be, up to that column."""
        processor = Seen(unchanged)
        criterion = Seen(lambda ids, scores: ids.shape[1] - 11 >= np.array([9, 4, 99]))
        result = model.generate(
            *left_padded(prompts),
            logits_processor=[processor],
            stopping_criteria=[criterion],
            eos_token_id=None,
            pad_token_id=FILL,
            max_new_tokens=14,
            **sampling,
        )
        assert (result == FILL).sum(-1).tolist() == [5, 10, 0]
        assert len(processor.ids) == len(criterion.ids) == 14
        for step in range(14):
            assert processor.ids[step].tolist() == result[:, : 11 + step].tolist()
            assert criterion.ids[step].tolist() == result[:, : 12 + step].tolist()
            assert processor.scores[step].shape == criterion.scores[step].shape == (3, VOCAB)
            assert processor.scores[step].dtype == np.float32

    def test_several_results_of_a_prompt_are_rows_side_by_side(self, model, prompts):
        processor = Seen(unchanged)
        result = model.generate(
            *left_padded(prompts),
            logits_processor=[processor],
            do_sample=True,
            num_return_sequences=2,
            max_new_tokens=4,
            eos_token_id=None,
        )
        assert processor.ids[-1].tolist() == result[:, :-1].tolist()

    def test_beams_of_all_prompts(self, model, prompts):
        processor, (ids, mask) = Seen(unchanged), left_padded(prompts)
        model.generate(
            ids,
            mask,
            logits_processor=[processor],
            num_beams=4,
            max_new_tokens=5,
            eos_token_id=None,
        )
        assert [seen.shape for seen in processor.ids] == [(12, 11 + step) for step in range(5)]
        for seen in processor.ids:
            assert seen[:, :11].tolist() == np.repeat(ids, 4, axis=0).tolist()
        # Log probabilities, as transformers hands them out.
        np.testing.assert_allclose(np.exp(processor.scores[-1]).sum(-1), 1, rtol=1e-4)

    def test_beams_of_a_prompt_that_is_done_are_filled_up(self, model, prompts):
        def second(ids, scores):
            return (ids[:, 8:11] == prompts[1]).all(-1) & (ids.shape[1] >= 11 + 2)

        processor = Seen(unchanged)
        result = model.generate(
            *left_padded(prompts),
            logits_processor=[processor],
            stopping_criteria=[second],
            num_beams=2,
            max_new_tokens=5,
            eos_token_id=None,
            pad_token_id=FILL,
        )
        assert [(seen == FILL).sum(-1).tolist() for seen in processor.ids] == [
            [0, 0, filled, filled, 0, 0] for filled in (0, 0, 0, 1, 2)
        ]
        assert (result == FILL).sum(-1).tolist() == [0, 3, 0]

    def test_between_the_built_in_processors_and_the_cuts_of_sampling(self, model, prompts):
        def prefer(ids, scores):
            return scores + 1000 * (np.arange(VOCAB) == 42)

        processor = Seen(prefer)
        result = model.generate(
            [prompts[0]],
            logits_processor=[processor],
            suppress_tokens=[5, 6],
            do_sample=True,
            top_k=1,
            max_new_tokens=3,
            eos_token_id=None,
        )
        for seen in processor.scores:  # the suppressed are gone, and none of the others yet
            assert set(np.flatnonzero(np.isneginf(seen[0]))) == {5, 6}
        assert result[0, 7:].tolist() == [42] * 3

    def test_criteria_see_the_processed_scores(self, model, prompts):
        criterion = Seen(never)
        output = model.generate(
            *left_padded(prompts),
            stopping_criteria=[criterion],
            suppress_tokens=[5],
            max_new_tokens=4,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_scores=True,
        )
        for seen, kept in zip(criterion.scores, output.scores, strict=True):
            assert (seen == kept).all()


class TestProcessors:
    def test_by_row(self, model, prompts):
        """One that does something else to each row: rows are those of the batch."""

        def by_row(ids, scores):
            for row in range(3):
                scores[row, 40 + row] = 1000
            return scores

        result = model.generate(
            *left_padded(prompts), logits_processor=[by_row], max_new_tokens=3, eos_token_id=None
        )
        assert result[:, 11:].tolist() == [[40] * 3, [41] * 3, [42] * 3]

    def test_scores_may_be_changed_in_place(self, model, scores, prompts):
        def without(ids, scores):
            scores[:, forbidden] = -np.inf
            return scores

        forbidden = [*{*greedy(scores, prompts[0], 6)}]
        arguments = {
            "max_new_tokens": 6,
            "eos_token_id": None,
            "return_dict_in_generate": True,
            "output_logits": True,
            "output_scores": True,
        }
        output = model.generate([prompts[0]], logits_processor=[without], **arguments)
        expected = model.generate([prompts[0]], suppress_tokens=forbidden, **arguments)
        assert output.sequences.tolist() == expected.sequences.tolist()
        assert not {*output.sequences[0, 7:]} & {*forbidden}
        assert np.isfinite(output.logits).all()  # what the model said is not what was changed
        assert (np.stack(output.scores) == np.stack(expected.scores)).all()

    def test_several_one_after_the_other(self, model, prompts):
        chain = LogitsProcessorList(
            [lambda ids, scores: scores * 0, lambda ids, scores: scores + np.arange(VOCAB)]
        )
        result = model.generate([prompts[0]], logits_processor=chain, max_new_tokens=2)
        assert result[0, 7:].tolist() == [VOCAB - 1] * 2

    def test_one_of_a_built_in_class_replaces_the_built_in_one(self, model, prompts):
        arguments = {"max_new_tokens": 20, "eos_token_id": None}
        plain = model.generate([prompts[0]], **arguments)
        strong = model.generate([prompts[0]], repetition_penalty=5.0, **arguments)
        assert strong.tolist() != plain.tolist()
        own = RepetitionPenaltyLogitsProcessor(1.0)
        replaced = model.generate(
            [prompts[0]], repetition_penalty=5.0, logits_processor=[own], **arguments
        )
        assert replaced.tolist() == plain.tolist()

    def test_one_derived_from_it_does_not(self, model, prompts):
        class Derived(RepetitionPenaltyLogitsProcessor):
            pass

        arguments = {"max_new_tokens": 20, "eos_token_id": None, "repetition_penalty": 5.0}
        strong = model.generate([prompts[0]], **arguments)
        both = model.generate([prompts[0]], logits_processor=[Derived(1.0)], **arguments)
        assert both.tolist() == strong.tolist()

    def test_a_warper_comes_in_addition(self, model, prompts):
        arguments = {"max_new_tokens": 12, "eos_token_id": None, "do_sample": True, "seed": 1}
        own = TopKLogitsWarper(VOCAB)
        both = model.generate([prompts[0]], top_k=1, logits_processor=[own], **arguments)
        assert both.tolist() == model.generate([prompts[0]], top_k=1, **arguments).tolist()

    @pytest.mark.parametrize(
        ("wrong", "returned"),
        [
            (lambda ids, scores: scores[:1], r"\[1, 301\]"),
            (lambda ids, scores: scores[:, :-1], r"\[3, 300\]"),
            (lambda ids, scores: scores[None], r"\[1, 3, 301\]"),
            (lambda ids, scores: None, r"\[\]"),
        ],
        ids=range(4),
    )
    @pytest.mark.parametrize("beams", [1, 3])
    def test_scores_of_another_shape_are_refused(self, model, prompts, wrong, returned, beams):
        returned = returned.replace("3, ", f"{3 * beams}, ")
        expected = (
            rf"logits_processor returned scores of shape {returned}; \[{3 * beams}, 301\] went"
        )
        with refused(InputError, expected):
            model.generate(*left_padded(prompts), logits_processor=[wrong], num_beams=beams)

    def test_all_tokens_ruled_out_while_sampling(self, model, prompts):
        with refused(InputError, "no token has a probability: processors have ruled out all"):
            model.generate(
                [prompts[0]],
                logits_processor=[lambda ids, scores: scores - np.inf],
                do_sample=True,
            )

    @pytest.mark.parametrize("empty", [[], (), None, LogitsProcessorList()], ids=repr)
    def test_none_at_all(self, model, prompts, empty):
        arguments = {"max_new_tokens": 5, "prompt_lookup_num_tokens": 3}
        plain = model.generate(*left_padded(prompts), **arguments)
        same = model.generate(*left_padded(prompts), logits_processor=empty, **arguments)
        assert same.tolist() == plain.tolist()

    @pytest.mark.parametrize("name", ["logits_processor", "stopping_criteria"])
    @pytest.mark.parametrize("given", [unchanged, "text", [unchanged, 3], 7], ids=range(4))
    def test_anything_but_a_list_of_callables(self, model, name, given):
        with refused(InputError, f"{name} is of type .*; a list of callables is allowed"):
            model.generate([[1, 2]], **{name: given})


class TestCriteria:
    def test_rows_stop_one_by_one(self, model, scores, prompts):
        plain = [greedy(scores, prompt, 10) for prompt in prompts]

        def stops(ids, scores):
            return ids.shape[1] - 11 >= np.array([4, 7, 2])

        result = model.generate(
            *left_padded(prompts),
            stopping_criteria=StoppingCriteriaList([stops]),
            max_new_tokens=10,
            eos_token_id=None,
            pad_token_id=FILL,
        )
        assert result[:, 11:].tolist() == [
            plain[0][:4] + [FILL] * 3,
            plain[1][:7],
            plain[2][:2] + [FILL] * 5,
        ]

    @pytest.mark.parametrize(
        "verdicts", [None, 0.5, [1, 0, 0], [True, False], [[True], [False], [True]]], ids=str
    )
    def test_verdicts_that_are_none_are_refused(self, model, prompts, verdicts):
        with refused(InputError, "a stopping criterion returned .* bool of shape .*3.*, or one bo"):
            model.generate(*left_padded(prompts), stopping_criteria=[lambda ids, scores: verdicts])

    def test_one_verdict_for_all(self, model, prompts):
        arguments = {"max_new_tokens": 10, "eos_token_id": None}
        plain = model.generate(*left_padded(prompts), **arguments)
        result = model.generate(
            *left_padded(prompts),
            stopping_criteria=[lambda ids, scores: ids.shape[1] >= 14],
            **arguments,
        )
        assert result.tolist() == plain[:, :14].tolist()

    def test_any_of_several(self, model, prompts):
        result = model.generate(
            *left_padded(prompts),
            stopping_criteria=[
                lambda ids, scores: np.array([ids.shape[1] >= 13, False, False]),
                lambda ids, scores: ids.shape[1] >= 15,
            ],
            eos_token_id=None,
            pad_token_id=FILL,
        )
        assert result.shape == (3, 15)
        assert (result == FILL).sum(-1).tolist() == [2, 0, 0]

    def test_each_is_asked_at_every_step_once(self, model, prompts):
        first, second = Seen(lambda ids, scores: ids.shape[1] >= 13), Seen(never)
        model.generate(*left_padded(prompts), stopping_criteria=[first, second], eos_token_id=None)
        assert len(first.ids) == len(second.ids) == 2

    @pytest.mark.parametrize("beams", [2, 4])
    def test_a_beam_that_is_stopped_is_finished(self, model, scores, prompts, beams):
        """As if what it stops at were an end token."""
        end = greedy(scores, prompts[0], 5)[4]
        inputs = left_padded(prompts)
        arguments = {
            "num_beams": beams,
            "num_return_sequences": 2,
            "max_new_tokens": 8,
            "pad_token_id": FILL,
            "length_penalty": 0.0,
        }
        result = model.generate(
            *inputs,
            stopping_criteria=[lambda ids, scores: ids[:, -1] == end],
            eos_token_id=None,
            **arguments,
        )
        assert (result == FILL).any()
        for row, prompt in enumerate(prompts):
            expected = beam_search(scores, prompt, beams, 8, [end], length_penalty=0.0)
            for rank in range(2):
                found = [token for token in result[2 * row + rank, 11:].tolist() if token != FILL]
                assert found == expected[rank][1]

    @pytest.mark.parametrize(
        "kind",
        [{}, {"num_beam_groups": 2, "diversity_penalty": 0.5}, {"do_sample": True, "seed": 1}],
        ids=str,
    )
    def test_all_beams_stop_where_a_criterion_counts_columns(self, model, prompts, kind):
        arguments = {"num_beams": 4, "eos_token_id": None, **kind}
        for count in (1, 4):
            stopped = model.generate(
                *left_padded(prompts),
                stopping_criteria=[lambda ids, scores, count=count: ids.shape[1] >= 11 + count],
                max_new_tokens=20,
                **arguments,
            )
            expected = model.generate(*left_padded(prompts), max_new_tokens=count, **arguments)
            assert stopped.tolist() == expected.tolist()


GROUPS = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5, "max_new_tokens": 6}


class TestWithGroups:
    def test_processors_see_a_group_of_all_prompts_at_a_time(self, model, prompts):
        processor = Seen(unchanged)
        model.generate(
            *left_padded(prompts), logits_processor=[processor], eos_token_id=None, **GROUPS
        )
        assert [ids.shape for ids in processor.ids] == [
            (len(prompts) * 2, 11 + step) for step in range(6) for _ in range(2)
        ]
        for row, prompt in enumerate(prompts):
            for ids in processor.ids:
                assert (ids[2 * row : 2 * row + 2, 11 - len(prompt) : 11] == prompt).all()

    def test_a_processor_decides_as_if_each_prompt_came_alone(self, model, prompts):
        def often(ids, scores):
            last = ids[:, -2:, None] == np.arange(VOCAB)  # [rows, 2, vocab]
            return scores + 2 * last.any(axis=1)

        arguments = {"logits_processor": [often], "eos_token_id": None, **GROUPS}
        together = model.generate(*left_padded(prompts), **arguments)
        for row, prompt in enumerate(prompts):
            alone = model.generate([prompt], **arguments)
            assert together[row, 11:].tolist() == alone[0, len(prompt) :].tolist()


@pytest.mark.parametrize(
    "processor",
    [RepetitionPenaltyLogitsProcessor(1.3), NoRepeatNGramLogitsProcessor(2)],
    ids=["repetition", "n-grams"],
)
def test_rows_filled_with_what_is_no_token_of_the_models(model, prompts, processor):
    def end_first_row(ids, scores):
        return np.arange(len(ids)) == 0

    result = model.generate(
        *left_padded(prompts),
        logits_processor=[processor],
        stopping_criteria=[end_first_row],
        pad_token_id=FILL + 1000,
        max_new_tokens=5,
        eos_token_id=None,
    )
    assert (result[0, 12:] == FILL + 1000).all()
    alone = model.generate(
        [prompts[1]], logits_processor=[processor], max_new_tokens=5, eos_token_id=None
    )
    assert result[1, -5:].tolist() == alone[0, -5:].tolist()


def test_a_processor_that_returns_no_scores_is_named(model):
    message = "logits_processor returned a str; scores \\[1, 301\\] of float32 went in"
    with refused(InputError, message):
        model.generate([[1]], logits_processor=[lambda ids, scores: "none"], max_new_tokens=1)


class TestAssisted:
    @pytest.mark.parametrize("sampling", [{}, {"do_sample": True, "seed": 1, "top_k": 3}], ids=str)
    def test_one_prompt(self, model, prompts, sampling):
        """Called for every token that is chosen, whether it was proposed or not."""

        def often(ids, scores):
            return scores + 8 * np.isin(np.arange(VOCAB), ids[0, -4:])

        arguments = {"max_new_tokens": 40, "eos_token_id": None, **sampling}
        plain_seen, seen = Seen(often), Seen(often)
        stop = Seen(lambda ids, scores: ids.shape[1] >= 7 + 33)
        plain = model.generate(
            [prompts[0]], logits_processor=[plain_seen], stopping_criteria=[stop], **arguments
        )
        assisted = model.generate(
            [prompts[0]],
            logits_processor=[seen],
            stopping_criteria=[stop],
            prompt_lookup_num_tokens=6,
            **arguments,
        )
        assert plain.shape == (1, 7 + 33)
        assert assisted.tolist() == plain.tolist()
        assert [ids.tolist() for ids in seen.ids] == [ids.tolist() for ids in plain_seen.ids]

    @pytest.mark.parametrize(
        "own", [{"logits_processor": [unchanged]}, {"stopping_criteria": [never]}], ids=[0, 1]
    )
    def test_several_prompts_are_refused(self, model, prompts, own):
        with refused(InputError, "takes its 3 prompts one by one; pass one prompt at a time"):
            model.generate(*left_padded(prompts), prompt_lookup_num_tokens=6, **own)


class TestPrefixes:
    @pytest.mark.parametrize("arguments", [{}, {"num_beams": 3}, {"do_sample": True}], ids=str)
    def test_row_numbers_and_tokens_without_padding(self, model, prompts, arguments):
        seen = set()

        def allowed(row, ids):
            seen.add((row, tuple(ids[: len(prompts[row])].tolist())))
            return [10 * row + 1, 10 * row + 2]

        result = model.generate(
            *left_padded(prompts),
            prefix_allowed_tokens_fn=allowed,
            max_new_tokens=5,
            eos_token_id=None,
            **arguments,
        )
        assert seen == {(row, tuple(prompt)) for row, prompt in enumerate(prompts)}
        for row in range(3):
            assert {*result[row, 11:].tolist()} <= {10 * row + 1, 10 * row + 2}

    def test_beams_through_a_trie(self, model, scores, prompts):
        """Of five texts with an end token, all are found, the likeliest first."""
        end = 9
        texts = [[20, 21, end], [20, 22, 23, end], [20, end], [30, 31, end], [30, 32, 33, 34, end]]

        def allowed(row, ids):
            generated = ids[len(prompts[row]) :].tolist()
            length = len(generated)
            return [text[length] for text in texts if text[:length] == generated[:length] != text][
                :5
            ] or [end]

        inputs = left_padded(prompts)
        arguments = {
            "prefix_allowed_tokens_fn": allowed,
            "eos_token_id": end,
            "pad_token_id": FILL,
            "max_new_tokens": 7,
        }
        result = model.generate(
            *inputs, num_beams=6, num_return_sequences=5, length_penalty=0.0, **arguments
        )
        for row, prompt in enumerate(prompts):
            likelihoods = [
                sum(scores(prompt + text[:i])[token] for i, token in enumerate(text))
                for text in texts
            ]
            expected = [texts[index] for index in np.argsort(likelihoods)[::-1]]
            found = result[5 * row : 5 * row + 5, 11:].tolist()
            assert [[token for token in each if token != FILL] for each in found] == expected
        greedily = model.generate(*inputs, **arguments)[:, 11:].tolist()
        for each in greedily:
            assert [token for token in each if token != FILL] in texts


class TestBuiltInCriteriaOfTheCaller:
    """As transformers' _merge_criteria_processor_list: one replaces the config's of its class."""

    @pytest.mark.parametrize("length", [14, 20, 40])
    def test_a_length_replaces_the_configs(self, model, prompts, length):
        ids = [prompts[0]]
        named = {"eos_token_id": None, "do_sample": False}
        result = model.generate(
            ids, stopping_criteria=[MaxLengthCriteria(length)], max_new_tokens=9, **named
        )
        assert result.tolist() == model.generate(ids, max_length=length, **named).tolist()

    def test_a_length_that_is_reached_already_stops_after_one_token(self, model, prompts):
        criterion = MaxLengthCriteria(3)
        assert model.generate(
            [prompts[0]], stopping_criteria=[criterion], max_new_tokens=9
        ).shape == (1, 8)

    def test_end_tokens_replace_the_configs(self, model, prompts):
        ids = [prompts[0]]
        plain = model.generate(ids, eos_token_id=None, max_new_tokens=9)
        end = int(plain[0, 9])
        result = model.generate(
            ids, eos_token_id=end, max_new_tokens=9, stopping_criteria=[EosTokenCriteria([299])]
        )
        assert result.tolist() == plain.tolist()

    def test_a_time_replaces_the_configs(self, model, prompts):
        result = model.generate(
            [prompts[0]],
            eos_token_id=None,
            max_time=0.0,
            max_new_tokens=9,
            stopping_criteria=[MaxTimeCriteria(1000)],
        )
        assert result.shape == (1, 16)

    def test_a_length_beyond_the_context_is_refused(self, model, prompts):
        with refused(InputError, "a MaxLengthCriteria has 100000, more than the context"):
            model.generate(
                [prompts[0]], stopping_criteria=[MaxLengthCriteria(100000)], max_new_tokens=1
            )
