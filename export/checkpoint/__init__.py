"""Reads a checkpoint's tensors, strictly and lazily: weights are read when the exporter asks.

- checkpoint.py: open_checkpoint finds a directory's weight files, and lists their tensors by name
- hub.py: fetches a checkpoint that is named by a Hugging Face hub id
- safetensors_file.py: reads the header of a .safetensors file
- torch_file.py: reads the zip archive of a pytorch_model.bin
- torch_pickle.py: reads the pickle in that archive, and runs nothing that it asks to run
- stored_tensor.py: StoredTensor, a tensor's place in its file, which reads the numbers
"""
