"""Checks a tokenizer.json before the tokenizers package reads it.

The package ends some bad files with a panic, follows others for hours, and lets a short text grow
until memory ends. What passes this check keeps the time and memory of a text in bounds.
"""
