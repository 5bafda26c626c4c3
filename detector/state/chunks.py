"""A snapshot in pieces that any broker takes."""

from collections.abc import Sequence
from typing import Final

CHUNK_BYTES_MAX: Final = 512 * 1024
"""Half of the brokers' default ``message.max.bytes`` (1,048,588); clients check sizes before compression."""


def chunks_of(data: bytes, chunk_bytes_max: int = CHUNK_BYTES_MAX) -> list[bytes]:
    """``data`` in order, in pieces of at most ``chunk_bytes_max`` bytes; at least one piece."""
    assert chunk_bytes_max > 0
    return [data[start : start + chunk_bytes_max] for start in range(0, len(data), chunk_bytes_max)] or [b""]


def joined(chunks: Sequence[bytes]) -> bytes:
    """Undo :func:`chunks_of`."""
    return b"".join(chunks)
