"""How a snapshot lies in the state topic, for every store alike.

One record per chunk, in the partition with the input partition's number. The key is
``group/topic/partition/parity/chunk``, where parity is the generation modulo two: a compacted topic keeps the latest
record of a key, so writing a generation removes the one before the last and never the last. A header holds the pointer
(without its place), so that a snapshot is found without one.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from detector.errors import SnapshotRefusedError
from detector.ports import TopicPartition
from detector.state import Pointer, format_pointer, joined, parse_pointer

HEADER: Final = "detector-snapshot"
PARITIES: Final = 2


class ChunkRecord(NamedTuple):
    """What a store reads of one record of the state topic."""

    offset: int
    key: bytes | None
    value: bytes | None
    header: bytes | None


def chunk_key(group_id: str, partition: TopicPartition, generation: int, chunk: int) -> bytes:
    """Key of one chunk."""
    return f"{group_id}/{partition.topic}/{partition.partition}/{generation % PARITIES}/{chunk}".encode()


def header_of(pointer: Pointer) -> bytes:
    """Header of every chunk of a snapshot; its place is not known before it is written."""
    return format_pointer(pointer.at(0)).encode()


def placed(pointer: Pointer, offsets: Sequence[int]) -> Pointer | None:
    """``pointer`` with its place, or None where its chunks do not lie one behind the other."""
    first = offsets[0]
    if list(offsets) != list(range(first, first + pointer.chunk_count)):
        return None
    return pointer.at(first)


def checked(group_id: str, partition: TopicPartition, pointer: Pointer, records: Sequence[ChunkRecord | None]) -> bytes:
    """Join the chunks that ``pointer`` names; raises ``SnapshotRefusedError`` unless they are exactly those."""
    chunks: list[bytes] = []
    for chunk, record in enumerate(records):
        key = chunk_key(group_id, partition, pointer.generation, chunk)
        if record is None or record.key != key or record.value is None or record.offset != pointer.first_offset + chunk:
            raise SnapshotRefusedError(
                f"chunk {chunk} of {pointer.chunk_count} of the snapshot is not in the state topic"
            )
        chunks.append(record.value)
    data = joined(chunks)
    if len(chunks) != pointer.chunk_count or len(data) != pointer.size_bytes or zlib.crc32(data) != pointer.crc:
        raise SnapshotRefusedError("the snapshot in the state topic does not have the size and checksum of its pointer")
    return data


def complete(group_id: str, partition: TopicPartition, records: Iterable[ChunkRecord]) -> list[Pointer]:
    """Pointers of every snapshot of ``partition`` whose chunks all follow one another, the newest state first."""
    found: list[Pointer] = []
    current: Pointer | None = None
    header: bytes | None = None
    expected = 0
    for record in records:
        continues = current is not None and record.header == header and record.offset == current.first_offset + expected
        if not continues:
            current, header, expected = _begun(group_id, partition, record), record.header, 0
        if current is None or record.value is None:
            current = None
            continue
        if record.key != chunk_key(group_id, partition, current.generation, expected):
            current = None
            continue
        expected += 1
        if expected == current.chunk_count:
            found.append(current)
            current = None
    return sorted(found, key=lambda pointer: (pointer.offset, pointer.first_offset), reverse=True)


def _begun(group_id: str, partition: TopicPartition, record: ChunkRecord) -> Pointer | None:
    """Pointer of the snapshot that begins with ``record``, if one of ``partition`` does."""
    pointer = parse_pointer((record.header or b"").decode("utf-8", "replace"))
    if pointer is None or pointer.is_empty:
        return None
    if record.key != chunk_key(group_id, partition, pointer.generation, 0):
        return None
    return pointer.at(record.offset)
