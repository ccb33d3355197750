"""Prefills prompts for later calls."""

from gptneo_onnx.runtime.engine.engine import Engine
from gptneo_onnx.runtime.engine.inputs import PaddedInputs
from gptneo_onnx.runtime.engine.prompt_cache import PromptCache, SavedSequence


def prefill_prompts(engine: Engine, inputs: PaddedInputs, saved: PromptCache) -> PromptCache:
    """Return the caches of prompts; what `saved` has of them is not read again.

    Raises:
        InputError: `saved` is of another model.
    """
    fingerprint = engine.fingerprint
    with engine.exclusive():
        decoder = engine.decoder(slots=1)
        saved.check(fingerprint, decoder.cache, engine.config.vocab_size)
        sequences = []
        for row in range(len(inputs.columns)):
            ids = inputs.tokens(row)
            logits = saved.prefill(decoder, 0, ids)
            sequences.append(SavedSequence.of_slot(decoder.cache, 0, ids, logits))
    return PromptCache(tuple(sequences), fingerprint)
