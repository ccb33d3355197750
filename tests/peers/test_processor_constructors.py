"""What the constructors of processors and criteria accept, against transformers' classes.

Every argument gets odd values. A value is accepted if the constructor and a call take it: some of
transformers' constructors look at nothing, and fail when they are called. Where both accept, scores
must be equal; where one does, KEPT says why.
"""

import math

import numpy as np
import pytest

from gptneo_onnx.models import InputError
from gptneo_onnx.runtime import generation

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from processor_arguments import CRITERIA, PROCESSORS, VOCAB  # noqa: E402
from transformers.generation import logits_process, stopping_criteria  # noqa: E402

NAN, INF = float("nan"), float("inf")
ODD = [
    *(0, 1, 2, -1, 60, 10**30, 0.0, 1.0, 0.5, 1.5, -0.5, 2.0, 1e-9, NAN, INF, -INF),
    *(True, False, None, "0.5", "2", "x", "", b"2"),
    *([], [0], [1], [3, 1], (1, 2), [0.5], [2.0], [-1], [True], [None], [[1, 2]], [[0]], [["1"]]),
    *({5: 1}, {3, 4}, range(3), {(1, 2): 1.0}, {(2,): 1}, {(2,): NAN}, {(2,): INF}, {(): 1.0}),
    *({(0,): -INF}, {2: 1.0}, {(1.0,): 2.0}),
    *([[[1, 2], 1.5]], [[[0], 1.5]], [[[2], 1]], [[[], 1.0]]),
    *(np.float64(0.5), np.float32(0.5), np.int64(2), np.int32(1), np.bool_(True), np.float16(2)),
    *(np.array(0.5), np.array([0.5]), np.array([1, 3]), np.array([]), np.array([[1, 2]])),
    *(torch.tensor(0.5), torch.tensor(2), torch.tensor([2]), torch.tensor([1, 3])),
    *(torch.tensor([]), torch.tensor([0.5, 0.5]), torch.tensor([[1, 2]]), torch.tensor(True)),
    *((0, 1.5), (1, 2), (1, 0.0), (1, -2), (0.5, 2.0), (-3, 1.1), (1, NAN), ("1", 2)),
    *(lambda batch, ids: [1, 2], lambda batch, ids: [], lambda batch, ids: torch.tensor([3])),
]  # fmt: skip


def cases():
    for table, module in ((PROCESSORS, logits_process), (CRITERIA, stopping_criteria)):
        for name, arguments in table.items():
            for argument in [each for each in arguments if each != "device"] or [None]:
                yield name, argument, arguments, getattr(module, name)


def draws(random):
    """Drawn ids and scores: without and with ties, with -inf, all equal, one id only."""
    for number in range(4):
        ids = random.integers(0, VOCAB, (2, 1 if number == 3 else 4))
        scores = random.normal(scale=2, size=(2, VOCAB)).astype(np.float32)
        if number == 1:
            scores = np.round(scores)
        if number == 2:
            scores[random.random(scores.shape) < 0.5] = -np.inf
            scores[:, 3] = 1
        if number == 3:
            scores[:] = 1
        yield torch.from_numpy(ids), torch.from_numpy(scores)


def outcome(cls, arguments, drawn):
    """Return what the calls give, or the error that the constructor or a call raises."""
    more = (torch.tensor([1, 2, 3, 4]), 1) if "Hamming" in cls.__name__ else ()
    try:
        made = cls(**arguments)
        return [made(ids.clone(), scores.clone(), *more) for ids, scores in drawn]
    except Exception as error:
        return error


def are_equal(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        if isinstance(our, bool) or isinstance(their, bool):
            if our is not their:
                return False
        elif (
            our.shape != their.shape
            or our.dtype != their.dtype
            or not np.allclose(our, their, rtol=1e-5, atol=1e-5, equal_nan=True)
        ):
            return False
    return True


def is_one(value, kinds=(int, float, np.generic)):
    """Tell whether a value is a number, or an array or a tensor of one number."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return math.prod(value.shape) == 1
    return isinstance(value, kinds)


def has_nan(value):
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list | tuple):
        return any(has_nan(each) for each in value)
    return is_one(value) and bool(value != value)


def is_whole(value):
    """Tell whether a value is a token id, or ids in a flat list, as far as float() reads them."""
    if isinstance(value, np.ndarray | torch.Tensor):
        value = value.tolist()
    each = value if isinstance(value, list | tuple) else [value]
    kinds = (int, float, np.number)
    return all(
        isinstance(one, kinds) and not isinstance(one, bool) and float(one).is_integer()
        for one in each
    )


def is_infinite(value):
    return isinstance(value, float) and math.isinf(value)


def is_named(*names):
    return lambda name, argument, value: argument in names


IDS = ("eos_token_id", "suppress_tokens", "begin_suppress_tokens")
# What the two may differ in: (reason, test of class, argument and value).
TAKEN_HERE = [
    (
        "whole numbers, booleans, NumPy's numbers and arrays of one are the number that they are",
        lambda name, argument, value: is_one(value) and argument not in ("encoder_input_ids", *IDS),
    ),
    (
        "ids may be lists and arrays",
        lambda name, argument, value: argument in ("encoder_input_ids", *IDS),
    ),
    (
        "token 0 may be biased, and a bias may be a whole number",
        lambda name, argument, value: value in ({(2,): 1}, [[[0], 1.5]], [[[2], 1]]),
    ),
]
REFUSED_HERE = [
    ("nothing compares with NaN", lambda name, argument, value: has_nan(value)),
    (
        "what is no token's id equals none there",
        lambda name, argument, value: argument in IDS and not is_whole(value),
    ),
    ("looked at by no one there: a list forces several, None all", is_named("bos_token_id")),
    ("what is no number equals no length there", is_named("begin_index")),
    ("an infinite limit or count", lambda name, argument, value: is_infinite(value)),
    ("beams below 1 or beyond the rows change nothing there", is_named("num_beams")),
    ("a context of no tokens hashes the whole text there", is_named("context_width")),
    ("seeds below 0", is_named("sampling_table_seed", "hashing_key")),
    ("a key is a number", lambda name, argument, value: (argument, value) == ("keys", [True])),
    ("a vocabulary of none has no green tokens", is_named("vocab_size")),
    (
        "a NumPy boolean is no count",
        lambda name, argument, value: isinstance(value, np.bool_),
    ),
    ("an infinite bias wins everywhere", lambda name, argument, value: value == {(2,): INF}),
    (
        "prompts of floats can have no n-grams",
        lambda name, argument, value: argument == "encoder_input_ids" and not is_whole(value),
    ),
]
OTHER_SCORES = [
    (
        "a bonus stops at the greatest float32",
        lambda name, argument, value: "Exponential" in name and is_infinite(value),
    ),
    ("a boolean is 1 or 0, where there it is an index of all", is_named("bos_token_id")),
    ("more beams than rows make every score -inf there", is_named("num_beams")),
    ("rows of the second prompt and its beams are penalized too", is_named("encoder_input_ids")),
    (
        "ids in nested lists are ids",
        lambda name, argument, value: argument == "eos_token_id" and not is_whole(value),
    ),
    (
        "an infinite penalty makes NaN of all other tokens there",
        lambda name, argument, value: argument == "diversity_penalty" and value == INF,
    ),
]


def kept(table, name, argument, value):
    return any(test(name, argument, value) for _, test in table)


@pytest.mark.parametrize(("name", "argument", "arguments", "theirs"), [*cases()])
def test_odd_arguments(name, argument, arguments, theirs, random):
    drawn = list(draws(random))
    if "Confidence" in name:
        drawn = [(ids, scores[None]) for ids, scores in drawn]
    if "Exponential" in name:  # it makes NaN of end tokens at -inf there
        del drawn[2]
    wrong = []
    for value in ODD if argument else [None]:
        if isinstance(value, int) and value > 60 and ("size" in argument or "ngram" in argument):
            continue  # more memory than there is
        given = {**arguments, argument: value} if argument else {}
        ours = outcome(getattr(generation, name), given, drawn)
        expected = outcome(theirs, given, drawn)
        if isinstance(ours, Exception):
            assert isinstance(ours, InputError), (value, ours)
            assert str(ours).isprintable()
        refused = isinstance(ours, Exception), isinstance(expected, Exception)
        if refused == (False, True):
            is_fine = kept(TAKEN_HERE, name, argument, value)
        elif refused == (True, False):
            is_fine = kept(REFUSED_HERE, name, argument, value)
        else:
            is_fine = (
                refused[0] or are_equal(ours, expected) or kept(OTHER_SCORES, name, argument, value)
            )
        if not is_fine:
            wrong.append(
                (value, *(x if isinstance(x, Exception) else "taken" for x in (ours, expected)))
            )
    assert not wrong
