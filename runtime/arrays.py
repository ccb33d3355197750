"""The names that annotations use for numpy's arrays; a docstring or comment gives the shape."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
# What a model says of each token of the vocabulary, and that after processors: [..., vocab].
Logits = Floats
Scores = Floats
