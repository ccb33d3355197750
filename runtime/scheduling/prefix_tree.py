"""Texts that begin alike, as a tree: each block continues the block before it.

The root's children begin texts. All blocks have the same number of tokens, so a text's blocks are
found by one look-up for each.
"""

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptneo_onnx.runtime.arrays import Ids

# Keys and values of a block's tokens, [keys and values by layer, heads, tokens, head_dim].
BlockRows = NDArray[Any]


class PrefixBlock:
    """Some tokens of a text, after those of its parent.

    Attributes:
        rows: their keys and values.
    """

    __slots__ = ("children", "is_queued", "key", "last_use", "parent", "pins", "rows")

    def __init__(self, parent: "PrefixBlock | None", key: bytes, rows: BlockRows) -> None:
        self.rows = rows
        self.parent = parent
        self.key = key
        self.children: dict[bytes, PrefixBlock] = {}
        self.last_use = 0
        self.pins = 0  # how many are using it
        self.is_queued = False  # whether the queue of leaves has it

    @property
    def nbytes(self) -> int:
        """Bytes of its rows and its tokens."""
        return self.rows.nbytes + len(self.key)


class PrefixTree:
    """Blocks of texts within a bound of memory; the least recently used end of a text goes first.

    Attributes:
        block_tokens: tokens of each block.
        max_bytes: the bound.
        nbytes: bytes of the blocks that are stored.
        blocks: how many are stored.
        evicted: how many have gone.
    """

    def __init__(self, block_tokens: int, max_bytes: int) -> None:
        self.block_tokens = block_tokens
        self.max_bytes = max_bytes
        self.nbytes = 0
        self.blocks = 0
        self.evicted = 0
        self.root = PrefixBlock(None, b"", np.empty(0))
        self._uses = 0
        # Blocks that were leaves when they were queued, by the last use that was known then.
        self._leaves: list[tuple[int, int, PrefixBlock]] = []

    def find(self, parent: PrefixBlock, tokens: Ids) -> PrefixBlock | None:
        """Return the block of these tokens after `parent`, which counts as a use of it."""
        block = parent.children.get(_key(tokens))
        if block is not None:
            self._use(block)
        return block

    def match(self, ids: Ids) -> list[PrefixBlock]:
        """Return the blocks that a text begins with, which counts as a use of them."""
        blocks: list[PrefixBlock] = []
        parent = self.root
        for start in range(0, len(ids) - self.block_tokens + 1, self.block_tokens):
            block = self.find(parent, ids[start : start + self.block_tokens])
            if block is None:
                break
            blocks.append(block)
            parent = block
        return blocks

    def insert(self, parent: PrefixBlock, tokens: Ids, rows: BlockRows) -> PrefixBlock | None:
        """Store the rows of tokens after `parent`, which is pinned; None if there is no room."""
        block = PrefixBlock(parent, _key(tokens), rows)
        if not self._make_room(block.nbytes):
            return None
        parent.children[block.key] = block
        self.nbytes += block.nbytes
        self.blocks += 1
        self._use(block)
        self._queue(block)
        return block

    def pin(self, block: PrefixBlock) -> None:
        """Keep a block, and those before it, until unpin()."""
        block.pins += 1

    def unpin(self, block: PrefixBlock) -> None:
        """Let a block go that pin() kept."""
        block.pins -= 1
        if not block.children:
            self._queue(block)

    def _use(self, block: PrefixBlock) -> None:
        self._uses += 1
        block.last_use = self._uses

    def _queue(self, block: PrefixBlock) -> None:
        if block is not self.root and not block.is_queued:
            block.is_queued = True
            heapq.heappush(self._leaves, (block.last_use, id(block), block))

    def _make_room(self, nbytes: int) -> bool:
        """Drop blocks until that many bytes fit; return whether they do."""
        if nbytes > self.max_bytes:
            return False
        while self.nbytes + nbytes > self.max_bytes:
            if not self._leaves:
                return False
            last_use, _, block = heapq.heappop(self._leaves)
            block.is_queued = False
            if block.children or block.pins:
                continue  # it is queued again once it has neither
            if last_use < block.last_use:
                self._queue(block)
                continue
            self._drop(block)
        return True

    def _drop(self, block: PrefixBlock) -> None:
        parent = block.parent
        assert parent is not None
        del parent.children[block.key]
        block.parent = None
        self.nbytes -= block.nbytes
        self.blocks -= 1
        self.evicted += 1
        if not parent.children:
            self._queue(parent)


def _key(tokens: Ids) -> bytes:
    return tokens.tobytes()
