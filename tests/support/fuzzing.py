"""What a fuzz target is, and how inputs are drawn from good ones.

A target is a file tests/fuzz/NAME_target.py that declares TARGET. The inputs in
tests/fuzz/corpus/NAME/ failed once; they are run again before any other.
"""

import copy
import importlib.util
import json
import random as random_module
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Random = random_module.Random
Seeds = Callable[[], list[bytes]]
Run = Callable[[bytes, Path], None]
Mutate = Callable[[Random, bytes, list[bytes]], bytes]

FUZZ_FOLDER = Path(__file__).parent.parent / "fuzz"
_SUFFIX = "_target"

_NUMBERS = (0, 1, 7, 8, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1)
_FRAGMENTS = (
    b"", b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xae", b"{}",
    b"[[", b"NaN", b"-1", b"1e999", b"../", b"%s", b"\xf0\x9f\x98\x80", b"\xff" * 10,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"),
    2**31, 2**63, 2**64, 10**40, "", "0", "a", "\0", "\ud800", "\x1b[31m", "é" * 40, "x" * 5000,
    "../../x", [], {}, [[]], [None], {"": ""}, [0] * 300,
)  # fmt: skip


def mutate_bytes(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Return data after one to six changes of bytes, spans and numbers."""
    content = bytearray(data)
    for _ in range(random.randint(1, 6)):
        start = random.randint(0, len(content))
        end = min(len(content), start + random.choice((1, 1, 2, 4, 8, 64, 1024)))
        content[start:end] = _replacement(random, bytes(content[start:end]), seeds)
    return bytes(content)


def _replacement(random: Random, span: bytes, seeds: list[bytes]) -> bytes:
    match random.randrange(8):
        case 0:
            return b""
        case 1:
            return span * random.choice((2, 3, 50))
        case 2:
            return random.choice(_FRAGMENTS) + span
        case 3:
            return random.randbytes(len(span))
        case 4:
            size = random.choice((1, 2, 4, 8))
            number = random.choice(_NUMBERS) % 256**size
            return number.to_bytes(size, random.choice(("little", "big")))
        case 5:
            other = random.choice(seeds)
            start = random.randint(0, len(other))
            return other[start : start + random.choice((1, 8, 64, 1024))]
        case 6:
            return bytes(byte ^ 1 << random.randrange(8) for byte in span)
    return _varint(random.choice(_NUMBERS)) + span[1:]


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    groups = []
    while number >= 128:
        groups.append(number % 128 + 128)
        number //= 128
    return bytes([*groups, number])


def mutate_json(random: Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Return a JSON document after one to four changes of its values; now and then of its bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(random, data, seeds)
    if random.random() < 0.1 or not isinstance(document, dict | list):
        return mutate_bytes(random, data, seeds)
    for _ in range(random.randint(1, 4)):
        places = list(_places(document))
        if not places:
            return json.dumps(random.choice(_VALUES)).encode()
        container, key = random.choice(places)
        _change(random, container, key, places)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(document: Any, limit: int = 2000) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key or index) of values, the outer ones first."""
    waiting = [document]
    while waiting and limit > 0:
        container = waiting.pop(0)
        keys = container if isinstance(container, dict) else range(len(container))
        for key in list(keys)[:200]:
            yield container, key
            limit -= 1
            if isinstance(container[key], dict | list):
                waiting.append(container[key])


def _change(random: Random, container: Any, key: Any, places: list[tuple[Any, Any]]) -> None:
    keys = container if isinstance(container, dict) else range(len(container))
    if key not in keys:
        return  # an earlier change removed it
    match random.randrange(7):
        case 0 | 1:
            container[key] = copy.deepcopy(random.choice(_VALUES))
        case 2:
            del container[key]
        case 3:
            other, name = random.choice(places)
            present = other if isinstance(other, dict) else range(len(other))
            container[key] = copy.deepcopy(other[name]) if name in present else None
        case 4:
            count = random.choice((1, 2, 40))
            container[key] = [copy.deepcopy(container[key]) for _ in range(count)]
        case 5:
            container[key] = {"type": "Sequence", "": container[key]}
        case 6 if isinstance(container, dict):
            _, name = random.choice(places)
            container[str(name)] = container.pop(key)


@dataclass(frozen=True)
class Target:
    """A reader of files or arguments, and how to draw inputs for it.

    Attributes:
        seeds: returns good inputs, which run() takes.
        run: treats one input, in an empty folder; may raise GPTNeoOnnxError and nothing else.
        mutate: draws an input from a good one; it may take parts of the others.
    """

    seeds: Seeds
    run: Run
    mutate: Mutate = mutate_bytes


def target_names() -> list[str]:
    """Return the names of all targets."""
    return sorted(path.stem.removesuffix(_SUFFIX) for path in FUZZ_FOLDER.glob(f"*{_SUFFIX}.py"))


def load_target(name: str) -> Target:
    """Import tests/fuzz/NAME_target.py, and return what it declares."""
    path = FUZZ_FOLDER / f"{name}{_SUFFIX}.py"
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    target: Target = module.TARGET
    return target


def kept_inputs(name: str) -> list[Path]:
    """Return the inputs that failed once."""
    return sorted((FUZZ_FOLDER / "corpus" / name).glob("*"))
