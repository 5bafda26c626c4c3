"""The loop: fetch, process, send, commit, again and again, until told to stop.

Records, messages, commits, pipelines and callbacks run on the one thread that calls :meth:`Worker.run`; snapshots are
encoded, written and fetched beside it. Other threads may call ``stop``, ``alive_age_s`` and ``ready``.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np

from detector.batches import TIMESTAMP_UNKNOWN, Event, Output, RecordBatch
from detector.errors import DeliveryFailedError, TransactionAbortedError
from detector.ports import Clock, Message, SnapshotStore, Source, TopicPartition
from detector.worker.assignments import NOT_OPEN, Assignments, OwnedPartition, PartitionState, PipelineFactory
from detector.worker.bootstraps import Bootstrap
from detector.worker.checkpoint import LAST_SNAPSHOTS, Checkpoint, Membership
from detector.worker.dead_letters import dead_letter
from detector.worker.delivery import Delivery
from detector.worker.gaps import Gaps
from detector.worker.limits import StateLimits, WorkerLimits
from detector.worker.observer import BatchReport, WorkerObserver
from detector.worker.restores import Restorer, begin_at
from detector.worker.snapshots import SnapshotTaker
from detector.worker.topics import OutputTopics

OutputListener = Callable[[TopicPartition, RecordBatch, Output], None]

DEAD_LETTER_BYTES_MIN: Final = 1_024
"""Below which dead letters are not cut, however little their topic takes: what says why is most of it then."""

STOP_REQUESTED: Final = "requested"


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        """Seconds for measuring durations."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class StateKeeping:
    """What a worker needs to keep models over restarts. Each executor has one thread, and the worker ends both.

    With ``bootstrap`` partitions without a commit learn before they say anything.
    """

    store: SnapshotStore
    limits: StateLimits
    writing: Executor
    reading: Executor
    bootstrap: Bootstrap | None = None

    def close(self) -> None:
        """End without waiting."""
        self.store.close()
        self.writing.shutdown(wait=False, cancel_futures=True)
        self.reading.shutdown(wait=False, cancel_futures=True)


class Worker:
    """Reads records, drives one pipeline per owned partition, delivers what comes out, and then commits.

    ``on_output`` sees every batch with its output, after its messages were handed to the sink (for tables and files,
    not for telemetry). Any exception ends :meth:`run` with nothing committed after it: what a pipeline could not
    process is never skipped. Without ``keeping`` models live as long as the process owns their partition.
    """

    def __init__(
        self,
        *,
        source: Source,
        delivery: Delivery,
        pipeline_factory: PipelineFactory,
        topics: OutputTopics,
        limits: WorkerLimits,
        clock: Clock,
        observer: WorkerObserver,
        keeping: StateKeeping | None = None,
        on_output: OutputListener | None = None,
    ) -> None:
        assert keeping is not None or not delivery.transactional
        self._source = source
        self._delivery = delivery
        self._sink = delivery.sink
        self._topics = topics
        self._event_headers = (("content-type", topics.event_content_type.encode()),)
        self._limits = limits
        self._dead_letter_bytes_max = limits.dead_letter_bytes_max
        self._clock = clock
        self._observer = observer
        self._on_output = on_output
        self._assignments = Assignments(pipeline_factory, limits)
        self._checkpoint = Checkpoint(
            source=source,
            delivery=delivery,
            assignments=self._assignments,
            interval_s=limits.commit_interval_s,
            clock=clock,
            observer=observer,
        )
        self._keeping = keeping
        self._taker = None if keeping is None else self._new_taker(keeping)
        self._restorer = None if keeping is None else self._new_restorer(keeping)
        self._gaps = Gaps(
            source=source,
            assignments=self._assignments,
            on_loss=limits.on_gap,
            keeps=keeping is not None,
            clock=clock,
            observer=observer,
        )
        self._membership = Membership(
            source=source,
            assignments=self._assignments,
            gaps=self._gaps,
            checkpoint=self._checkpoint,
            taker=self._taker,
            limits=limits,
            clock=clock,
            observer=observer,
        )
        self._stopping = False
        self._turned_s = clock.monotonic_s()
        self._crowded_since_s: float | None = None
        self._held = False

    def _new_taker(self, keeping: StateKeeping) -> SnapshotTaker:
        return SnapshotTaker(
            store=keeping.store,
            sink=self._sink,
            executor=keeping.writing,
            assignments=self._assignments,
            limits=keeping.limits,
            clock=self._clock,
            observer=self._observer,
        )

    def _new_restorer(self, keeping: StateKeeping) -> Restorer:
        return Restorer(
            source=self._source,
            store=keeping.store,
            executor=keeping.reading,
            assignments=self._assignments,
            limits=keeping.limits,
            clock=self._clock,
            observer=self._observer,
            bootstrap=keeping.bootstrap,
        )

    @property
    def ready(self) -> bool:
        """Whether the group has told us what is ours (perhaps nothing), and all of it has its models."""
        return self._membership.joined and self._assignments.unrestored == 0

    @property
    def restoring_count(self) -> int:
        """Owned partitions whose models are not back yet."""
        return self._assignments.unrestored

    def alive_age_s(self) -> float:
        """Seconds since the loop last turned."""
        return self._clock.monotonic_s() - self._turned_s

    def stop(self) -> None:
        """Ask the loop to end in order; callable from signal handlers and other threads, returns at once."""
        self._stopping = True

    def run(self) -> None:
        """Work until :meth:`stop`; raises what stopped it otherwise, with nothing committed after the failure."""
        try:
            self.begin()
            while not self._stopping:
                self.turn()
            self.finish()
        except BaseException as error:
            self.abandon(error)
            raise

    def begin(self) -> None:
        """Join the group."""
        self._turned_s = self._clock.monotonic_s()
        self._source.subscribe(self._membership)

    def turn(self) -> None:
        """One round: take records, or wait for the sink; then commit if due. Bounded in time by the limits."""
        self._turned_s = self._clock.monotonic_s()
        try:
            self._checkpoint.raise_doom()
            self._turn()
        except TransactionAbortedError as error:
            self._go_back(error)

    def _turn(self) -> None:
        if self._restorer is not None:
            self._restorer.turn()
        self._gaps.turn()
        ready = self._delivery.ready(self._limits.poll_timeout_s)
        if not ready or self._is_crowded():
            self._wait_for_room(ready=ready)
        else:
            self._take()
        if ready:
            self._sink.poll(0)
            if self._restorer is not None:
                self._send_events(self._restorer.take_untold())
            self._checkpoint.turn()
            if self._taker is not None:
                self._taker.turn()

    def _go_back(self, error: TransactionAbortedError) -> None:
        """Give up the transaction, and begin anew from the last commit everything that may have had a part in it."""
        self._checkpoint.abort()
        if error.too_large == self._topics.dead_letters:
            self._dead_letter_bytes_max = max(DEAD_LETTER_BYTES_MIN, self._dead_letter_bytes_max // 2)
        elif error.too_large is not None:
            raise DeliveryFailedError(str(error)) from error
        if self._taker is not None and self._restorer is not None:
            self._taker.drop(str(error))
            self._restorer.go_back()
        restarted = self._assignments.restart()
        self._source.gate(restarted)
        self._observer.transaction_aborted(str(error), len(restarted))

    def finish(self) -> None:
        """Deliver all that was fetched within ``shutdown_timeout_s``, snapshot and commit it, and leave the group."""
        deadline_s = self._clock.monotonic_s() + self._limits.shutdown_timeout_s
        try:
            self._commit_all(deadline_s)
        except TransactionAbortedError as error:
            self._delivery.abort()  # the next owner begins at the last commit
            self._observer.transaction_aborted(str(error), 0)
        self._membership.end()
        self._source.close()
        self._sink.close()
        if self._keeping is not None:
            self._keeping.close()
        self._observer.stopped(STOP_REQUESTED)

    def _commit_all(self, deadline_s: float) -> None:
        if not self._delivery.ready(self._limits.poll_timeout_s):
            return  # nothing was sent
        self._checkpoint.raise_doom()
        self._sink.flush(self._limits.shutdown_timeout_s)
        self._checkpoint.commit()
        places = [partition.place for partition in self._assignments.all()]
        for _ in range(LAST_SNAPSHOTS):
            if self._taker is not None:
                self._taker.finish(places, deadline_s)
            if not self._checkpoint.settle(deadline_s - self._clock.monotonic_s()):
                return
            self._checkpoint.commit()

    def abandon(self, error: BaseException) -> None:
        """Leave the group without delivering or committing; the first error stays the one that is raised."""
        self._membership.end()
        keeping = () if self._keeping is None else (self._keeping.close,)
        for close in (*keeping, self._sink.close, self._source.close):
            with contextlib.suppress(Exception):  # what fails in here follows from the first error
                close()
        self._observer.stopped(f"{type(error).__name__}: {error}")

    def _take(self) -> None:
        began_s = self._clock.monotonic_s()
        batches = self._source.fetch(self._limits.batch_records_max, self._limits.poll_timeout_s)
        fetch_seconds = self._clock.monotonic_s() - began_s
        for number, batch in enumerate(batches):
            try:
                self._process(batch, fetch_seconds)
            except TransactionAbortedError:
                self._skip(batches[number:])
                raise
            fetch_seconds = 0.0

    def _skip(self, batches: Sequence[RecordBatch]) -> None:
        """Remember that these were fetched for nothing."""
        for batch in batches:
            partition = self._assignments.at(TopicPartition(batch.topic, batch.partition))
            partition.skip(int(batch.offsets[0]))

    def _process(self, batch: RecordBatch, fetch_seconds: float) -> None:
        partition = self._assignments.at(TopicPartition(batch.topic, batch.partition))
        if not partition.live:
            rest = self._replay(partition, batch)
            if rest is None:
                return
            batch = rest
        if partition.processed is None and self._keeping is not None:
            begin_at(partition, int(batch.offsets[0]))
        began_s = self._clock.monotonic_s()
        output = partition.pipeline.process(batch)
        partition.guard.add(len(batch), output.rejects)
        self._send(batch, output)
        partition.processed = output.next_offset
        process_seconds = self._clock.monotonic_s() - began_s
        self._report(partition, batch, output, fetch_seconds, process_seconds)
        if self._on_output is not None:
            self._on_output(partition.place, batch, output)

    def _replay(self, partition: OwnedPartition, batch: RecordBatch) -> RecordBatch | None:
        """Learn what was delivered before, without a word; give what lies past it, if anything does."""
        if partition.state in NOT_OPEN:
            # The gate let it through; the records are read again when the partition is opened.
            partition.skip(int(batch.offsets[0]))
            return None
        rows = int(np.searchsorted(batch.offsets, partition.replay_until))
        if rows:
            partition.pipeline.process(batch.rows(0, rows))
            self._observer.replayed(partition.place, rows)
        if int(batch.offsets[-1]) + 1 >= partition.replay_until:
            self._assignments.move(partition, PartitionState.LIVE)
        return batch.rows(rows, len(batch)) if rows < len(batch) else None

    def _send_events(self, events: Sequence[Event]) -> None:
        for event in events:
            self._sink.send(Message(self._topics.events, event.key, event.value, self._event_headers))

    def _send(self, batch: RecordBatch, output: Output) -> None:
        self._send_events(output.events)
        bytes_max = self._dead_letter_bytes_max
        for reject in output.rejects:
            self._sink.send(dead_letter(self._topics.dead_letters, batch, reject, bytes_max=bytes_max))

    def _report(
        self,
        partition: OwnedPartition,
        batch: RecordBatch,
        output: Output,
        fetch_seconds: float,
        process_seconds: float,
    ) -> None:
        known = batch.timestamps_ms[batch.timestamps_ms != TIMESTAMP_UNKNOWN]
        self._observer.batch_processed(
            BatchReport(
                partition=partition.place,
                output=output,
                pipeline=partition.pipeline,
                fetch_seconds=fetch_seconds,
                process_seconds=process_seconds,
                oldest_timestamp_ms=int(np.min(known)) if len(known) else TIMESTAMP_UNKNOWN,
                newest_timestamp_ms=int(np.max(known)) if len(known) else TIMESTAMP_UNKNOWN,
                processed_ms=self._clock.wall_ms(),
            )
        )

    def _is_crowded(self) -> bool:
        """Whether too much is unacknowledged; ends a hold when that is over."""
        if self._sink.pending() > self._limits.pending_messages_max:
            return True
        self._crowded_since_s = None
        if self._held:
            self._held = False
            self._source.release()
            self._observer.released()
        return False

    def _wait_for_room(self, *, ready: bool) -> None:
        """Serve the sink; after ``hold_after_s`` serve the group, too, with its partitions paused."""
        moment_s = self._clock.monotonic_s()
        if self._crowded_since_s is None:
            self._crowded_since_s = moment_s
        if ready:
            self._sink.poll(self._limits.poll_timeout_s)
        if not self._held and moment_s - self._crowded_since_s >= self._limits.hold_after_s:
            self._held = True
            self._source.hold()
            self._observer.held()
        if self._held:
            self._take()
