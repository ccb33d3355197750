"""Steps of a model: token ids in, logits out.

- engine.py: Engine, which loads a model, owns its decoder and lets one call in at a time
- load_decoders.py: from a model directory to sessions, caches and decoders
- decoder.py: the interface of the steps: prefill, decode, verify
- fused_decoder.py, slot_cache.py: the fused graph's steps, and its cache that is updated in place
- portable_decoder.py, concatenated_cache.py: a portable graph's steps, and its cache
- recomputing_decoder.py, token_history.py: the same for graphs without past
- cache.py: the interface of the caches: reorder, roll back, read, write
- row_copies.py, buffers.py: copies of cache rows, and device memory
- trial_load.py, trial_process.py: loads another exporter's graph in a child process first
- session.py, device.py, threads.py: ONNX Runtime sessions, which device can be used, and how many
  threads
- inputs.py, batching.py, forward.py: checks of ids and masks, ragged batches, one pass over a
  batch
- task_check.py: refuses models that were exported for another task
- prefill.py, prompt_cache.py, prompt_cache_file.py: prompts that are read ahead, and their file
"""

from gptneo_onnx.runtime.onnx_runtime import require_onnx_runtime

require_onnx_runtime()
