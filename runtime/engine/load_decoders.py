"""From a model directory to what makes its decoders: all of them share sessions and weights."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gptneo_onnx.models.errors import InputError, shown
from gptneo_onnx.runtime.engine.concatenated_cache import ConcatenatedCache
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.fused_decoder import FusedDecoder
from gptneo_onnx.runtime.engine.portable_decoder import PastDecoder, PortableSessions
from gptneo_onnx.runtime.engine.recomputing_decoder import RecomputingDecoder
from gptneo_onnx.runtime.engine.session import create_session, loads_by_path
from gptneo_onnx.runtime.engine.slot_cache import SlotCache
from gptneo_onnx.runtime.engine.token_history import TokenHistory
from gptneo_onnx.runtime.model_files.directory import FusedModel, ModelDirectory, PortableModel

# Makes a decoder with room for that many sequences.
DecoderFactory = Callable[[int], Decoder]


def load_decoders(
    model: ModelDirectory, batch_invariant: bool, device: str, *options: Any
) -> DecoderFactory:
    """Make the sessions of a model; return what makes its decoders.

    Args:
        model: the directory.
        batch_invariant: see GPTNeoForCausalLM.from_pretrained.
        device, options: create_session()'s arguments after the graph and its numbers.
    """
    least_rows = _least_rows(model, batch_invariant)
    try:
        if isinstance(model, FusedModel):
            return _fused_decoders(model, least_rows, device, *options)
        assert isinstance(model, PortableModel)
        return _portable_decoders(model, device, *options)
    finally:
        model.verification.finish(by_path=any(map(loads_by_path, model.held)))


def _least_rows(model: ModelDirectory, batch_invariant: bool) -> int:
    """Return what a step has a multiple of, in rows: two where none must depend on others."""
    if not isinstance(batch_invariant, bool):
        raise InputError(f"batch_invariant is {shown(batch_invariant)}; True or False is allowed")
    if batch_invariant and not isinstance(model, FusedModel):
        raise InputError(
            "batch_invariant is for fused graphs, and this is a portable one; leave it out"
        )
    return 2 if batch_invariant else 1


def _fused_decoders(
    model: FusedModel, least_rows: int, device: str, *options: Any
) -> DecoderFactory:
    session = create_session(model.held[0], model.numbers, device, *options)

    def make_decoder(slots: int) -> Decoder:
        capacity = model.config.max_position_embeddings
        slots += -slots % least_rows
        cache = SlotCache(model.contract, slots, capacity, session.device)
        return FusedDecoder(session, model.contract, cache, least_rows)

    return make_decoder


def _portable_decoders(model: PortableModel, device: str, *options: Any) -> DecoderFactory:
    sessions = [create_session(model.held[0], None, device, *options)]
    for graph in model.held[1:]:
        sessions.append(create_session(graph, None, str(sessions[0].device), *options))
    pair = PortableSessions(sessions, model.interfaces)
    config, last = model.config, model.interfaces[-1]

    def make_decoder(slots: int) -> Decoder:
        capacity = config.max_position_embeddings
        if not pair.takes_past:
            return RecomputingDecoder(pair, TokenHistory(slots, capacity))
        element = np.dtype(last.cache_type.value)
        shape = len(last.past), config.num_heads, config.head_dim
        cache = ConcatenatedCache(*shape, element, slots, capacity, pair.device)
        return PastDecoder(pair, cache)

    return make_decoder
