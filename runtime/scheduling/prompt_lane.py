"""How prompts are read: where they are cut, and what is known of them."""

from collections.abc import Iterable

from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.scheduling.prefill import Prefill
from gptneo_onnx.runtime.scheduling.prefix_store import PrefixStatistics, PrefixStore
from gptneo_onnx.runtime.scheduling.prompt_cuts import may_differ_in_last_bits, prompt_cuts
from gptneo_onnx.runtime.scheduling.request import Request
from gptneo_onnx.runtime.scheduling.running import RunningRequest
from gptneo_onnx.runtime.scheduling.settings import STAGING_SLOTS, SchedulerSettings


class PromptLane:
    """Begins to read prompts, with what is kept of earlier ones."""

    def __init__(self, engine: Engine, settings: SchedulerSettings) -> None:
        self._engine = engine
        self._settings = settings
        bound = settings.prefix_cache_bytes
        self._prefixes = PrefixStore(bound) if bound else None

    @property
    def statistics(self) -> PrefixStatistics:
        """What was reused so far."""
        return PrefixStatistics() if self._prefixes is None else self._prefixes.statistics

    def keep(self, running: Iterable[RunningRequest], decoder: Decoder) -> None:
        """Keep what running requests have generated, after a step.

        A decoded token's keys and values differ from a prompt's in their last bits, so they are
        kept only where these are free to. Rows are copied when a sequence ends, and in longer ones
        before windows drop them.
        """
        if self._prefixes is None or not self._keeps_generated(decoder):
            return
        cache = decoder.cache
        often = cache.capacity if cache.window is None else max(1, cache.window // 2)
        for each in running:
            for slot, ids, is_finished in each.texts():
                length = int(cache.lengths[slot])
                if is_finished or length % often == 0:
                    path = self._prefixes.begin(ids[:length])
                    path.extend(cache, slot)
                    path.close()

    def _keeps_generated(self, decoder: Decoder) -> bool:
        if decoder.reads_whole_prompts:
            return False
        return may_differ_in_last_bits(self._engine, self._settings.exact)

    def begin(self, request: Request, decoder: Decoder) -> Prefill:
        """Begin to read a request's prompts."""
        usual = self._settings.prefill_chunk or self._engine.prefill_chunk
        own = None if request.call is None else request.call.config.prefill_chunk_size
        cuts = prompt_cuts(self._engine, decoder, own or usual, self._settings.exact)
        # What is stored has the last bits that chunks of the usual length give it.
        is_usual = own in (None, usual) or not self._settings.exact
        keeps = is_usual and not decoder.reads_whole_prompts
        first = self._settings.slots
        staging = [*range(first, first + STAGING_SLOTS)]
        prefixes = self._prefixes if keeps else None
        return Prefill(request, [], decoder, staging, cuts, prefixes)
