"""Strategies that choose tokens.

- sample.py: greedy decoding and sampling: the loop of forward, choose, append
- assisted.py, candidates.py: assisted decoding, and where its candidates come from
- beam_search.py, group_beam_search.py, beams.py: beam search, diverse beam search, and what they
  share
- hooks.py: the order of all processors and criteria, and the caller's among them
- sequences.py: sequences that grow, and the tokens that a step yields
- slot_batch.py: rows in the cache's slots, and guidance
"""
