"""Snapshots out of the state topic and back into it, by hand: with the offset that belongs to them, or not at all."""

import time
import zlib
from typing import Final

import msgspec

from detector.errors import DetectorError, SnapshotRefusedError
from detector.ports import Committed, Message, OffsetRange, Receipt, Sink, SnapshotStore, TopicPartition
from detector.state import Archive, Pointer, chunks_of, encode, parse_pointer
from detector.worker.gaps import gap_at
from detector.worker.outlook import Judging

WINDOW_CHUNKS: Final = 16
"""Chunks on their way at once."""
RECEIPT_TIMEOUT_S: Final = 60.0
"""Without any receipt for so long, writing is given up."""
POLL_S: Final = 0.1


def stored(store: SnapshotStore, place: TopicPartition, committed: Committed) -> tuple[Pointer, bytes]:
    """The state beside the committed offset, else the newest one in the state topic that is not past it.

    Whatever settings or cluster it is of. The bytes are empty for the empty state. Raises ``DetectorError`` where there
    is none, and ``StateUnavailableError``.
    """
    if committed.offset < 0:
        raise DetectorError(f"{place.topic}[{place.partition}]: the group has committed nothing, so there is no state")
    named = parse_pointer(committed.metadata)
    reasons: list[str] = []
    found = [pointer for pointer in store.scan(place) if pointer.offset <= committed.offset] if named is None else []
    for pointer in found if named is None else [named]:
        if pointer.is_empty:
            return pointer, b""
        try:
            return pointer, store.read(place, pointer)
        except SnapshotRefusedError as error:
            reasons.append(str(error))
    said = "; ".join(reasons) or "no pointer beside the committed offset, and no snapshot up to it in the state topic"
    raise DetectorError(f"{place.topic}[{place.partition}]: no state to be had: {said}")


def moved(archive: Archive, cluster: str) -> Archive:
    """The same state as one of ``cluster``, whose topic must hold the same records at the same offsets."""
    snapshot = archive.snapshot()
    pointer = msgspec.structs.replace(archive.pointer, cluster=cluster)
    if snapshot is None:
        return msgspec.structs.replace(archive, pointer=pointer)
    data = encode(msgspec.structs.replace(snapshot.header, cluster=cluster), lambda: snapshot.columns)
    pointer = msgspec.structs.replace(
        pointer, size_bytes=len(data), crc=zlib.crc32(data), chunk_count=len(chunks_of(data))
    )
    return msgspec.structs.replace(archive, pointer=pointer, data=data)


def import_fault(
    archive: Archive, current: Committed, kept: OffsetRange, cluster: str, judging: Judging, *, force: bool
) -> str | None:
    """Why this state must not become the partition's; None where it may.

    ``kept``: first offset and end of the input; ``current``: what the group has committed; ``force`` moves that.
    """
    pointer = archive.pointer
    if pointer.cluster != cluster:
        return (
            f"it is of the cluster {pointer.cluster}, this is {cluster}; --cluster-changed takes it over, "
            "where the topic here holds the same records at the same offsets"
        )
    expected = judging.hash_of(archive.topic)
    if not pointer.is_empty and pointer.config_hash != expected:
        return f"it was learnt under other settings ({pointer.config_hash}, not {expected})"
    if archive.committed > kept.end:
        return f"it is of offset {archive.committed}, but the input ends at {kept.end}"
    gap = gap_at(pointer.offset, archive.committed, kept)
    if gap is not None:
        return gap.reason
    if current.offset >= 0 and current.offset != archive.committed and not force:
        verb = "score again" if current.offset > archive.committed else "leave out"
        records = abs(current.offset - archive.committed)
        return (
            f"the group is at offset {current.offset}, the file at {archive.committed}: that would {verb} {records} "
            "records; --force does it"
        )
    return None


def next_generation(store: SnapshotStore, place: TopicPartition, current: Committed) -> int:
    """Under which a snapshot may be written without harming the one in use."""
    named = parse_pointer(current.metadata)
    if named is not None:
        return named.generation + 1
    found = store.scan(place)
    return found[0].generation + 1 if found else 1


def write(store: SnapshotStore, sink: Sink, place: TopicPartition, archive: Archive, generation: int) -> Pointer:
    """Write the archive's snapshot and read it back; gives the pointer to it.

    Raises ``DetectorError`` where it is not taken, ``SnapshotRefusedError`` where other bytes come back, and
    ``StateUnavailableError``.
    """
    pointer = msgspec.structs.replace(archive.pointer, generation=generation).at(0, 0)
    if pointer.is_empty:
        return pointer
    messages = store.messages(place, pointer, chunks_of(archive.data))
    offsets = _sent(sink, list(messages))
    placed = pointer.at(min(offsets), max(offsets))
    if store.read(place, placed) != archive.data:
        raise SnapshotRefusedError("what came back from the state topic is not what was written")
    return placed


def _sent(sink: Sink, messages: list[Message]) -> list[int]:
    receipts: list[Receipt] = []
    heard_s, sent = time.monotonic(), 0
    while len(receipts) < len(messages):
        while sent < len(messages) and sent - len(receipts) < WINDOW_CHUNKS:
            sink.send(messages[sent], receipts.append)
            sent += 1
        before = len(receipts)
        sink.poll(POLL_S)
        failed = next((receipt for receipt in receipts if receipt.offset is None), None)
        if failed is not None:
            raise DetectorError(f"a chunk was not delivered: {failed.reason}")
        if len(receipts) > before:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > RECEIPT_TIMEOUT_S:
            raise DetectorError(f"no chunk was acknowledged within {RECEIPT_TIMEOUT_S:.0f} s")
    return [receipt.offset for receipt in receipts if receipt.offset is not None]
