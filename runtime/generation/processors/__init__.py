"""Logits processors: they change the scores of the next token.

- base.py: the interface, and the two softmaxes
- warpers.py: sampling's: temperature, top_k, top_p, min_p, typical_p, cutoffs
- crossing.py, torch_softmax.py, best_tokens.py: what their thresholds need
- penalties.py: repetition penalties, n-grams, groups of beams
- output_penalties.py: presence and frequency penalties, of OpenAI's API
- sequence_bias.py: biases of sequences, bad words
- constraints.py: lengths, forced, suppressed and allowed tokens
- structured.py, grammar.py: texts within a schema, a regular expression or a grammar
- watermarking.py, synthid.py, torch_random.py: watermarks
- checks.py, conversions.py: checks of their arguments; what their constructors take
"""
