"""What is half written is known until it is whole or gone."""

import os
import threading

import pytest

from gptneo_onnx.models import interruption
from gptneo_onnx.models.interruption import (
    half_written,
    remove_half_written,
    renaming,
    stop_and_remove,
)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Nothing of these tests concerns others."""
    monkeypatch.setattr(interruption, "_removals", {})
    monkeypatch.setattr(interruption, "_renaming", threading.Lock())


def test_it_is_removed_at_the_end_of_the_block():
    done = []
    with half_written(lambda: done.append(1)):
        assert done == []
    assert done == [1]
    remove_half_written()
    assert done == [1]


def test_the_last_is_removed_first():
    done = []
    with half_written(lambda: done.append("outer")), half_written(lambda: done.append("inner")):
        remove_half_written()
        assert done == ["inner", "outer"]


def test_what_an_interrupted_removal_left_is_removed_again():
    done = []

    def remove():
        done.append(1)
        if len(done) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), half_written(remove):
        pass
    remove_half_written()
    assert done == [1, 1]


def test_what_becomes_whole_is_not_removed_meanwhile():
    done, entered = [], threading.Event()

    def end():
        entered.wait(30)
        stop_and_remove(30)
        done.append("removed")

    thread = threading.Thread(target=end)
    thread.start()
    with renaming():
        entered.set()
        done.append("renamed")
    thread.join()
    assert done == ["renamed", "removed"]


def test_a_renaming_that_hangs_keeps_nobody_waiting():
    done = []
    with half_written(lambda: done.append(1)), renaming():
        stop_and_remove(0.01)
        assert done == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_removes_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_text("of the parent")
    with half_written(path.unlink):
        child = os.fork()
        if not child:
            remove_half_written()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert path.exists()
