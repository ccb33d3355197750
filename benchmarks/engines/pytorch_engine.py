"""transformers' model on PyTorch, with its default cache."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Engine:
    def __init__(self, directory: str, threads: int, slots: int) -> None:
        import torch
        from transformers import GPTNeoForCausalLM

        torch.set_num_threads(threads)
        # Not the default, but denormals from GPT-Neo's unscaled scores take several times longer.
        torch.set_flush_denormal(True)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.model = GPTNeoForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()

    def prefill(self, ids: Ids) -> None:
        self._step(ids, None)

    def decode(self, tokens: Ids) -> None:
        self._step(tokens[:, None], self.past)

    def _step(self, ids: Ids, past: object) -> None:
        # As in generate(): logits of the last position only, where the model supports that.
        output = self.model(
            self.torch.from_numpy(ids), past_key_values=past, use_cache=True, **self._last_only()
        )
        self.past = output.past_key_values

    def _last_only(self) -> dict[str, int]:
        has_it = "logits_to_keep" in self.model.forward.__code__.co_varnames
        return {"logits_to_keep": 1} if has_it else {}
