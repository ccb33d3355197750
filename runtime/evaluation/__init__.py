"""Measuring models on texts: perplexity, comparisons of two models, and lm-evaluation-harness."""
