"""Strategies that choose tokens: sampling, assisted decoding, beam search."""
