"""Checks a tokenizer.json before the tokenizers package reads it.

The package ends some bad files with a panic, takes hours with others, and lets a short text grow
until there is no memory left. What passes this check keeps time and memory in bounds.

- content.py: the whole file, and how the package is called
- components.py, growth.py: its parts, and what they may do together
- pattern_cost.py, pattern_parser.py, character_sets.py: regular expressions
- charsmap.py: SentencePiece's rules
"""
