"""Windows cut as by lm-evaluation-harness, and chunks cut as by GPT-Neo's training code."""

import numpy as np
import pytest

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.evaluation.windows import chunks, rolling_windows


def shown(windows):
    return [(window.context.tolist(), window.targets.tolist()) for window in windows]


def test_the_harnesss_own_example():
    """lm_eval.api.model.LM.loglikelihood_rolling: ten tokens, a context of four."""
    windows = rolling_windows(np.arange(10), prefix=99, length=4)
    assert [window.inputs.tolist() for window in windows] == [
        [99, 0, 1, 2],
        [3, 4, 5, 6],
        [5, 6, 7, 8],
    ]
    assert [window.targets.tolist() for window in windows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_document_that_fits_is_one_window():
    assert shown(rolling_windows(np.arange(3), 99, 4)) == [([99], [0, 1, 2])]
    assert shown(rolling_windows(np.arange(4), 99, 4)) == [([99], [0, 1, 2, 3])]


def test_a_single_token_is_scored_after_the_prefix():
    assert shown(rolling_windows(np.array([7]), 99, 4)) == [([99], [7])]


def test_an_empty_document_has_none():
    assert rolling_windows(np.empty(0, np.int64), 99, 4) == []


def test_a_stride_gives_tokens_more_context():
    windows = rolling_windows(np.arange(8), 99, 4, stride=2)
    assert [window.targets.tolist() for window in windows] == [[0, 1, 2, 3], [4, 5], [6, 7]]
    assert [window.inputs.tolist() for window in windows[1:]] == [[1, 2, 3, 4], [3, 4, 5, 6]]


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 5, 9, 20])
def test_every_token_is_scored_once_and_nothing_is_longer_than_the_context(length, stride):
    ids = np.arange(100, 100 + length)
    windows = rolling_windows(ids, 0, 4, stride)
    assert np.concatenate([window.targets for window in windows]).tolist() == ids.tolist()
    prefixed = [0, *ids.tolist()]
    done = 0
    for window in windows:
        assert 1 <= len(window.inputs) <= 4
        assert len(window.inputs) == min(4, done + len(window.targets))
        done += len(window.targets)
        assert window.inputs.tolist() == prefixed[done - len(window.inputs) : done]


@pytest.mark.parametrize("stride", [0, -1, 5])
def test_a_stride_out_of_range_is_refused(stride):
    with pytest.raises(InputError, match=f"stride is {stride}; 1 to 4, the model's context"):
        rolling_windows(np.arange(8), 99, 4, stride)


def test_chunks_score_all_but_their_first_token_and_drop_the_rest():
    assert shown(chunks(np.arange(12), 4)) == [([0], [1, 2, 3, 4]), ([5], [6, 7, 8, 9])]
    assert shown(chunks(np.arange(5), 4)) == [([0], [1, 2, 3, 4])]
    assert shown(chunks(np.arange(4), 4)) == []


def test_chunks_read_no_more_of_a_stream_than_they_give():
    stream = iter(range(100))
    assert shown([next(chunks(stream, 4))]) == [([0], [1, 2, 3, 4])]
    assert next(stream) == 5
