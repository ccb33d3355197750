"""Calibration: a text that the model reads before its weights are quantized."""
