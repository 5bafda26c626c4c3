"""The real worker, ending or standing still at a named point: ``python -m tests.kafka.faulty run --config …``.

Environment: ``FAULT_POINT`` one of :data:`tests.kafka.faults.POINTS`, ``FAULT_COUNT`` at which passage (the first is 1), ``FAULT_SIGNAL``
(``KILL`` or ``STOP``), ``FAULT_CHUNK_BYTES`` a chunk's size, so that small states have several, ``FAULT_LIFE`` a mark on
what is written. Nothing in ``detector``
knows of this: the client's producer is replaced by a subclass, and a few methods are wrapped. The signal is announced by
one log line, ``fault_reached``, since a process that is killed says nothing more.
"""

import functools
import json
import os
import signal
from collections.abc import Callable, Iterator
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
        return self._passages == self.fault.count

    def _signal(self) -> None:
        line = {"event": "fault_reached", "point": self.fault.point, "signal": self.fault.signal}
        os.write(2, json.dumps(line).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGSTOP if self.fault.signal == "STOP" else signal.SIGKILL)


def producer_of(trap: Trap) -> type[Producer]:
    """A producer that passes points around the calls of a transaction."""

    class FaultyProducer(Producer):
        """The client's own, with points."""

        _sent = 0

        def init_transactions(self, *args: Any) -> None:
            super().init_transactions(*args)
            trap.passed("after_init")

        def begin_transaction(self, *args: Any) -> None:
            super().begin_transaction(*args)
            self._sent = 0
            trap.passed("after_begin")

        def produce(self, topic: str, *args: Any, **named: Any) -> None:
            if trap.fault.life:
                named["headers"] = [*(named.get("headers") or ()), (LIFE_HEADER, trap.fault.life.encode())]
            super().produce(topic, *args, **named)
            self._sent += 1
            flush = functools.partial(super().flush, FLUSH_S)
            if self._sent == 1:
                trap.passed("in_probe", flush)
                trap.passed("after_first_send", flush)
            if topic.endswith(".state") and _chunk_of(args, named) > 0:
                trap.passed("in_snapshot_chunks", flush)

        def flush(self, *args: Any) -> int:
            if args and args[0] > 0:
                trap.passed("before_flush")
            return super().flush(*args)

        def send_offsets_to_transaction(self, *args: Any) -> None:
            trap.passed("before_send_offsets")
            if trap.refuses_offsets():
                raise KafkaException(
                    KafkaError(KafkaError.ILLEGAL_GENERATION, "refused on purpose", False, False, True)
                )
            super().send_offsets_to_transaction(*args)
            trap.passed("after_send_offsets")

        def commit_transaction(self, *args: Any) -> None:
            trap.passed("before_commit")
            super().commit_transaction(*args)
            trap.passed("after_commit")

        def abort_transaction(self, *args: Any) -> None:
            trap.aborts()
            super().abort_transaction(*args)

    return FaultyProducer


def _chunk_of(args: tuple[Any, ...], named: dict[str, Any]) -> int:
    key = named.get("key", args[1] if len(args) > 1 else b"")
    number = (key or b"").rpartition(b"/")[2]
    return int(number) if number.isdigit() else 0


def set_trap(trap: Trap) -> None:
    """Put the points in their places."""
    kafka_transactions.Producer = producer_of(trap)  # type: ignore[misc]  # the one seam: a module's own name
    snapshots.chunks_of = functools.partial(chunks_of, chunk_bytes_max=trap.fault.chunk_bytes)  # type: ignore[attr-defined]
    probe, records = TransactionProbe.__call__, KafkaSnapshotStore._records
    replay, hand_over = Worker._replay, Membership._hand_over

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

    TransactionProbe.__call__ = probing  # type: ignore[method-assign]
    KafkaSnapshotStore._records = reading  # type: ignore[method-assign]
    Worker._replay = replaying  # type: ignore[method-assign]
    Membership._hand_over = handing_over  # type: ignore[method-assign]


if __name__ == "__main__":
    set_trap(Trap(Fault.of_environment()))
    main()
