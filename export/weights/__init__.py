"""The weights file, and how weights are quantized."""
