"""Arrays that are used at every step: new ones of a vocabulary's size cost more than the work."""

import threading
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.float32, np.uint32)


class Workspace(threading.local):
    """Arrays of each thread, by name; a name's array holds what its last user left there."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, length: int, data_type: type[Number]) -> NDArray[Number]:
        """Return an array [length] of a type, until the name is asked for again."""
        element = np.dtype(data_type)
        array = self._arrays.get(name)
        if array is None or len(array) < length * element.itemsize:
            array = self._arrays[name] = np.empty(length * element.itemsize, np.uint8)
        return array[: length * element.itemsize].view(element)
