"""Calibration (`--calibrate TEXT`): the float model reads a text before its weights are rounded.

- calibration_text.py: the text as windows of token ids.
- layer_inputs.py: what goes into every linear layer while the model reads them.
- calibration.py: weights that round better, made from those statistics.
"""
