"""Shapes whose heads are no multiples of 8, and those of the published TinyStories models.

https://huggingface.co/roneneldan: hidden size, layers and heads of each. Vocabulary, window and
context are small here; two layers show what eight would.
"""

from checkpoints import Shape

SMALL = Shape(layers=("global", "local", "local"), window_size=7)

HEADS = {
    "of 4": SMALL.but(hidden_size=64, num_heads=16),
    "of 5": SMALL.but(hidden_size=40, num_heads=8),
    "of 20": SMALL.but(hidden_size=60, num_heads=3),
    "of 12": SMALL.but(hidden_size=48, num_heads=4),
}

TINY_STORIES = {
    "1M": Shape(hidden_size=64, num_heads=16),
    "3M": Shape(hidden_size=128, num_heads=16),
    "8M": Shape(hidden_size=256, num_heads=16),
    "28M": Shape(hidden_size=512, num_heads=16),
    "33M": Shape(hidden_size=768, num_heads=16),
    "1Layer-21M": Shape(hidden_size=1024, num_heads=16, layers=("global",)),
    "2Layers-33M": Shape(hidden_size=1024, num_heads=16),
}
