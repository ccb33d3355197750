"""pipeline(): a model and its tokenizer behind one call.

- pipeline.py: pipeline() itself
- loading.py: loads a model with its tokenizer
- text_generation.py, prompts.py, arguments.py: text generation, and how its prompts and arguments
  are read
- feature_extraction.py, pooling.py: feature extraction
"""
