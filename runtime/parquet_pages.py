"""Check the pages of a Parquet column before they are unpacked: a small page may hold gigabytes.

A column of a row group is a row of pages, each after a header that tells its size once it is
unpacked. The footer says where they are. Both are in Thrift's compact protocol, and are read here
as Parquet's readers do: pyarrow ends the process where it describes a column whose statistics are
damaged.

Format: https://parquet.apache.org/docs/file-format, thrift-compact-protocol.md of Apache Thrift
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from gptneo_onnx.models.errors import shown
from gptneo_onnx.models.units import readable_size

# The most bytes that the pages of a row group may unpack to: this many, or this many times their
# packed size if that is more.
_LEAST_BYTES = 512 * 1024 * 1024
_MOST_UNPACKED = 20
# Where a text is stored as what differs from the one before it, a page can be unpacked to more.
_MAX_DELTA_PAGE_BYTES = 8 * 1024 * 1024
_MAX_VALUES = 2**24
_DELTA_ENCODINGS = (6, 7)  # DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY
_HEADER_SIZES = (4096, 65536, 16 * 1024 * 1024)
_MAX_FOOTER_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 8
# Fields of a page's header, by their numbers: sizes, and the headers of the two kinds of data page
# with the number of values and the encoding in each.
_UNPACKED, _PACKED = 2, 3
_DATA_PAGES = {5: 2, 8: 4}
_VALUES = 1
# The fields of a footer that are read, by their numbers: of its row groups' columns the encodings,
# the number of values, their bytes, and where pages and the dictionary begin.
_ENCODINGS, _COUNT, _SIZE, _DATA_PAGE, _DICTIONARY = 2, 5, 7, 9, 11
_GROUPS, _COLUMNS, _COLUMN = 4, 1, 3
_COLUMN_FIELDS = dict.fromkeys((_ENCODINGS, _COUNT, _SIZE, _DATA_PAGE, _DICTIONARY), None)
_FOOTER_FIELDS = {_GROUPS: {_COLUMNS: {_COLUMN: _COLUMN_FIELDS}}}
_FOOTER_END = 8  # its length, and PAR1
# Thrift's types.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class PageError(ValueError):
    """A page that is not read, and why."""


@dataclass(frozen=True)
class Chunk:
    """A column in a row group: where its pages lie, and how many bytes and values they have."""

    place: int
    size: int
    num_values: int
    encodings: tuple[int, ...]

    @property
    def is_delta(self) -> bool:
        """Whether a text is stored as what differs from the one before it."""
        return any(encoding in _DELTA_ENCODINGS for encoding in self.encodings)


def read_chunks(file: BinaryIO, column: int) -> list[Chunk]:
    """Return what the footer says of a column in every row group.

    Args:
        file: the Parquet file.
        column: its number.

    Raises:
        PageError: the footer is damaged, too large, or has no such column.
        OSError: the file cannot be read.
    """
    end = file.seek(0, 2) - _FOOTER_END
    file.seek(max(end, 0))
    length = int.from_bytes(file.read(4), "little")
    if not 0 < length <= min(end, _MAX_FOOTER_BYTES):
        raise PageError(
            f"the footer has {readable_size(length)}; at most {readable_size(_MAX_FOOTER_BYTES)} "
            "are read"
        )
    file.seek(end - length)
    try:
        groups = _Reader(file.read(length)).struct(kept=_FOOTER_FIELDS).get(_GROUPS, [])
        return [_chunk(group[_COLUMNS][column][_COLUMN]) for group in groups]
    except (LookupError, TypeError) as error:
        raise PageError("the footer is damaged") from error


def _chunk(fields: Mapping[int, Any]) -> Chunk:
    first, dictionary = fields[_DATA_PAGE], fields.get(_DICTIONARY, 0)
    place = dictionary if 0 < dictionary < first else first
    return Chunk(place, fields[_SIZE], fields[_COUNT], tuple(fields[_ENCODINGS]))


def check_pages(file: BinaryIO, chunk: Chunk) -> None:
    """Check the pages of a column in a row group.

    Args:
        file: the Parquet file.
        chunk: the column.

    Raises:
        PageError: a page's header is damaged, or the pages are too large.
        OSError: the file cannot be read.
    """
    place, end = chunk.place, chunk.place + chunk.size
    missing = chunk.num_values
    packed = unpacked = 0
    while place < end and missing > 0:
        header, length = _read_header(file, place)
        sizes = header.get(_PACKED), header.get(_UNPACKED)
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise PageError(f"the page at byte {place} has the sizes {shown(sizes)}")
        for number, encoding in _DATA_PAGES.items():
            data = header.get(number, {})
            data = data if isinstance(data, dict) else {}
            _check_data(header, data, encoding, place)
            missing -= data.get(_VALUES, 0)
        packed += header[_PACKED]
        unpacked += header[_UNPACKED]
        place += length + header[_PACKED]
    most = max(_LEAST_BYTES, _MOST_UNPACKED * packed)
    if unpacked > most:
        raise PageError(
            f"a row group has {readable_size(unpacked)} once it is unpacked, and at most "
            f"{readable_size(most)} are read; write it with fewer rows in a group"
        )


def _check_data(header: dict[int, Any], data: dict[int, Any], encoding: int, place: int) -> None:
    values = data.get(_VALUES, 0)
    if not isinstance(values, int) or not 0 <= values <= _MAX_VALUES:
        raise PageError(
            f"the page at byte {place} has {shown(values)} values; at most {_MAX_VALUES} are read"
        )
    if data.get(encoding) in _DELTA_ENCODINGS and header[_UNPACKED] > _MAX_DELTA_PAGE_BYTES:
        raise PageError(f"the page at byte {place} is too large for one in a delta encoding")


def _read_header(file: BinaryIO, place: int) -> tuple[dict[int, Any], int]:
    """Return the header at a place, and how many bytes it takes."""
    for size in _HEADER_SIZES:
        file.seek(place)
        content = file.read(size)
        reader = _Reader(content)
        try:
            return reader.struct(), reader.place
        except IndexError:
            if len(content) < size:
                break
    raise PageError(f"the page at byte {place} has a damaged header")


class _Reader:
    """Reads Thrift's compact protocol; past the end it raises IndexError."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def struct(self, depth: int = 0, kept: Mapping[int, Any] | None = None) -> dict[int, Any]:
        """Return fields of a struct, by their numbers.

        Args:
            depth: how deep it lies in others.
            kept: the fields to return, with those of the structs in them; by default those that
                are numbers of 32 bits or structs.
        """
        if depth > _MAX_DEPTH:
            raise PageError(f"the header of a page is nested more than {_MAX_DEPTH} deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._zigzag()
            if kept is not None and number in kept:
                fields[number] = self._value(kind, depth, kept[number])
            elif kept is None and kind in (_STRUCT, _I32):
                fields[number] = self._value(kind, depth, None)
            elif kind not in (_TRUE, _FALSE):  # their value is in the head
                self._skip(kind, depth)
        return fields

    def _value(self, kind: int, depth: int, kept: Mapping[int, Any] | None) -> Any:
        if depth > _MAX_DEPTH:
            raise PageError(f"the footer is nested more than {_MAX_DEPTH} deep")
        if kind == _STRUCT:
            return self.struct(depth + 1, kept)
        if kind in (_I32, _I64):
            return self._zigzag(32 if kind == _I32 else 64)
        if kind == _LIST:
            item, count = self._list_head()
            return [self._value(item, depth + 1, kept) for _ in range(count)]
        raise PageError(f"the footer has a field of the type {kind} where a number is expected")

    def _list_head(self) -> tuple[int, int]:
        """Return the type of a list's items, and their number."""
        head = self._byte()
        return head & 15, head >> 4 if head >> 4 < 15 else self._varint()

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_BYTE, _TRUE, _FALSE):
            self._advance(1)
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _DOUBLE:
            self._advance(8)
        elif kind == _BINARY:
            self._advance(self._varint())
        elif kind in (_LIST, _SET):
            item, count = self._list_head()
            self._skip_items(count, [item], depth)
        elif kind == _MAP:
            if count := self._varint():
                kinds = self._byte()
                self._skip_items(count, [kinds >> 4, kinds & 15], depth)
        elif kind == _STRUCT:
            self.struct(depth + 1, {})
        else:
            raise PageError(f"the header of a page has a field of the unknown type {kind}")

    def _skip_items(self, count: int, kinds: list[int], depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise PageError(f"the header of a page is nested more than {_MAX_DEPTH} deep")
        for _ in range(count):
            for kind in kinds:
                self._skip(kind, depth + 1)

    def _byte(self) -> int:
        value = self.content[self.place]
        self.place += 1
        return value

    def _advance(self, count: int) -> None:
        self.place += count
        if self.place > len(self.content):
            raise IndexError

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise PageError("the header of a page has a number of more than 10 bytes")

    def _zigzag(self, bits: int = 32) -> int:
        """Return a whole number with its sign."""
        value = self._varint() & ((1 << bits) - 1)
        return value >> 1 ^ -(value & 1)
