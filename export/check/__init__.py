"""Checks of an exported graph: a first run, and a comparison with transformers."""
