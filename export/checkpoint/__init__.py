"""Readers of checkpoints: safetensors and PyTorch files, from a directory or the hub."""
