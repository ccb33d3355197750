"""Logits processors and warpers: they change the scores of the next token."""
