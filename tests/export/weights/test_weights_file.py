"""The weights file: each weight at its offset, and no group in memory after the next has begun."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from gptneo_onnx.export.weights.weight_group import WeightGroup, WeightSpec
from gptneo_onnx.export.weights.weights_file import PAGE_BYTES, plan_weights, write_weights
from gptneo_onnx.models.graph import DataType


def table(name, rows):
    spec = WeightSpec(name, DataType.FLOAT32, (rows, 3))
    return WeightGroup((spec,), lambda: iter([{name: np.full((rows, 3), rows, np.float32)}]))


def codes_and_scales(rows):
    """Two weights that come together, two rows at a time, and a second name for the first."""
    codes = WeightSpec("codes", DataType.UINT8, (rows, 8))
    specs = (codes, codes.alias("blocks", (rows, 2, 4)), WeightSpec("s", DataType.FLOAT32, (rows,)))

    def compute():
        for start in range(0, rows, 2):
            numbers = np.arange(start, min(start + 2, rows))
            yield {
                "s": numbers.astype(np.float32),
                "codes": np.repeat(numbers[:, None], 8, axis=1).astype(np.uint8),
            }

    return WeightGroup(specs, compute)


def stored_at(path, stored, name, dtype, count):
    return np.frombuffer(path.read_bytes(), dtype, count, stored.places[name].offset)


def test_weights_that_come_together_are_each_at_their_offset(tmp_path):
    groups = [table("before", 1025), codes_and_scales(1001), table("after", 2)]
    path = tmp_path / "weights"
    stored = plan_weights(path.name, groups)
    write_weights(path, groups, stored, progress=False)
    assert {place.file for place in stored.places.values()} == {path.name}
    assert {name: place.offset for name, place in stored.places.items()} == {
        "before": 0,
        "codes": 4 * PAGE_BYTES,
        "blocks": 4 * PAGE_BYTES,
        "s": 6 * PAGE_BYTES,
        "after": 7 * PAGE_BYTES,
    }
    assert stored.nbytes == 1025 * 12 + 1001 * 12 + 24
    assert path.stat().st_size == 7 * PAGE_BYTES + 24
    numbers = np.arange(1001)
    assert (stored_at(path, stored, "s", np.float32, 1001) == numbers).all()
    codes = stored_at(path, stored, "blocks", np.uint8, 8008).reshape(1001, 8)
    assert (codes == numbers.astype(np.uint8)[:, None]).all()
    assert (stored_at(path, stored, "after", np.float32, 6) == 2).all()


def test_what_an_earlier_file_holds_is_not_stored_again(tmp_path):
    first = plan_weights("first", [table("a", 4), codes_and_scales(8)])
    groups = [codes_and_scales(8), table("b", 2), table("a", 5)]
    second = plan_weights("second", groups, [first])
    assert {name: place.file for name, place in second.places.items()} == {
        "codes": "first", "blocks": "first", "s": "first", "b": "second", "a": "second",
    }  # fmt: skip
    assert all(second.places[name] == first.places[name] for name in ("codes", "blocks", "s"))
    assert (second.nbytes, second.shared_bytes) == (24 + 60, 8 * 12)
    write_weights(tmp_path / "second", groups, second, progress=False)
    assert (tmp_path / "second").stat().st_size == second.file_bytes == PAGE_BYTES + 60


def test_a_third_file_refers_to_the_one_that_holds_a_weight():
    first = plan_weights("first", [table("a", 4)])
    second = plan_weights("second", [table("a", 4), table("b", 4)], [first])
    third = plan_weights("third", [table("b", 4), table("a", 4)], [first, second])
    assert [third.places[name].file for name in "ab"] == ["first", "second"]
    assert third.file_bytes == 0


def test_what_a_text_was_read_for_is_not_shared():
    plain = table("a", 4)
    calibrated = replace(plain, is_calibrated=True)
    for before, after in ((plain, calibrated), (calibrated, plain), (calibrated, calibrated)):
        second = plan_weights("second", [after], [plan_weights("first", [before])])
        assert second.places["a"].file == "second"


def test_a_group_is_read_whole_too():
    whole = codes_and_scales(5).read()
    assert {name: array.shape for name, array in whole.items()} == {"codes": (5, 8), "s": (5,)}
    assert whole["s"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rows", [3, 5])
def test_what_is_computed_has_the_size_that_was_planned(tmp_path, rows):
    stored = plan_weights("weights", [table("a", 4)])
    group = WeightGroup(table("a", 4).specs, table("a", rows).compute)
    with pytest.raises(AssertionError):
        write_weights(tmp_path / "weights", [group], stored, progress=False)


def test_a_group_is_let_go_before_the_next_is_made(tmp_path):
    """Its moments, as large as its inputs squared, would otherwise be in memory beside the next."""
    alive = []

    def groups():
        for name in "abc":
            gc.collect()
            assert not any(reference() for reference in alive)
            group = table(name, 2)
            alive.append(weakref.ref(group))
            yield group
            del group

    stored = plan_weights("weights", [table(name, 2) for name in "abc"])
    write_weights(tmp_path / "weights", groups(), stored, progress=False)
    assert len(alive) == 3
