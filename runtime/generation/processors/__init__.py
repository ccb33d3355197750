"""Logits processors: they change the scores of the next token.

- base.py: the interface, and the two softmaxes
- warpers.py: sampling's: temperature, top_k, top_p, min_p, typical_p, cutoffs
- penalties.py: repetition penalties, n-grams, bad words, biases
- constraints.py: lengths, forced, suppressed and allowed tokens
- structured.py, grammar.py: texts within a schema, a regular expression or a grammar
- watermarking.py, synthid.py, torch_random.py: watermarks
- checks.py: checks of their arguments
"""
