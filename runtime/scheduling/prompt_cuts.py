"""Where a prompt may be cut into chunks, so that its results are those of generate().

generate() reads a prompt in chunks of `chunk` tokens. Other cuts give the same bits only where the
kernels add the same numbers up in the same order. What they were seen to need (docs/precision.md):

- Sums over the tokens before go by groups of at most 16: a cut at a multiple of 16 moves none.
- A local layer's sums begin at the first row of its window. As long as that is the text's first
  token, cuts change nothing. Later it depends on where the chunk begins.
- A single row is added up in another order than several, and products of 4-bit weights take rows in
  groups of 128, so that the last of 129 rows is single too. Such chunks are read as generate()
  reads them.
"""

from dataclasses import dataclass

from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.model_files.directory import FusedModel

# Tokens of a block: prompts are cut and reused at its multiples.
BLOCK = 16
_ROW_GROUP = 128


@dataclass(frozen=True)
class PromptCuts:
    """Where prompts may be cut.

    Attributes:
        chunk: tokens that generate() reads at once.
        free_until: up to here, cuts at any multiple of BLOCK give the same results; later ones only
            at multiples of `chunk`. None where any cut will do, since results are free to differ in
            their last bits.
    """

    chunk: int
    free_until: int | None = None

    def chunks(self, done: int, length: int) -> list[int]:
        """Return how many tokens may be read next: one number or several, in ascending order.

        Args:
            done: tokens that have been read; 0, or a cut.
            length: tokens of the prompt; more than `done`.
        """
        last = min(length, done + self.chunk)
        first_block = (done // BLOCK + 1) * BLOCK
        ends: set[int] = {*range(first_block, last, BLOCK), self._chunk_end(done), last}
        allowed = (end for end in ends if end <= last and self._may_end(done, end, length))
        return sorted(end - done for end in allowed)

    def is_cut(self, end: int, length: int) -> bool:
        """Return whether a prompt of that length may be cut after its first `end` tokens."""
        if end % self.chunk == 0:
            return True
        if end % BLOCK or (self.free_until is not None and end > self.free_until):
            return False
        last_chunk = self._last_chunk(length)
        if end > last_chunk and _has_single_row(length - last_chunk):
            return False
        return not _has_single_row(length - end)

    def reusable(self, known: int, length: int) -> int:
        """Return how many of a prompt's tokens need not be read, out of the first `known`.

        The last token is always read, for its logits.
        """
        longest = min(known, length - 1) // BLOCK * BLOCK
        ends = range(longest, 0, -BLOCK)
        return next((end for end in ends if self.is_cut(end, length)), 0)

    def _may_end(self, done: int, end: int, length: int) -> bool:
        if end < length:
            return self.is_cut(end, length)
        if end <= self._chunk_end(done):
            return True
        if self.free_until is not None and self._chunk_end(done) > self.free_until:
            return False
        return not _has_single_row(length - self._last_chunk(length))

    def _chunk_end(self, done: int) -> int:
        """Return where generate()'s chunk ends that has the token after `done`."""
        return (done // self.chunk + 1) * self.chunk

    def _last_chunk(self, length: int) -> int:
        """Return where the last of generate()'s chunks begins."""
        return (length - 1) // self.chunk * self.chunk


def prompt_cuts(engine: Engine, decoder: Decoder, chunk: int, is_exact: bool) -> PromptCuts:
    """Return where prompts may be cut.

    Args:
        engine: whose prompts they are.
        decoder: what reads them.
        chunk: tokens that generate() reads at once.
        is_exact: see may_differ_in_last_bits(). Caches of portable graphs have no windows, so that
            cuts change nothing there.
    """
    if decoder.reads_whole_prompts:
        return PromptCuts(decoder.cache.capacity, 0)
    is_free = may_differ_in_last_bits(engine, is_exact)
    return PromptCuts(chunk, None if is_free else decoder.cache.window)


def may_differ_in_last_bits(engine: Engine, is_exact: bool) -> bool:
    """Return whether the last bits of keys and values may differ from generate()'s.

    Where activations stay float32, that changes no text but by a tie. Otherwise they are rounded,
    which makes much of little: there it must be allowed.
    """
    is_fused = isinstance(engine.directory, FusedModel)
    precise = ("fp32",) if is_fused else ("fp32", "int8", "int4")
    return not is_exact or (engine.dtype == "float32" and engine.precision in precise)


def _has_single_row(rows: int) -> bool:
    return rows % _ROW_GROUP == 1
