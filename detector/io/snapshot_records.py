"""How a snapshot lies in the state topic, for every store alike.

One record per chunk, in the partition with the input partition's number. The key is
``group/topic/partition/parity/chunk``, where parity is the generation modulo two: a compacted topic keeps the latest
record of a key, so writing a generation removes the one before the last and never the last. A header holds the pointer
(without its place), so that a snapshot is found without one, and its chunks are told from whatever lies in between.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from detector.errors import SnapshotRefusedError
from detector.ports import Message, TopicPartition
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
    return format_pointer(pointer.at(0, 0)).encode()


def messages_of(
    topic: str, group_id: str, partition: TopicPartition, pointer: Pointer, chunks: Sequence[bytes]
) -> list[Message]:
    """Lay out a snapshot as records of the state topic."""
    headers = ((HEADER, header_of(pointer)),)
    return [
        Message(topic, chunk_key(group_id, partition, pointer.generation, number), chunk, headers, partition.partition)
        for number, chunk in enumerate(chunks)
    ]


def checked(group_id: str, partition: TopicPartition, pointer: Pointer, records: Iterable[ChunkRecord]) -> bytes:
    """Join the chunks that ``pointer`` names, among ``records`` of its place in the state topic.

    Raises ``SnapshotRefusedError`` unless they are exactly those.
    """
    header = header_of(pointer)
    lying = {record.key: record.value for record in records if record.header == header}
    chunks: list[bytes] = []
    for chunk in range(pointer.chunk_count):
        value = lying.get(chunk_key(group_id, partition, pointer.generation, chunk))
        if value is None:
            raise SnapshotRefusedError(
                f"chunk {chunk} of {pointer.chunk_count} of the snapshot is not in the state topic"
            )
        chunks.append(value)
    data = joined(chunks)
    if len(data) != pointer.size_bytes or zlib.crc32(data) != pointer.crc:
        raise SnapshotRefusedError("the snapshot in the state topic does not have the size and checksum of its pointer")
    return data


def complete(group_id: str, partition: TopicPartition, records: Iterable[ChunkRecord]) -> list[Pointer]:
    """Pointers of every snapshot of ``partition`` all of whose chunks are there, the newest state first."""
    places: dict[bytes, dict[int, int]] = {}
    pointers: dict[bytes, Pointer] = {}
    for record in records:
        pointer = _pointer_of(record)
        if pointer is None or record.header is None:
            continue
        chunk = _chunk_number(group_id, partition, pointer, record)
        if chunk is not None:
            pointers[record.header] = pointer
            places.setdefault(record.header, {})[chunk] = record.offset
    found = [
        pointers[header].at(min(chunks.values()), max(chunks.values()))
        for header, chunks in places.items()
        if len(chunks) == pointers[header].chunk_count
    ]
    return sorted(found, key=lambda pointer: (pointer.offset, pointer.first_offset), reverse=True)


def _pointer_of(record: ChunkRecord) -> Pointer | None:
    pointer = parse_pointer((record.header or b"").decode("utf-8", "replace"))
    return None if pointer is None or pointer.is_empty or record.value is None else pointer


def _chunk_number(group_id: str, partition: TopicPartition, pointer: Pointer, record: ChunkRecord) -> int | None:
    """Which chunk of the snapshot that its header names ``record`` is; None if it is of another group or partition."""
    number = (record.key or b"").rpartition(b"/")[2]
    if not number.isdigit() or int(number) >= pointer.chunk_count:
        return None
    return int(number) if record.key == chunk_key(group_id, partition, pointer.generation, int(number)) else None
