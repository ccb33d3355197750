"""Sizes as people write them."""

import pytest

from gptneo_onnx.models.errors import InputError
from gptneo_onnx.runtime.cli.sizes import bytes_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64KiB", 65536),
        ("64k", 65536),
        ("1.5 MiB", 1572864),
        ("2GB", 2_000_000_000),
        ("2gib", 2147483648),
        ("100B", 100),
    ],
)
def test_a_number_with_or_without_a_unit_is_bytes(text, size):
    assert bytes_of(text, "--size") == size


@pytest.mark.parametrize("text", ["", "-1", "1e9", "4 MegaBytes", "GiB", "1,5MB", "١MB", "9" * 40])
def test_others_are_refused(text):
    with pytest.raises(InputError, match="--size is .*; a number of bytes is allowed, with KiB"):
        bytes_of(text, "--size")
