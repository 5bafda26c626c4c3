"""Where the newest snapshot of a partition lies: text beside the committed offset.

The pointer is committed with the offset, so the two can never disagree. Brokers keep at most 4,096 bytes of metadata
with an offset (``offset.metadata.max.bytes``); this takes under 300.
"""

import re
from typing import Final

import msgspec

PREFIX: Final = "detector1:"
"""Kind and version of the text; whoever else writes metadata (resets, mirrors) writes something else."""

METADATA_BYTES_MAX: Final = 4096
DIGITS: Final = re.compile(r"[0-9]{1,19}")
NUMBERS: Final = 7
PARTS: Final = 9


class Pointer(msgspec.Struct, frozen=True):
    """A complete snapshot in the state topic.

    Its ``chunk_count`` chunks lie between ``first_offset`` and ``last_offset``, perhaps with other records in between,
    in the partition of the state topic with the input partition's number; ``size_bytes`` and ``crc`` (CRC-32) of the
    joined chunks; ``offset`` of the input up to which the snapshot holds; ``generation`` counts a partition's
    snapshots; ``config_hash`` under which it was learnt; ``cluster`` id of the input.

    Without chunks it names no snapshot and says: the state before ``offset`` is the empty one.
    """

    first_offset: int
    last_offset: int
    chunk_count: int
    size_bytes: int
    crc: int
    offset: int
    generation: int
    config_hash: str
    cluster: str

    @property
    def is_empty(self) -> bool:
        """Whether it stands for the empty state."""
        return self.chunk_count == 0

    def at(self, first_offset: int, last_offset: int) -> "Pointer":
        """Give the same snapshot at another place."""
        return msgspec.structs.replace(self, first_offset=first_offset, last_offset=last_offset)


def format_pointer(pointer: Pointer) -> str:
    """The pointer as offset metadata."""
    numbers = (
        pointer.first_offset,
        pointer.last_offset,
        pointer.chunk_count,
        pointer.size_bytes,
        pointer.crc,
        pointer.offset,
        pointer.generation,
    )
    text = PREFIX + ";".join((*map(str, numbers), pointer.config_hash, pointer.cluster))
    assert len(text.encode()) <= METADATA_BYTES_MAX
    return text


def parse_pointer(metadata: str | None) -> Pointer | None:
    """The pointer in a committed offset's metadata; None where there is none that this version could have written."""
    if metadata is None or not metadata.startswith(PREFIX):
        return None
    parts = metadata.removeprefix(PREFIX).split(";")
    if len(parts) != PARTS or not all(DIGITS.fullmatch(part) for part in parts[:NUMBERS]):
        return None
    first, last, chunks, size, crc, offset, generation = map(int, parts[:NUMBERS])
    return Pointer(first, last, chunks, size, crc, offset, generation, parts[7], parts[8])


def empty_pointer(offset: int, *, generation: int, config_hash: str, cluster: str) -> Pointer:
    """Say that the state before ``offset`` is the empty one."""
    return Pointer(0, 0, 0, 0, 0, offset, generation, config_hash, cluster)
