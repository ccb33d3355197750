"""The first thing that a newcomer waits for is short."""

import resource
import subprocess
import sys


def test_the_version_takes_less_than_a_fifth_of_a_second():
    """Least of five, of processor time: other work on the machine does not count."""
    used = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "gptneo_onnx", "--version"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(used) < 0.2
