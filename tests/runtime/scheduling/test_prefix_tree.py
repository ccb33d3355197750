"""The tree of prefixes against a plain dictionary of all of them."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.scheduling.prefix_tree import PrefixBlock, PrefixTree

BLOCK = 3
ROWS = np.zeros((2, 1, BLOCK, 5), np.float32)
BLOCK_BYTES = ROWS.nbytes + 8 * BLOCK


def drawn_text(random: np.random.Generator) -> NDArray[np.int64]:
    """Draw a text that begins like many others."""
    return (random.random(random.integers(0, 7 * BLOCK)) < 0.1).astype(np.int64)


def stored(tree: PrefixTree, ids: NDArray[np.int64]) -> list[PrefixBlock]:
    """Store what there is room for of a text; return its blocks."""
    blocks = tree.match(ids)
    end = blocks[-1] if blocks else tree.root
    tree.pin(end)
    for start in range(len(blocks) * BLOCK, len(ids) - BLOCK + 1, BLOCK):
        block = tree.insert(end, ids[start : start + BLOCK], ROWS.copy())
        if block is None:
            break
        tree.pin(block)
        tree.unpin(end)
        blocks.append(block)
        end = block
    tree.unpin(end)
    return blocks


class PlainPrefixes:
    """Every prefix that is stored, with when it was used last."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used: dict[tuple[int, ...], int] = {}
        self.uses = 0
        self.evicted = 0

    def match(self, ids: NDArray[np.int64]) -> int:
        """Return how many tokens are stored; that counts as a use."""
        length = 0
        while length + BLOCK <= len(ids) and (prefix := tuple(ids[: length + BLOCK])) in self.used:
            self.use(prefix)
            length += BLOCK
        return length

    def use(self, prefix: tuple[int, ...]) -> None:
        self.uses += 1
        self.used[prefix] = self.uses

    def store(self, ids: NDArray[np.int64]) -> int:
        """Store a text; return how many of its tokens are stored."""
        end = self.match(ids)
        while end + BLOCK <= len(ids):
            if len(self.used) == self.most and not self.evict(tuple(ids[:end])):
                break
            end += BLOCK
            self.use(tuple(ids[:end]))
        return end

    def evict(self, kept: tuple[int, ...]) -> bool:
        """Drop the prefix that was used least recently, of those that none continues."""
        continued = {prefix[:-BLOCK] for prefix in self.used} | {kept}
        ends = [prefix for prefix in self.used if prefix not in continued]
        if ends:
            del self.used[min(ends, key=self.used.__getitem__)]
            self.evicted += 1
        return bool(ends)


def test_the_longest_stored_prefix_is_found_within_the_bound(random: np.random.Generator) -> None:
    hits: Counter[int] = Counter()
    for most in (1, 2, 5, 17, 1000):
        tree = PrefixTree(BLOCK, most * BLOCK_BYTES + BLOCK_BYTES // 2)
        plain = PlainPrefixes(most)
        for _ in range(400):
            ids = drawn_text(random)
            if random.random() < 0.5:
                blocks = tree.match(ids)
                assert len(blocks) * BLOCK == plain.match(ids)
                hits[len(blocks)] += 1
            else:
                assert len(stored(tree, ids)) * BLOCK == plain.store(ids)
            assert tree.blocks == len(plain.used)
            assert tree.nbytes == tree.blocks * BLOCK_BYTES <= tree.max_bytes
            assert tree.evicted == plain.evicted
    assert min(hits[length] for length in range(5)) > 10


def test_blocks_that_are_used_stay(random: np.random.Generator) -> None:
    tree = PrefixTree(BLOCK, 4 * BLOCK_BYTES)
    kept = random.integers(0, 9, 3 * BLOCK)
    end = stored(tree, kept)[-1]
    tree.pin(end)
    for _ in range(30):
        stored(tree, drawn_text(random))
        assert tree.match(kept)[-1] is end
    tree.unpin(end)
    for _ in range(30):
        stored(tree, drawn_text(random))
    assert tree.match(kept) == []


def test_a_block_that_is_larger_than_the_bound_is_not_stored() -> None:
    tree = PrefixTree(BLOCK, BLOCK_BYTES - 1)
    assert tree.insert(tree.root, np.arange(BLOCK), ROWS) is None
    assert tree.nbytes == tree.evicted == 0
