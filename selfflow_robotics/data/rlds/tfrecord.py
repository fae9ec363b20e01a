"""TFRecord files without TensorFlow: written in order, read in order or in random access.

A record is its length (uint64, little endian), the masked CRC-32C of the length, the bytes, and the
masked CRC-32C of the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_REMEDY = "copy or download it again"


@dataclass(frozen=True)
class _Place:
    path: Path
    offset: int  # of the bytes, behind the header
    length: int


class TFRecords:
    """The records of several TFRecord files, in order.

    Only lengths are read at first; each record's checksum is verified when it is read.

    Raises:
        ValueError: a file is truncated or is no TFRecord file.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._places = [place for path in paths for place in _index(path)]

    def __len__(self) -> int:
        """Number of records."""
        return len(self._places)

    def __getitem__(self, index: int) -> bytes:
        """The bytes of a record.

        Raises:
            IndexError: no such record.
            ValueError: the stored bytes disagree with their checksum.
        """
        place = self._places[index]
        with place.path.open("rb") as file:
            file.seek(place.offset)
            record = file.read(place.length)
            footer = file.read(_FOOTER.size)
        if len(footer) < _FOOTER.size or _masked_crc(record) != _FOOTER.unpack(footer)[0]:
            raise ValueError(
                f"record {index}, at byte {place.offset} of {place.path}, disagrees with its "
                "checksum; the file is damaged: copy or download it again"
            )
        return record

    def file_of(self, index: int) -> Path:
        """The file that holds a record."""
        return self._places[index].path


class TFRecordWriter:
    """Writes records to a file, one after another; what was there is replaced."""

    def __init__(self, path: str | Path) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115  closed by close()

    def write(self, record: bytes) -> None:
        """Append a record."""
        length = struct.pack("<Q", len(record))
        self._file.write(length + _FOOTER.pack(_masked_crc(length)))
        self._file.write(record + _FOOTER.pack(_masked_crc(record)))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_in_order(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The records of an open file, which need not be seekable, each verified by its checksums.

    Raises:
        ValueError: the file is truncated, is no TFRecord file, or disagrees with a checksum.
    """
    number = 0
    while header := file.read(_HEADER.size):
        where = f"record {number} of {name}"
        if len(header) < _HEADER.size:
            raise ValueError(f"{name} is truncated in the header of record {number}; {_REMEDY}")
        length, crc = _HEADER.unpack(header)
        if _masked_crc(header[:8]) != crc:
            raise ValueError(
                f"{where} does not start as a TFRecord; the file is damaged: {_REMEDY}"
            )
        record = _read(file, length)
        footer = file.read(_FOOTER.size)
        if len(record) < length or len(footer) < _FOOTER.size:
            raise ValueError(f"{name} is truncated within record {number}; {_REMEDY}")
        if _masked_crc(record) != _FOOTER.unpack(footer)[0]:
            raise ValueError(f"{where} disagrees with its checksum; the file is damaged: {_REMEDY}")
        yield record
        number += 1


def _read(file: BinaryIO, length: int) -> bytes:
    """As many bytes, or those that there are: a damaged length makes no room for itself."""
    parts: list[bytes] = []
    while length > 0 and (part := file.read(min(length, 1 << 24))):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _index(path: Path) -> list[_Place]:
    size = path.stat().st_size
    places: list[_Place] = []
    offset = 0
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            header = file.read(_HEADER.size)
            if len(header) == _HEADER.size:
                length, crc = _HEADER.unpack(header)
                if _masked_crc(header[:8]) != crc:
                    raise ValueError(
                        f"byte {offset} of {path} does not start a TFRecord; the file is damaged "
                        "or of another kind: copy or download it again"
                    )
                end = offset + _HEADER.size + length + _FOOTER.size
            if len(header) < _HEADER.size or end > size:
                raise ValueError(
                    f"{path} is truncated: record {len(places)} of the file ends beyond its "
                    f"{size} bytes; copy or download it again"
                )
            places.append(_Place(path, offset + _HEADER.size, length))
            offset = end
    return places


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
