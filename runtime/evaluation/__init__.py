"""How well a model predicts texts: perplexity, and what lm-evaluation-harness asks for."""
