"""transformers' own model on PyTorch, with its usual cache."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        import torch
        from transformers import GPTNeoForCausalLM

        torch.set_num_threads(threads)
        # Not its default, but without it unscaled scores make it several times slower.
        torch.set_flush_denormal(True)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.model = GPTNeoForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()

    def prefill(self, ids: Ids) -> None:
        self._step(ids, None)

    def decode(self, tokens: Ids) -> None:
        self._step(tokens[:, None], self.past)

    def _step(self, ids: Ids, past: object) -> None:
        # As generate() calls it: logits of the last position alone where the model can.
        output = self.model(
            self.torch.from_numpy(ids), past_key_values=past, use_cache=True, **self._last_only()
        )
        self.past = output.past_key_values

    def _last_only(self) -> dict[str, int]:
        has_it = "logits_to_keep" in self.model.forward.__code__.co_varnames
        return {"logits_to_keep": 1} if has_it else {}
