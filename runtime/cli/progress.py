"""Progress bars of commands that print a result for each text."""

import argparse
import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def with_progress(
    items: Iterable[Item],
    total: int,
    unit: str,
    options: argparse.Namespace,
    prints: bool = True,
) -> Iterable[Item]:
    """Pass items on, and draw how many of them there were on standard error.

    Nothing is drawn with --quiet, where standard error is no terminal, or among lines that are
    printed on one.

    Args:
        items: what is passed on.
        total: how many there are.
        unit: what they are called.
        options: of the command.
        prints: whether the command prints a line for each item on standard output.
    """
    among_lines = prints and sys.stdout is not None and sys.stdout.isatty()
    if options.quiet or among_lines or sys.stderr is None or not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    bar: Iterable[Item] = tqdm(items, total=total, unit=f" {unit}")
    return bar
