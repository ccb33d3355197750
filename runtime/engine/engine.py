"""From a checked directory to the decoder of its graph."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gptneo_onnx.runtime.engine.concatenated_cache import ConcatenatedCache
from gptneo_onnx.runtime.engine.decoder import Decoder
from gptneo_onnx.runtime.engine.device import CPU
from gptneo_onnx.runtime.engine.fused_decoder import FusedDecoder
from gptneo_onnx.runtime.engine.portable_decoder import PortableDecoder, PortableGraph
from gptneo_onnx.runtime.engine.session import create_session
from gptneo_onnx.runtime.engine.slot_cache import SlotCache
from gptneo_onnx.runtime.model_files.directory import FusedModel, ModelDirectory, PortableModel

# Makes a decoder with room for that many sequences; sessions and weights are shared by all of them.
DecoderFactory = Callable[[int], Decoder]


def load_decoders(
    model: ModelDirectory,
    device: str = "auto",
    num_threads: int | None = None,
    provider_options: Mapping[str, Any] | None = None,
) -> DecoderFactory:
    """Make the sessions of a model; the arguments are create_session()'s."""
    options = device, num_threads, provider_options
    try:
        if isinstance(model, FusedModel):
            return _fused_decoders(model, *options)
        assert isinstance(model, PortableModel)
        return _portable_decoders(model, *options)
    finally:
        model.verification.finish()


def _fused_decoders(model: FusedModel, device: str, *options: Any) -> DecoderFactory:
    session = create_session(model.graph, model.manifest.numbers, device, *options)

    def decoder(slots: int) -> Decoder:
        capacity = model.config.max_position_embeddings
        cache = SlotCache(model.contract, slots, capacity, session.device)
        return FusedDecoder(session, model.contract, cache)

    return decoder


def _portable_decoders(model: PortableModel, device: str, *options: Any) -> DecoderFactory:
    sessions = [create_session(model.graphs[0], None, device, *options)]
    for path in model.graphs[1:]:
        sessions.append(create_session(path, None, str(sessions[0].device), *options))
    graph, last = PortableGraph(sessions, model.interfaces), model.interfaces[-1]
    config = model.config

    def decoder(slots: int) -> Decoder:
        room = slots, config.max_position_embeddings
        if graph.takes_past:
            element = np.dtype(last.cache_type.value)
            shape = len(last.past), config.num_heads, config.head_dim, element
            return PortableDecoder(graph, ConcatenatedCache(*shape, *room, graph.device))
        # Ids and positions, which it needs again in every step.
        return PortableDecoder(graph, ConcatenatedCache(2, 1, 1, np.dtype(np.int64), *room, CPU))

    return decoder
