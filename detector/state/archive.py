"""One partition's state in a file: a snapshot, and the committed offset and pointer that belong to it.

Format 1, little-endian::

    magic    8 bytes   "DETSAVE" and the format version as one byte
    length   4 bytes   of the header
    header   JSON      see ArchiveHeader
    snapshot bytes     as in the state topic (schemas/snapshot.v1.md); none where the pointer names the empty state
    crc      4 bytes   CRC-32 of everything before it

schemas/archive.v1.md is the specification.
"""

import struct
import zlib
from typing import Final

import msgspec

from detector.errors import SnapshotRefusedError
from detector.state.pointer import Pointer, format_pointer, parse_pointer
from detector.state.snapshot import Snapshot, SnapshotHeader, decode

MAGIC: Final = b"DETSAVE"
FORMAT_VERSION: Final = 1
LENGTH: Final = struct.Struct("<I")


class ArchiveHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Whose state it is: input ``topic`` and ``partition``, the ``group``, its ``committed`` offset and the pointer."""

    format: int = FORMAT_VERSION
    group: str
    topic: str
    partition: int
    committed: int
    pointer: str


class Archive(msgspec.Struct, frozen=True):
    """A state to keep: ``data`` are the snapshot's bytes, empty where ``pointer`` names none."""

    group: str
    topic: str
    partition: int
    committed: int
    pointer: Pointer
    data: bytes

    def snapshot(self) -> Snapshot | None:
        """The snapshot, checked to be the one that the pointer names; raises ``SnapshotRefusedError``."""
        pointer = self.pointer
        if pointer.is_empty:
            if self.data:
                raise SnapshotRefusedError("the file holds a snapshot, but its pointer names none")
            return None
        if len(self.data) != pointer.size_bytes or zlib.crc32(self.data) != pointer.crc:
            raise SnapshotRefusedError("the file's snapshot does not have the size and checksum of its pointer")
        snapshot = decode(self.data)
        said = (self.topic, self.partition, pointer.offset, pointer.config_hash, pointer.cluster)
        if said != _origin(snapshot.header):
            raise SnapshotRefusedError("the file's snapshot is not the one that its header and pointer are about")
        return snapshot


def _origin(header: SnapshotHeader) -> tuple[str, int, int, str, str]:
    return header.topic, header.partition, header.offset, header.config_hash, header.cluster


def pack(archive: Archive) -> bytes:
    """Bytes of a file."""
    head = msgspec.json.encode(
        ArchiveHeader(
            group=archive.group,
            topic=archive.topic,
            partition=archive.partition,
            committed=archive.committed,
            pointer=format_pointer(archive.pointer),
        )
    )
    data = b"".join((MAGIC, bytes((FORMAT_VERSION,)), LENGTH.pack(len(head)), head, archive.data))
    return data + LENGTH.pack(zlib.crc32(data))


def unpack(data: bytes) -> Archive:
    """Read a file back. Raises ``SnapshotRefusedError`` for anything but a whole, unharmed one of a known version."""
    start = len(MAGIC) + 1 + LENGTH.size
    if len(data) < start + LENGTH.size or not data.startswith(MAGIC):
        raise SnapshotRefusedError("this is no file of `detector state export`, or it is cut short")
    version = data[len(MAGIC)]
    if version != FORMAT_VERSION:
        raise SnapshotRefusedError(f"the file has format {version}, this version reads format {FORMAT_VERSION}")
    if zlib.crc32(memoryview(data)[: -LENGTH.size]) != LENGTH.unpack(data[-LENGTH.size :])[0]:
        raise SnapshotRefusedError("the file's checksum does not fit its bytes: it is harmed or cut short")
    (length,) = LENGTH.unpack_from(data, len(MAGIC) + 1)
    try:
        head = msgspec.json.decode(data[start : start + length], type=ArchiveHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotRefusedError(f"the file's header cannot be read: {error}") from error
    pointer = parse_pointer(head.pointer)
    if pointer is None or head.committed < pointer.offset or pointer.offset < 0:
        raise SnapshotRefusedError("the file's header holds no pointer that fits its committed offset")
    body = data[start + length : -LENGTH.size]
    return Archive(head.group, head.topic, head.partition, head.committed, pointer, body)
