"""Merges a PEFT adapter into a checkpoint's tensors, as merge_and_unload of peft does.

Source: peft 0.21, https://github.com/huggingface/peft (tuners/lora, ia3 and trainable_tokens).

- merge.py: merge_adapter gives the checkpoint as it is with the adapter
- adapter_config.py: reads adapter_config.json, and refuses what cannot be merged
- adapter_tensors.py: sorts an adapter's tensors by the layers that they belong to
- merged_tensor.py: weights that are merged while they are read
"""
