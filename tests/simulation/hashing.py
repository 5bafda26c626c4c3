"""A light pipeline that forgets nothing: its state is a running hash over every record that it saw.

A record that is lost, repeated or out of order, or a state that was restored wrongly, changes every later event. Any
cut of the stream into batches gives the same.
"""

from hashlib import blake2b
from typing import Final

import numpy as np

from detector.batches import BatchCounts, Event, LeftOut, Output, RecordBatch, Reject
from detector.ports import TopicPartition
from detector.state import Snapshot, SnapshotHeader
from tests.workers import TwoSlices

DIGEST_BYTES: Final = 8
HISTORY: Final = 12
"""Digests that are kept, so that a snapshot cannot be compressed into one small chunk."""


class HashingPipeline:
    """Emits an event for about every second record, naming its place and the hash so far; rejects ``bad`` ones."""

    def __init__(self, place: TopicPartition) -> None:
        self.watermark_ms = -1
        self.open_episodes = 0
        self.series_count = 0
        self._place = place
        self._digests = bytes(DIGEST_BYTES * HISTORY)

    @property
    def config_hash(self) -> str:
        return "hashing"

    @property
    def state(self) -> bytes:
        """Everything that there is."""
        return self._digests

    def state_bytes(self) -> int:
        return len(self._digests)

    def begin_snapshot(self, *, offset: int, cluster: str) -> TwoSlices:
        header = SnapshotHeader(
            config_hash=self.config_hash,
            cluster=cluster,
            topic=self._place.topic,
            partition=self._place.partition,
            offset=offset,
            watermark_ms=self.watermark_ms,
            series_count=self.series_count,
            open_episodes=self.open_episodes,
        )
        return TwoSlices(header, {"digests": np.frombuffer(self._digests, dtype=np.uint8)})

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        assert snapshot.header.cluster == cluster
        self._digests = snapshot.columns["digests"].tobytes()
        return snapshot.header.offset

    def forget_episodes(self) -> None:
        """There are none."""

    def take_left_out(self) -> list[LeftOut]:
        return []

    def process(self, batch: RecordBatch) -> Output:
        assert TopicPartition(batch.topic, batch.partition) == self._place
        events, rejects = [], []
        digests = self._digests
        for row, (offset, value) in enumerate(zip(batch.offsets.tolist(), batch.values, strict=True)):
            seen = b"%d %s" % (offset, b"nothing" if value is None else value)
            digest = blake2b(digests[-DIGEST_BYTES:] + seen, digest_size=DIGEST_BYTES).digest()
            digests = digests[DIGEST_BYTES:] + digest
            if value is None or value.startswith(b"bad"):
                rejects.append(Reject(row, offset, "invalid_json", "not JSON"))
            elif digest[0] % 2:
                events.append(Event(b"key", b"%d/%d/%s" % (self._place.partition, offset, digest.hex().encode())))
        self._digests = digests
        return Output(events, rejects, int(batch.offsets[-1]) + 1, BatchCounts(records=len(batch)))
