"""A program that swaps a model's files, and swaps them back, each time it is told to.

    python file_swapper.py TRICK MODEL OTHER

MODEL and OTHER are directories with the same file names; OTHER/.names lists the files to swap. A
line of two numbers on standard input says how many seconds to wait before, and how many in between.
"done" is printed when the files of MODEL hold what they held.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def renamed(model: Path, other: Path, names: list[str]) -> Iterator[None]:
    """Rename the files away, others into their place, and all of them back."""
    for name in names:
        (model / name).rename(other / f"{name}.own")
        (other / name).rename(model / name)
    yield
    for name in names:
        (model / name).rename(other / name)
        (other / f"{name}.own").rename(model / name)


def moved_directory(model: Path, other: Path, names: list[str]) -> Iterator[None]:
    """Swap whole directories: no file in them is touched."""
    aside = model.with_name("aside")
    model.rename(aside)
    other.rename(model)
    yield
    model.rename(other)
    aside.rename(model)


def linked_directory(model: Path, other: Path, names: list[str]) -> Iterator[None]:
    """Let a symbolic link, by which the model is loaded, lead elsewhere and back."""
    link = model.with_name("link")
    new = model.with_name("new-link")
    new.symlink_to(other)
    new.replace(link)
    yield
    new.symlink_to(model)
    new.replace(link)


def hard_linked(model: Path, other: Path, names: list[str]) -> Iterator[None]:
    """Replace the files by further names of others, and then by further names of themselves."""
    for name in names:
        os.link(model / name, other / f"{name}.own")
        os.link(other / name, other / f"{name}.new")
        (other / f"{name}.new").replace(model / name)
    yield
    for name in names:
        (other / f"{name}.own").replace(model / name)


def written(model: Path, other: Path, names: list[str]) -> Iterator[None]:
    """Write into the files, then what they held before, and set their modification times back."""
    own = {name: ((model / name).read_bytes(), (model / name).stat()) for name in names}
    for name in names:
        _write(model / name, (other / name).read_bytes())
    yield
    for name, (content, status) in own.items():
        _write(model / name, content)
        os.utime(model / name, ns=(status.st_atime_ns, status.st_mtime_ns))


def copied(model: Path, other: Path, names: list[str]) -> Iterator[None]:
    """Put copies in the place of the files, with their times."""
    for name in names:
        shutil.copy2(model / name, other / f"{name}.own")
        shutil.copy2(other / name, other / f"{name}.new")
        (other / f"{name}.new").replace(model / name)
    yield
    for name in names:
        (other / f"{name}.own").replace(model / name)


def _write(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


Trick = Callable[[Path, Path, list[str]], Iterator[None]]
TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (renamed, moved_directory, linked_directory, hard_linked, written, copied)
}


def main() -> None:
    trick, model, other = TRICKS[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3])
    names = (other / ".names").read_text().split()
    print("done", flush=True)
    for line in sys.stdin:
        before, between = map(float, line.split())
        time.sleep(before)
        swap = trick(model, other, names)
        next(swap)
        time.sleep(between)
        next(swap, None)
        print("done", flush=True)


if __name__ == "__main__":
    main()
