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
PARTS: Final = 7


class Pointer(msgspec.Struct, frozen=True):
    """A complete snapshot in the state topic.

    ``first_offset`` of its first chunk and ``chunk_count`` chunks, in the partition of the state topic with the input
    partition's number; ``size_bytes`` and ``crc`` (CRC-32) of the joined chunks; ``offset`` of the input up to which
    the snapshot holds; ``config_hash`` under which it was learnt; ``cluster`` id of the input.
    """

    first_offset: int
    chunk_count: int
    size_bytes: int
    crc: int
    offset: int
    config_hash: str
    cluster: str


def format_pointer(pointer: Pointer) -> str:
    """The pointer as offset metadata."""
    numbers = (pointer.first_offset, pointer.chunk_count, pointer.size_bytes, pointer.crc, pointer.offset)
    text = PREFIX + ";".join((*map(str, numbers), pointer.config_hash, pointer.cluster))
    assert len(text.encode()) <= METADATA_BYTES_MAX
    return text


def parse_pointer(metadata: str | None) -> Pointer | None:
    """The pointer in a committed offset's metadata; None where there is none that this version could have written."""
    if metadata is None or not metadata.startswith(PREFIX):
        return None
    parts = metadata.removeprefix(PREFIX).split(";")
    if len(parts) != PARTS or not all(DIGITS.fullmatch(part) for part in parts[:5]):
        return None
    first_offset, chunk_count, size_bytes, crc, offset = map(int, parts[:5])
    if chunk_count == 0:
        return None
    return Pointer(first_offset, chunk_count, size_bytes, crc, offset, parts[5], parts[6])
