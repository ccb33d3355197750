"""ModelOutput: what calls of models and generate() return, as transformers' outputs are."""

from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray


class ModelOutput(OrderedDict[str, Any]):
    """The base of dataclasses that are dicts of their fields that are not None too.

    output["logits"], output.logits and output[0] are the same, where logits is the first field that
    is not None (transformers.utils.ModelOutput). To unpack an output, take to_tuple().
    """

    def __post_init__(self) -> None:
        for name, value in self._by_field().items():
            if value is not None:
                super().__setitem__(name, value)

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values that are not None, in order."""
        return tuple(self.values())

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self and value is not None:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __delitem__(self, key: str) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} keeps its fields; make another without {key!r}")

    def pop(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} keeps its fields; dict(output) can lose them")

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} has no update(); set its fields one by one")

    def setdefault(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} has no setdefault(); set the field")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._by_field().values())

    def copy(self) -> Any:
        """Return another output of the same values."""
        return type(self)(*self._by_field().values())

    def _by_field(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]


@dataclass(eq=False)
class CausalLMOutput(ModelOutput):
    """The outputs of a call; zeros at padded positions.

    Attributes:
        loss: float32, if there were labels.
        logits: float32 [batch, sequence, vocab].
        hidden_states: for each layer that was asked for, float32 [batch, sequence, hidden].
    """

    loss: np.float32 | None = None
    logits: NDArray[np.float32] | None = None
    hidden_states: tuple[NDArray[np.float32], ...] | None = None
