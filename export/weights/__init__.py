"""The weights file, and how weights are rounded.

- weight_group.py: which weights are stored, and the groups in which they are computed.
- weights_file.py: where each lies in the file, and the loop that writes them.
- conversion.py: a checkpoint's numbers in another type.
- quantization.py: weights of 8 and 4 bits, with their scales and zero points.
- gptq.py: the choice of codes that make up for each other's errors.
"""
