"""Check the pages of a Parquet column before they are unpacked: a small page may hold gigabytes.

A column of a row group is a row of pages, each after a header that tells its size once it is
unpacked. The headers are in Thrift's compact protocol, and are read here as Parquet's readers do.

Format: https://parquet.apache.org/docs/file-format, thrift-compact-protocol.md of Apache Thrift
"""

from typing import Any, BinaryIO

from gptneo_onnx.models.errors import shown
from gptneo_onnx.models.units import readable_size

# The pages of a row group may have so many bytes once they are unpacked, or so many times those
# that they have packed.
_LEAST_BYTES = 512 * 1024 * 1024
_MOST_UNPACKED = 20
# Where a text is stored as what differs from the one before it, a page can be unpacked to more.
_MAX_DELTA_PAGE_BYTES = 8 * 1024 * 1024
_MAX_VALUES = 2**24
_DELTA_ENCODINGS = (6, 7)  # DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY
_HEADER_SIZES = (4096, 65536, 16 * 1024 * 1024)
_MAX_DEPTH = 8
# Fields of a page's header, by their numbers: sizes, and the headers of the two kinds of data page
# with the number of values and the encoding in each.
_UNPACKED, _PACKED = 2, 3
_DATA_PAGES = {5: 2, 8: 4}
_VALUES = 1
# Thrift's types.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class PageError(ValueError):
    """A page that is not read, and why."""


def check_pages(file: BinaryIO, chunk: Any) -> None:
    """Check the pages of a column in a row group.

    Args:
        file: the Parquet file.
        chunk: pyarrow's ColumnChunkMetaData of the column.

    Raises:
        PageError: a page's header is damaged, or the pages are too large.
        OSError: the file cannot be read.
    """
    place = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None and 0 < chunk.dictionary_page_offset < place:
        place = chunk.dictionary_page_offset
    end = place + chunk.total_compressed_size
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

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a struct that are whole numbers or structs, by their numbers."""
        if depth > _MAX_DEPTH:
            raise PageError(f"the header of a page is nested more than {_MAX_DEPTH} deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._zigzag()
            if kind == _STRUCT:
                fields[number] = self.struct(depth + 1)
            elif kind == _I32:
                fields[number] = self._zigzag()
            elif kind not in (_TRUE, _FALSE):  # their value is in the head
                self._skip(kind, depth)
        return fields

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
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            self._skip_items(count, [head & 15], depth)
        elif kind == _MAP:
            if count := self._varint():
                kinds = self._byte()
                self._skip_items(count, [kinds >> 4, kinds & 15], depth)
        elif kind == _STRUCT:
            self.struct(depth + 1)
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

    def _zigzag(self) -> int:
        """Return a whole number of 32 bits with its sign."""
        value = self._varint() & 0xFFFFFFFF
        return value >> 1 ^ -(value & 1)
