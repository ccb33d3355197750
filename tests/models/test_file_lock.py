"""A lock is held by one at a time, and is free once its holder has ended."""

import signal
import subprocess
import sys
import threading

from gptneo_onnx.models.file_lock import file_lock, is_locked
from gptneo_onnx.models.interruption import remove_half_written


def test_a_lock_is_held_and_freed(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    with file_lock(path):
        assert is_locked(path)
    assert not path.exists()


def test_threads_wait_for_each_other(tmp_path):
    path, order, waiting = tmp_path / "lock", [], threading.Event()

    def second():
        with file_lock(path, waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with file_lock(path):
        thread.start()
        assert waiting.wait(30)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not path.exists()


HOLDER = """
import sys
from pathlib import Path
from gptneo_onnx.models.file_lock import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(path)
        holder.send_signal(signal.SIGKILL)
    assert path.exists()
    assert not is_locked(path)
    with file_lock(path, on_wait=lambda: 1 / 0):
        pass


def test_the_end_of_a_process_removes_the_file(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path):
        remove_half_written()
        assert not path.exists()
        with file_lock(path, on_wait=lambda: 1 / 0):
            pass
