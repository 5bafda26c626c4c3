"""The real worker, ending or standing still at a named point: ``python -m tests.kafka.faulty run --config …``.

Environment: ``FAULT_POINT`` one of :data:`tests.kafka.faults.POINTS`, ``FAULT_COUNT`` at which passage (the first is
1), ``FAULT_SIGNAL`` (``KILL`` or ``STOP``), ``FAULT_CHUNK_BYTES`` a chunk's size, so that small states have several,
``FAULT_LIFE`` a mark on what is written. Nothing in ``detector`` knows of this: the client's producer is replaced by a
subclass, and a few methods are wrapped. The signal is announced by one log line, ``fault_reached``, since a process
that is killed says nothing more.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from detector.cli import main
from detector.io import kafka_transactions
from detector.io.kafka_snapshots import KafkaSnapshotStore
from detector.io.transaction_probe import TransactionProbe
from detector.state import chunks_of
from detector.worker import snapshots
from detector.worker.assignments import PartitionState
from detector.worker.checkpoint import Membership
from detector.worker.worker import Worker
from tests.kafka.faults import LIFE_HEADER, Fault

FLUSH_S: Final = 2.0
"""For what must have reached a broker before the signal."""


class Trap:
    """Counts passages of the one point that counts. The probe's transactions are told from the worker's."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.probing = False
        self._passages = 0
        self._refused = False

    def passed(self, point: str, before_signal: Callable[[], object] | None = None) -> None:
        """Come past ``point``; at the chosen passage this is the last thing that happens, or the last for a while."""
        if self._is_reached(point):
            if before_signal is not None:
                before_signal()
            self._signal()

    def refuses_offsets(self) -> bool:
        """Whether the group shall refuse offsets, once, so that there is something to abort."""
        self._refused = self._is_reached("in_abort")
        return self._refused

    def aborts(self) -> None:
        """Come past an abort; only the one that was caused counts."""
        if self._refused:
            self._refused = False
            self._signal()

    def _is_reached(self, point: str) -> bool:
        if point != self.fault.point or self.probing is not (point == "in_probe"):
            return False
        self._passages += 1
        return self._passages == self.fault.passage

    def _signal(self) -> None:
        line = {"event": "fault_reached", "point": self.fault.point, "signal": self.fault.signal}
        os.write(2, json.dumps(line).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGSTOP if self.fault.signal == "STOP" else signal.SIGKILL)


class FaultyProducer(Producer):
    """The client's own, passing points around the calls of a transaction."""

    trap: Trap
    _sent = 0

    def init_transactions(self, *args: Any) -> None:
        """Pass once it is done."""
        super().init_transactions(*args)
        self.trap.passed("after_init")

    def begin_transaction(self, *args: Any) -> None:
        """Pass once it is done."""
        super().begin_transaction(*args)
        self._sent = 0
        self.trap.passed("after_begin")

    def produce(self, topic: str, *args: Any, **named: Any) -> None:
        """Mark the message, queue it, and pass when it is a transaction's first or a later chunk."""
        if self.trap.fault.life:
            named["headers"] = [*(named.get("headers") or ()), (LIFE_HEADER, self.trap.fault.life.encode())]
        super().produce(topic, *args, **named)
        self._sent += 1
        flush = partial(super().flush, FLUSH_S)
        if self._sent == 1:
            self.trap.passed("in_probe", flush)
            self.trap.passed("after_first_send", flush)
        if topic.endswith(".state") and _chunk_of(named.get("key")) > 0:
            self.trap.passed("in_snapshot_chunks", flush)

    def flush(self, *args: Any) -> int:
        """Pass before the flush of a stop, which waits; those that close a producer take a moment only."""
        if args and args[0] >= FLUSH_S:
            self.trap.passed("before_flush")
        return int(super().flush(*args))

    def send_offsets_to_transaction(self, *args: Any) -> None:
        """Pass before and after, or refuse as a coordinator does when the group has moved on."""
        self.trap.passed("before_send_offsets")
        if self.trap.refuses_offsets():
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "refused on purpose", False, False, True))
        super().send_offsets_to_transaction(*args)
        self.trap.passed("after_send_offsets")

    def commit_transaction(self, *args: Any) -> None:
        """Pass before and after."""
        self.trap.passed("before_commit")
        super().commit_transaction(*args)
        self.trap.passed("after_commit")

    def abort_transaction(self, *args: Any) -> None:
        """Pass before."""
        self.trap.aborts()
        super().abort_transaction(*args)


def _chunk_of(key: bytes | None) -> int:
    """Number of a chunk, by its key; 0 for what is none."""
    number = (key or b"").rpartition(b"/")[2]
    return int(number) if number.isdigit() else 0


def set_trap(trap: Trap) -> None:
    """Put the points in their places."""
    FaultyProducer.trap = trap
    vars(kafka_transactions)["Producer"] = FaultyProducer
    probe, records = TransactionProbe.__call__, KafkaSnapshotStore._records
    replay, hand_over = Worker._replay, Membership._hand_over

    def in_small_chunks(data: bytes, chunk_bytes_max: int) -> list[bytes]:
        return chunks_of(data, min(chunk_bytes_max, trap.fault.chunk_bytes))

    def probing(self: TransactionProbe, *args: Any) -> None:
        trap.probing = True
        try:
            probe(self, *args)
        finally:
            trap.probing = False

    def reading(self: KafkaSnapshotStore, *args: Any) -> Iterator[Any]:
        for record in records(self, *args):
            yield record
            trap.passed("in_restore")

    def replaying(self: Worker, partition: Any, batch: Any) -> Any:
        was_replaying = partition.state is PartitionState.REPLAYING
        rest = replay(self, partition, batch)
        if was_replaying:
            trap.passed("in_replay")
        return rest

    def handing_over(self: Membership, partitions: Any) -> None:
        if partitions:
            trap.passed("in_revoke")
        hand_over(self, partitions)

    for owner, name, wrapper in (
        (TransactionProbe, "__call__", probing),
        (KafkaSnapshotStore, "_records", reading),
        (Worker, "_replay", replaying),
        (Membership, "_hand_over", handing_over),
    ):
        setattr(owner, name, wrapper)
    vars(snapshots)["chunks_of"] = in_small_chunks


if __name__ == "__main__":
    set_trap(Trap(Fault.of_environment()))
    main()
