"""Builders of the fused, portable and genai graphs."""
