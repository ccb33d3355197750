"""pipeline(): a model and its tokenizer behind one call.

- pipeline.py: pipeline() itself
- loading.py: loads a model with its tokenizer
- arguments.py: checks of arguments
- text_generation.py, prompts.py: text generation, and how its prompts are read
- feature_extraction.py, pooling.py: feature extraction
- text_classification.py, scores.py: text classification
- token_classification.py, entities.py: token classification, and tokens grouped to entities
- question_answering.py, answers.py: question answering, and spans of tokens
- windows.py: texts with the places of their tokens, cut into windows
"""
