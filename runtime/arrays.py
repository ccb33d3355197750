"""The names that annotations use for numpy's arrays; a docstring or comment gives the shape."""

import numpy as np
from numpy.typing import NDArray

# Token ids.
Ids = NDArray[np.int64]
# Numbers of slots or rows, and lengths in tokens.
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
# A model's output for each token of the vocabulary, and the same after processors: [..., vocab].
Logits = Floats
Scores = Floats
# [..., hidden].
HiddenStates = Floats
