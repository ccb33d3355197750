"""An operator with what is known of its inputs: what rules get, and how they read it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gptneo_onnx.models.errors import ModelFileError
from gptneo_onnx.runtime.model_files.graph_nodes import Attribute
from gptneo_onnx.runtime.model_files.inference.sizes import Number
from gptneo_onnx.runtime.model_files.inference.values import Numbers, Value

# Numbers in onnx.AttributeProto.AttributeType.
_INTEGER, _INTEGERS = 2, 7


@dataclass(frozen=True, slots=True)
class Call:
    """An operator at its place in the graph.

    Attributes:
        described: its type and the name of its first output, for messages.
        operator: its type.
        inputs: what is known of each; None where one is left out.
        attributes: by name.
        outputs: how many there are.
    """

    described: str
    operator: str
    inputs: Sequence[Value | None]
    attributes: Mapping[str, Attribute]
    outputs: int

    def has(self, place: int) -> bool:
        """Whether there is an input at that place."""
        return place < len(self.inputs) and self.inputs[place] is not None

    def input(self, place: int) -> Value:
        """Return an input; raises ModelFileError if it is left out."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise self.wrong(f"has no input {place}")
        return found

    def dims(self, place: int) -> Numbers:
        """Return the axes of an input; those of all inputs are known where a rule is asked."""
        dims = self.input(place).dims
        assert dims is not None
        return dims

    def numbers(self, place: int) -> Numbers | None:
        """Return the elements of an input; None if they are not known or there is no input."""
        return self.input(place).numbers if self.has(place) else None

    def given(self) -> Iterator[Value]:
        return (each for each in self.inputs if each is not None)

    def integer(self, name: str, default: int) -> int:
        return self._of_kind(name, _INTEGER).integer if name in self.attributes else default

    def integers(self, name: str) -> list[int] | None:
        return self._of_kind(name, _INTEGERS).integers if name in self.attributes else None

    def _of_kind(self, name: str, kind: int) -> Attribute:
        attribute = self.attributes[name]
        if attribute.kind != kind:
            raise self.wrong(f"has the attribute {name} of kind {attribute.kind}")
        return attribute

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """Return an attribute that counts axes, from the start."""
        return self.from_start(self.integer(name, default), rank)

    def from_start(self, axis: int, rank: int) -> int:
        """Return an axis, counted from the start; raises ModelFileError if the input lacks it."""
        if not -rank <= axis < rank:
            raise self.wrong(f"counts to axis {axis} of {rank}")
        return axis + rank if axis < 0 else axis

    def axes(self, place: int, rank: int) -> list[int] | None:
        """Return the axes that the attribute `axes` or an input names, from the start.

        None if neither names any.

        Raises:
            Unfollowed: they are computed.
        """
        listed: Sequence[Number] | None = self.integers("axes")
        if listed is None and self.has(place):
            listed = self.numbers(place)
            if listed is None or not all(isinstance(each, int) for each in listed):
                raise Unfollowed
        if listed is None:
            return None
        return [self.from_start(each, rank) for each in listed if isinstance(each, int)]

    def wrong(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self.described} {what}")


class Unfollowed(Exception):  # noqa: N818 - not an error of the graph
    """The sizes of a result depend on numbers that are not followed."""
