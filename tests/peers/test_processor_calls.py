"""Processors, criteria and their lists, called as users of transformers call them, against
transformers itself."""

import copy

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import generation

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from processor_arguments import CRITERIA, PROCESSORS, VOCAB  # noqa: E402
from transformers.generation import logits_process, stopping_criteria  # noqa: E402

PEERS = {**vars(stopping_criteria), **vars(logits_process)}
MORE = {"HammingDiversityLogitsProcessor": {"current_tokens": [1, 2, 3, 4], "beam_group_idx": 1}}


def drawn(random, batch=2, length=4, vocab=VOCAB):
    ids = random.integers(0, vocab, (batch, length))
    return ids, random.normal(size=(batch, vocab), scale=2).astype(np.float32)


def of_ours(name, **changed):
    arguments = {**PROCESSORS, **CRITERIA}[name]
    return getattr(generation, name)(**{**arguments, **changed})


def of_theirs(name):
    return PEERS[name](**{**PROCESSORS, **CRITERIA}[name])


def more_of(name, kind):
    return {key: kind(value) for key, value in MORE.get(name, {}).items()}


# --- what goes in, and what comes out


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_tensor_gives_a_new_tensor_of_its_type(name, dtype, random):
    ids, scores = (torch.from_numpy(each) for each in drawn(random))
    scores = scores.to(dtype)
    more = more_of(name, torch.tensor)
    given = ids.clone(), scores.clone()
    processed = of_ours(name)(ids, scores, **more)
    assert torch.equal(ids, given[0])
    assert torch.equal(scores, given[1])
    assert isinstance(processed, torch.Tensor)
    assert processed.dtype == dtype
    processed[:] = 5  # is not the caller's
    assert torch.equal(scores, given[1])
    if dtype in (torch.float32, torch.float64):
        expected = of_theirs(name)(ids, scores, **more)
        processed = of_ours(name)(ids, scores, **more)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-9
        if "SynthID" in name:
            tolerance = 1e-4
        torch.testing.assert_close(processed, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", PROCESSORS)
def test_arrays_lists_and_tensors_give_the_same(name, random):
    ids, scores = drawn(random)
    ids.flags.writeable = scores.flags.writeable = False
    expected = of_ours(name)(ids, scores, **more_of(name, np.array))
    assert isinstance(expected, np.ndarray)
    assert expected.dtype == np.float32
    for kind in (lambda each: each.tolist(), lambda each: torch.tensor(each.tolist())):
        more = more_of(name, np.array)
        given = kind(ids), kind(scores)
        kept = copy.deepcopy(given)
        processed = of_ours(name)(*given, **more)
        np.testing.assert_array_equal(np.asarray(processed), expected)
        assert processed.dtype in (np.float32, torch.float32)
        assert all(np.array_equal(new, old) for new, old in zip(given, kept, strict=True))
    narrow = of_ours(name)(ids.astype(np.int32), scores, **more_of(name, np.array))
    np.testing.assert_array_equal(narrow, expected)
    named = of_ours(name)(input_ids=ids, scores=scores, **more_of(name, np.array))
    np.testing.assert_array_equal(named, expected)


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_answer_in_the_callers_kind(name, random):
    ids, scores = drawn(random)
    tensors = torch.from_numpy(ids), (torch.from_numpy(scores),)
    ours, theirs = of_ours(name)(*tensors), of_theirs(name)(*tensors)
    assert type(ours) is type(theirs)
    assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))
    for given in (ids, ids.tolist()):
        verdict = of_ours(name)(given, [scores], more="is passed over")
        assert np.array_equal(verdict, np.asarray(theirs))
        assert isinstance(verdict, bool | np.ndarray)


def test_what_is_no_array_is_refused():
    warper = generation.TopKLogitsWarper(2)
    with pytest.raises(InputError, match="scores cannot be made an array: its rows differ"):
        warper([[1]], [[1.0], [1.0, 2.0]])
    with pytest.raises(InputError, match="input_ids is of float64; token ids"):
        warper([[1.5]], [[1.0]])
    with pytest.raises(InputError, match="scores is of .*; numbers"):
        warper([[1]], [["a"]])


# --- shapes at the edge


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize(("batch", "length", "vocab"), [(1, 1, VOCAB), (2, 0, VOCAB), (1, 3, 40)])
def test_one_row_no_ids_and_a_larger_vocabulary(name, batch, length, vocab, random):
    ids, scores = (torch.from_numpy(each) for each in drawn(random, batch, length, vocab))
    ids %= VOCAB
    arguments = dict(PROCESSORS[name])
    if "encoder_input_ids" in arguments:
        arguments["encoder_input_ids"] = arguments["encoder_input_ids"][:batch]
    more = more_of(name, torch.tensor)
    if "Hamming" in name and batch == 1:
        more["current_tokens"], arguments["num_beams"] = torch.tensor([1, 2]), 2
    try:
        expected = PEERS[name](**arguments)(ids, scores, **more)
    except (IndexError, RuntimeError):  # no last token, or nothing to gather
        return
    processed = getattr(generation, name)(**arguments)(ids, scores, **more)
    torch.testing.assert_close(processed, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("shape", [(2, 0), (0, VOCAB)])
def test_no_rows_or_no_tokens_stay_so(name, shape):
    ids, scores = np.ones((shape[0], 4), np.int64), np.zeros(shape, np.float32)
    assert of_ours(name)(ids, scores, **more_of(name, np.array)).shape == shape
    tensors = torch.from_numpy(ids), torch.from_numpy(scores)
    assert of_ours(name)(*tensors, **more_of(name, np.array)).shape == shape


def test_three_dimensions_of_scores_count_at_the_last_position(random):
    ids, _ = drawn(random)
    scores = torch.from_numpy(random.normal(size=(2, 3, VOCAB)).astype(np.float32))
    ours = generation.RepetitionPenaltyLogitsProcessor(2.0)(torch.from_numpy(ids), scores)
    theirs = logits_process.RepetitionPenaltyLogitsProcessor(2.0)
    expected = theirs(torch.from_numpy(ids), scores.clone())  # it changes its input
    torch.testing.assert_close(ours, expected)


# --- lists


@pytest.mark.parametrize("package", [generation, transformers.generation])
def test_lists_are_lists(package):
    first, second, third = (package.LogitsProcessorList, package.StoppingCriteriaList), 2, 3
    for cls in first:
        made = cls([second])
        made.append(third)
        made.extend([4])
        made.insert(0, 1)
        assert made == [1, 2, 3, 4]
        assert (len(made), made[0], made[-1], made.index(3), 4 in made) == (4, 1, 4, 2, True)
        assert made[1:3] == [2, 3]
        assert made + [5] == [1, 2, 3, 4, 5]  # noqa: RUF005
        assert list(made) == [*made]
        made += [6]
        assert type(made) is cls
        assert type(made[1:]) is list
        assert type(made + [1]) is list  # noqa: RUF005
        assert type(copy.copy(made)) is cls


def test_a_list_of_processors_passes_named_arguments_to_those_that_take_them(random):
    ids, scores = (torch.from_numpy(each) for each in drawn(random))
    more = more_of("HammingDiversityLogitsProcessor", torch.tensor)
    names = ("TemperatureLogitsWarper", "HammingDiversityLogitsProcessor", "TopKLogitsWarper")
    ours = generation.LogitsProcessorList(map(of_ours, names))
    theirs = logits_process.LogitsProcessorList(map(of_theirs, names))
    torch.testing.assert_close(ours(ids, scores, **more), theirs(ids, scores, **more))
    torch.testing.assert_close(
        ours(input_ids=ids, scores=scores, **more), ours(ids, scores, **more)
    )
    for processors in (ours, theirs):
        with pytest.raises(ValueError, match="current_tokens"):
            processors(ids, scores)


def test_their_processors_and_ours_go_in_either_list(random):
    ids, scores = (torch.from_numpy(each) for each in drawn(random))
    mixed = [of_ours("TopKLogitsWarper"), of_theirs("TemperatureLogitsWarper")]
    ours = generation.LogitsProcessorList(mixed)(ids, scores)
    theirs = logits_process.LogitsProcessorList(mixed)(ids, scores)
    torch.testing.assert_close(ours, theirs)
    criteria = [of_ours("EosTokenCriteria"), of_theirs("MaxLengthCriteria")]
    ours = generation.StoppingCriteriaList(criteria)
    theirs = stopping_criteria.StoppingCriteriaList(criteria)
    assert torch.equal(ours(ids, scores), theirs(ids, scores))
    assert theirs.max_length == 4
    assert generation.StoppingCriteriaList([of_ours("MaxLengthCriteria")]).max_length == 4


def test_both_kinds_are_told_from_other_things():
    assert isinstance(of_ours("TopKLogitsWarper"), generation.LogitsProcessor)
    assert isinstance(of_ours("EosTokenCriteria"), generation.StoppingCriteria)
    assert not isinstance([], generation.LogitsProcessor)


def test_subclasses_of_the_interfaces():
    class Nothing(generation.LogitsProcessor):
        pass

    with pytest.raises(NotImplementedError):
        Nothing()(None, None)


@pytest.mark.parametrize(("package"), [generation, stopping_criteria])
def test_a_length_limit_is_added_or_compared(package):
    made = package.StoppingCriteriaList([package.MaxLengthCriteria(10)])
    assert package.validate_stopping_criteria(made, 10) is not made
    with pytest.warns(UserWarning, match="max_length"):
        package.validate_stopping_criteria(made, 11)
    empty = package.StoppingCriteriaList()
    assert package.validate_stopping_criteria(empty, 11).max_length == 11
    assert not empty
