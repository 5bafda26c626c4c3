"""One partition's state at one offset, as bytes.

Format 1, little-endian throughout::

    magic   8 bytes   "DETSNAP" and the format version as one byte
    length  4 bytes   of the header
    header  JSON      see SnapshotHeader; not compressed, so that it can be shown without reading the rest
    body    zstd      the columns one after another, in the order of the header's table
    crc     4 bytes   CRC-32 of everything before it

schemas/snapshot.v1.md is the specification for readers in other languages; a golden file must load for ever.
"""

import math
import struct
import zlib
from typing import Any, Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from detector.columns import Deferred
from detector.errors import SnapshotRefusedError

MAGIC: Final = b"DETSNAP"
FORMAT_VERSION: Final = 1
COMPRESSION_LEVEL: Final = 1
"""zstd's fastest regular level: state is floating point, which higher levels hardly shrink."""
LENGTH: Final = struct.Struct("<I")
BODY_BYTES_MAX: Final = 2**36
"""64 GiB: no partition's state is larger, and a forged header must not make us allocate what it claims."""
NUMBER_KINDS: Final = frozenset("biuf")
"""NumPy kinds that a column may have: booleans, integers and floats."""


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself.

    ``offset`` is the next input offset: the columns are the state after all records before it. ``cluster`` is the id of
    the input's Kafka cluster. ``columns`` lists name, NumPy type string and shape in the order of the body.
    """

    format: int = FORMAT_VERSION
    config_hash: str
    cluster: str
    topic: str
    partition: int
    offset: int
    watermark_ms: int
    series_count: int
    open_episodes: int
    columns: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    body_bytes: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """A header and its columns by name."""

    header: SnapshotHeader
    columns: dict[str, NDArray[Any]]


def encode(header: SnapshotHeader, state: Deferred) -> bytes:
    """Bytes of a snapshot. The header's table, sizes and version are filled in here; columns go by name."""
    columns = state()
    ordered = {name: _portable(columns[name]) for name in sorted(columns)}
    head = msgspec.json.encode(
        msgspec.structs.replace(
            header,
            format=FORMAT_VERSION,
            columns=tuple((name, column.dtype.str, column.shape) for name, column in ordered.items()),
            body_bytes=sum(column.nbytes for column in ordered.values()),
        )
    )
    packer = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compressobj()
    body = [packer.compress(column.data.cast("B")) for column in ordered.values() if column.nbytes]
    parts = (MAGIC, bytes((FORMAT_VERSION,)), LENGTH.pack(len(head)), head, *body, packer.flush())
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join((*parts, LENGTH.pack(checksum)))


def decode(data: bytes) -> Snapshot:
    """Read a snapshot back; its columns are read-only views of one buffer.

    Raises ``SnapshotRefusedError`` for anything but a whole, unharmed snapshot of a known version.
    """
    header, start = _header_and_body_start(data)
    if len(data) < start + LENGTH.size:
        raise SnapshotRefusedError("the snapshot is cut short")
    view = memoryview(data)
    if zlib.crc32(view[: -LENGTH.size]) != LENGTH.unpack(view[-LENGTH.size :])[0]:
        raise SnapshotRefusedError("the snapshot's checksum does not fit its bytes")
    return Snapshot(header, _cut(header, _unpacked(view[start : -LENGTH.size], header.body_bytes)))


def read_header(data: bytes) -> SnapshotHeader:
    """The header alone, for listings; nothing else is checked. Raises ``SnapshotRefusedError``."""
    return _header_and_body_start(data)[0]


def check_origin(header: SnapshotHeader, *, config_hash: str, cluster: str, topic: str, partition: int) -> None:
    """Refuse (``SnapshotRefusedError``) a snapshot of other settings, another cluster, topic or partition."""
    expected = (config_hash, cluster, topic, partition)
    found = (header.config_hash, header.cluster, header.topic, header.partition)
    for what, ours, theirs in zip(("settings", "cluster", "topic", "partition"), expected, found, strict=True):
        if ours != theirs:
            raise SnapshotRefusedError(f"the snapshot is of other {what}: {theirs}, not {ours}")


def _portable(column: NDArray[Any]) -> NDArray[Any]:
    """Contiguous and little-endian, as the format says."""
    assert column.dtype.kind in NUMBER_KINDS, "snapshots hold numbers only"
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<"))


def _header_and_body_start(data: bytes) -> tuple[SnapshotHeader, int]:
    start = len(MAGIC) + 1 + LENGTH.size
    if len(data) < start or not data.startswith(MAGIC):
        raise SnapshotRefusedError("these bytes are no snapshot")
    version = data[len(MAGIC)]
    if version != FORMAT_VERSION:
        raise SnapshotRefusedError(
            f"the snapshot has format {version}, this version reads format {FORMAT_VERSION}: run the one that wrote it"
        )
    (length,) = LENGTH.unpack_from(data, len(MAGIC) + 1)
    try:
        header = msgspec.json.decode(data[start : start + length], type=SnapshotHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotRefusedError(f"the snapshot's header cannot be read: {error}") from error
    if not 0 <= header.body_bytes <= BODY_BYTES_MAX:
        raise SnapshotRefusedError(f"the snapshot's header claims a body of {header.body_bytes} bytes")
    return header, start + length


def _unpacked(body: memoryview, expected_bytes: int) -> NDArray[np.uint8]:
    """Decompress into one buffer of the size that the header says, and refuse a body of any other size."""
    buffer = np.empty(expected_bytes + 1, np.uint8)  # memory is committed as it is written, not by what a header claims
    room, filled = buffer.data, 0
    reader = zstandard.ZstdDecompressor().stream_reader(body)
    try:
        while filled < len(buffer) and (count := reader.readinto(room[filled:])):
            filled += count
    except zstandard.ZstdError as error:
        raise SnapshotRefusedError(f"the snapshot's body cannot be decompressed: {error}") from error
    if filled != expected_bytes:
        raise SnapshotRefusedError(f"the snapshot's body does not have the {expected_bytes} bytes that its header says")
    return buffer[:expected_bytes]


def _cut(header: SnapshotHeader, body: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    position = 0
    for name, kind, shape in header.columns:
        dtype = _number_type(name, kind)
        count = math.prod(shape)
        if min(shape, default=0) < 0 or position + count * dtype.itemsize > len(body):
            raise SnapshotRefusedError(f"the snapshot's column {name} does not fit into its body")
        columns[name] = np.frombuffer(body.data, dtype, count, position).reshape(shape)
        position += count * dtype.itemsize
    if position != len(body):
        raise SnapshotRefusedError("the snapshot's body holds more than its columns")
    return columns


def _number_type(name: str, kind: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(kind)
    except (TypeError, ValueError) as error:
        raise SnapshotRefusedError(f"the snapshot's column {name} has an unknown type: {kind}") from error
    if dtype.kind not in NUMBER_KINDS or dtype.names is not None:
        raise SnapshotRefusedError(f"the snapshot's column {name} has the type {kind}, which no snapshot holds")
    return dtype
