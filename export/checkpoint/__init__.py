"""Reads a checkpoint's tensors, strictly and lazily: weights are read when the exporter asks.

- checkpoint.py: open_checkpoint reads the config, and lists the tensors by GPT-Neo's names
- hub.py: fetches a checkpoint that is named by a Hugging Face hub id
- weight_files.py: finds a directory's weight files, as from_pretrained does
- tensor_names.py: takes off what tools that wrap a model put before its tensors' names
- other_formats.py: recognises what is not read, and says what to do
- weights_elsewhere.py: finds weights under other names, and says what to do
- safetensors_file.py: reads the header of a .safetensors file
- torch_file.py: reads the zip archive of a pytorch_model.bin
- legacy_torch_file.py: reads a pytorch_model.bin from before PyTorch 1.6
- torch_pickle.py: reads the pickles in both, and runs nothing that they ask to run
- storage_view.py: locates a tensor within a storage of either
- flax_file.py: reads a flax_model.msgpack
- adapters/: merges an adapter of PEFT into the tensors
- stored_tensor.py: StoredTensor, a tensor's place in its file, which reads the numbers
"""
