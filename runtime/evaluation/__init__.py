"""Measures models on texts: perplexity, comparisons of two models, and lm-evaluation-harness.

- perplexity.py, perplexity_result.py: perplexity() and what it returns
- comparison.py, comparison_result.py, differences.py: compare() and what it returns
- comparison_report.py, line_chart.py, comparison.css: the page that `compare --report` writes
- document_windows.py, windows.py, wikitext.py: from texts to windows of tokens
- scoring.py, divergence.py: log likelihoods of windows, and how much two models differ
- journal.py: what an interrupted measurement goes on from
- harness.py: the model that lm-evaluation-harness uses
"""
