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
UNTOLD: Final = "untold"
"""The part behind those of every pointer, where the partition is being bootstrapped; a time in ms may follow."""


class Pointer(msgspec.Struct, frozen=True):
    """A complete snapshot in the state topic.

    Its ``chunk_count`` chunks lie between ``first_offset`` and ``last_offset``, perhaps with other records in between,
    in the partition of the state topic with the input partition's number; ``size_bytes`` and ``crc`` (CRC-32) of the
    joined chunks; ``offset`` of the input up to which the snapshot holds; ``generation`` counts a partition's
    snapshots; ``config_hash`` under which it was learnt; ``cluster`` id of the input.

    Without chunks it names no snapshot and says: the state before ``offset`` is the empty one.

    ``untold`` is true while the partition is bootstrapped: nothing was ever said about its records, so that whatever is
    open when the committed offset is reached must be told. With ``files_until_ms`` the state does not hold yet what is
    to be learnt from files: their samples before that time, epoch milliseconds.
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
    untold: bool = False
    files_until_ms: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it stands for the empty state."""
        return self.chunk_count == 0

    def at(self, first_offset: int, last_offset: int) -> "Pointer":
        """Give the same snapshot at another place."""
        return msgspec.structs.replace(self, first_offset=first_offset, last_offset=last_offset)

    def bootstrapping(self, *, files_until_ms: int | None = None) -> "Pointer":
        """Give the same state as one of a bootstrap that is not at its end."""
        return msgspec.structs.replace(self, untold=True, files_until_ms=files_until_ms)

    def told(self) -> "Pointer":
        """Give the same state as one of a partition that is live."""
        return msgspec.structs.replace(self, untold=False, files_until_ms=None)


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
    parts = [*map(str, numbers), pointer.config_hash, pointer.cluster]
    if pointer.untold:
        parts += [UNTOLD] if pointer.files_until_ms is None else [UNTOLD, str(pointer.files_until_ms)]
    text = PREFIX + ";".join(parts)
    assert len(text.encode()) <= METADATA_BYTES_MAX
    return text


def parse_pointer(metadata: str | None) -> Pointer | None:
    """The pointer in a committed offset's metadata; None where there is none that this version could have written."""
    if metadata is None or not metadata.startswith(PREFIX):
        return None
    parts = metadata.removeprefix(PREFIX).split(";")
    if len(parts) < PARTS or not all(DIGITS.fullmatch(part) for part in parts[:NUMBERS]):
        return None
    first, last, chunks, size, crc, offset, generation = map(int, parts[:NUMBERS])
    pointer = Pointer(first, last, chunks, size, crc, offset, generation, parts[7], parts[8])
    match parts[PARTS:]:
        case []:
            return pointer
        case [mark] if mark == UNTOLD:
            return pointer.bootstrapping()
        case [mark, until_ms] if mark == UNTOLD and DIGITS.fullmatch(until_ms):
            return pointer.bootstrapping(files_until_ms=int(until_ms))
    return None


def empty_pointer(offset: int, *, generation: int, config_hash: str, cluster: str) -> Pointer:
    """Say that the state before ``offset`` is the empty one."""
    return Pointer(0, 0, 0, 0, 0, offset, generation, config_hash, cluster)
