"""One pass over a partition of log lines: records go down the rooms once and come out as a few events.

Lines become templates, templates are counted in windows of event time, and what a closed window says becomes episodes.
No I/O, no clock, no randomness: what comes out is a function of the records, in offset order, and of nothing else. Any
cut of the stream into batches gives the same events with the same bits.

A window closes when the partition's watermark, the largest event time so far, has passed its end by the lateness:
records are processed up to the one that makes it do so, then the windows close, then that record goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from detector.batches import (
    TIMESTAMP_UNKNOWN,
    WATERMARK_NONE,
    IntArray,
    LeftOut,
    Output,
    RecordBatch,
    SeriesIdentity,
    SeriesKey,
)
from detector.columns import Columns, Deferred, WholeCopy, taken, under
from detector.decoders import JoinCounts, Joiner, LabelFault, LogDecoder
from detector.encoders import LogEncoder, LogModelFacts, Provenance
from detector.episodes import LogJudge, LogPolicyBook
from detector.log_batches import LogBatch, LogTransition
from detector.log_passage import LogPassage, by_service, no_later, own_times, part_of
from detector.log_services import Lines, LogService, Redact, ServiceLimits, laid_out, lines_of, taken_apart
from detector.passage import StageTimes
from detector.series import NO_SLOT, Routed, SeriesTable, identify
from detector.state import Snapshot, SnapshotHeader, StateCopy, check_origin

MODEL_NAME: Final = "log_signals"
MODEL_VERSION: Final = 2
"""Of what the joiner, the templates, the signals and the rules of windows make of the same records."""
NO_SLOTS: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class WindowTimes:
    """Length of a window, and how long after its end lines of it are waited for; milliseconds of event time."""

    length_ms: int = 60_000
    lateness_ms: int = 10_000

    def oldest_open(self, watermark_ms: int) -> int:
        """Start of the oldest window that is open at this watermark."""
        bound_ms = watermark_ms - self.lateness_ms
        return bound_ms - bound_ms % self.length_ms

    def closes_at(self, window_ms: int) -> int:
        """Watermark at which the window that begins at ``window_ms`` closes."""
        return window_ms + self.length_ms + self.lateness_ms


class LogPipeline:
    """State and flow of one partition of a log topic; the worker treats it as one of metrics.

    ``services`` says how much is held of each service, ``cached_lines_max`` how many forms of lines all of them may
    remember for speed; ``redact`` makes text fit to be shown. ``timer`` measures stages
    for telemetry and influences nothing.
    """

    def __init__(
        self,
        *,
        topic: str,
        partition: int,
        decoder: LogDecoder,
        joiner: Joiner,
        series: SeriesTable,
        services: ServiceLimits,
        times: WindowTimes,
        cached_lines_max: int,
        policies: LogPolicyBook,
        judge: LogJudge,
        encoder: LogEncoder,
        redact: Redact,
        config_hash: str,
        timer: Callable[[], float],
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._decoder = decoder
        self._joiner = joiner
        self._series = series
        self._limits = services
        self._times = times
        self._cached_lines_max = cached_lines_max
        self._policies = policies
        self._judge = judge
        self._encoder = encoder
        self._redact = redact
        self._config_hash = config_hash
        self._timer = timer
        self._services: dict[int, LogService] = {}
        self._watermark_ms = WATERMARK_NONE
        self._model = LogModelFacts(MODEL_NAME, MODEL_VERSION, times.length_ms, config_hash)
        self._joined = JoinCounts()
        self._expires = series.expires

    @property
    def config_hash(self) -> str:
        """What decides events; a state holds only under the hash it was learnt with."""
        return self._config_hash

    @property
    def watermark_ms(self) -> int:
        """Largest event time of a line in epoch milliseconds, or ``WATERMARK_NONE``."""
        return self._watermark_ms

    @property
    def series_count(self) -> int:
        """Services with live state."""
        return len(self._series)

    @property
    def open_episodes(self) -> int:
        """Episodes opened and not yet closed."""
        return self._judge.open_count()

    def state_bytes(self) -> int:
        """Bytes of templates, windows and episodes; of templates as estimated."""
        services = sum(service.state_bytes() for service in self._services.values())
        return services + self._judge.state_bytes() + self._series.last_ms.nbytes

    def snapshot(self, *, offset: int, cluster: str) -> tuple[SnapshotHeader, Deferred]:
        """Copy the state after all records before ``offset``."""
        copy = self.begin_snapshot(offset=offset, cluster=cluster)
        return copy.header, copy.columns

    def begin_snapshot(self, *, offset: int, cluster: str) -> StateCopy:
        """Copy the state after all records before ``offset``: at once, so it is complete when it is begun."""
        slots = self._series.live_slots()
        header = SnapshotHeader(
            config_hash=self._config_hash,
            cluster=cluster,
            topic=self._topic,
            partition=self._partition,
            offset=offset,
            watermark_ms=self._watermark_ms,
            series_count=len(slots),
            open_episodes=self.open_episodes,
        )
        series = self._series.begin_copy(slots)
        series.take(np.arange(len(slots)))
        last_ms = self._series.last_ms[slots]
        kept = [self._services[slot].copy() for slot in slots.tolist()]
        parts = {
            "series": series,
            "services": WholeCopy(lambda: {**laid_out(kept), "last_ms": last_ms}),
            "episodes": self._judge.copy(),
            "joiner": _whole(self._joiner.columns()),
        }
        return StateCopy(header, NO_SLOTS, parts)

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        """Become what the snapshot says; returns the offset to go on from. Only a new pipeline may be restored.

        Raises ``SnapshotRefusedError`` for a snapshot of other settings, another partition or another cluster.
        """
        header, columns = snapshot.header, snapshot.columns
        check_origin(
            header, config_hash=self._config_hash, cluster=cluster, topic=self._topic, partition=self._partition
        )
        slots = self._series.restore(under("series", columns))
        services = under("services", columns)
        self._series.last_ms[slots] = taken(services, "last_ms", np.dtype(np.int64), slots.shape)
        for slot, kept in zip(slots.tolist(), taken_apart(services, len(slots)), strict=True):
            self._services[slot] = LogService.of(kept, self._limits, self._redact)
        self._judge.restore(under("episodes", columns), slots)
        self._joiner.restore(under("joiner", columns))
        self._watermark_ms = header.watermark_ms
        return header.offset

    def forget_episodes(self) -> None:
        """Keep services and what is usual for them, and forget what is known of episodes: none is open then."""
        slots = self._series.live_slots()
        self._judge.evict(slots, 0, self._watermark_ms)
        for slot in slots.tolist():
            self._judge.open_slot(slot, self._policies.choose(self._series.identity(slot)))

    def take_left_out(self) -> list[LeftOut]:
        """Nothing: a snapshot holds everything."""
        return []

    def process(self, batch: RecordBatch) -> Output:
        """Take in every record of ``batch``, which must follow the one before; returns what came of it."""
        assert batch.topic == self._topic
        assert batch.partition == self._partition
        stages = StageTimes(self._timer)
        lines = self._decoder.decode(batch)
        stages.end("decode")
        passage = LogPassage(batch, lines, stages)
        told_ms = own_times(lines, batch.timestamps_ms)
        start = 0 if self._watermark_ms != WATERMARK_NONE else self._begin(passage, told_ms)
        while start < len(lines):
            stop = self._next_close(told_ms, start)
            if stop > start:
                newest_ms = np.maximum.accumulate(np.maximum(told_ms[start:stop], self._watermark_ms))
                joined = self._joiner.feed(no_later(part_of(lines, start, stop), newest_ms))
                passage.join_rejects += joined.rejects
                self._take(passage, joined)
                self._watermark_ms = int(newest_ms[-1])
                start = stop
            else:
                self._close(passage, start)
        return self._output(passage)

    def _begin(self, passage: LogPassage, told_ms: IntArray) -> int:
        """Find the first row that tells a time; what waits until then is of that time, what came out before is late."""
        lines = passage.lines
        told = np.flatnonzero(told_ms != TIMESTAMP_UNKNOWN)
        stop = int(told[0]) if len(told) else len(lines)
        joined = self._joiner.feed(part_of(lines, 0, stop))
        passage.join_rejects += joined.rejects
        passage.counts.late += len(joined)
        if stop < len(lines):
            self._watermark_ms = int(told_ms[stop])
            waiting = self._joiner.flush()
            self._take(passage, no_later(waiting, np.full(len(waiting), self._watermark_ms)))
        return stop

    def _next_close(self, told_ms: IntArray, start: int) -> int:
        """The first row from ``start`` on that makes a window close, or how many rows there are."""
        due_ms = self._times.closes_at(self._times.oldest_open(self._watermark_ms))
        reaching = told_ms[start:] >= due_ms
        first = int(reaching.argmax())
        return start + first if reaching[first] else len(told_ms)

    def _take(self, passage: LogPassage, lines: LogBatch) -> None:
        """Find the services of these lines, and give each its own."""
        windows_ms = lines.times_ms - lines.times_ms % self._times.length_ms
        timely = windows_ms >= self._times.oldest_open(self._watermark_ms)
        passage.counts.late += len(lines) - int(np.count_nonzero(timely))
        slots = np.full(len(lines), NO_SLOT, np.int64)
        start = 0
        while start < len(lines):
            routed = self._series.route(lines.keys, start, slots, self._resolve)
            self._open(passage, routed)
            passage.stages.end("route")
            own = start + np.flatnonzero(timely[start : routed.stop] & (slots[start : routed.stop] != NO_SLOT))
            passage.counts.scored += len(own)
            for slot, part in by_service(slots, own):
                self._learn(passage, slot, lines_of(lines, windows_ms, part))
            passage.stages.end("score")
            start = routed.stop
            if routed.full:
                victims = self._series.victims()
                self._forget(passage, victims, lines, start, "evicted")
                passage.counts.series_evicted += len(victims)

    def _resolve(self, key: SeriesKey) -> SeriesIdentity | LabelFault:
        named = self._decoder.labels(key)
        return named if isinstance(named, LabelFault) else identify(named.name, named.labels)

    def _open(self, passage: LogPassage, routed: Routed) -> None:
        for slot, identity in zip(routed.created, routed.identities, strict=True):
            self._judge.open_slot(slot, self._policies.choose(identity))
            self._services[slot] = LogService(self._limits, self._redact)
        assert not routed.faults, "a log decoder reads the keys that it made"
        passage.counts.series_created += len(routed.created)

    def _learn(self, passage: LogPassage, slot: int, lines: Lines) -> None:
        service = self._services[slot]
        trips, before = service.miner.breaker_trips, service.miner.counts
        service.take(lines)
        passage.add(before, service.miner.counts)
        if service.miner.breaker_trips > trips:
            passage.logs.tripped.append(self._series.identity(slot).canonical)
        newest_ms = int(lines.times_ms.max())
        self._series.last_ms[slot] = max(self._series.last_ms[slot], newest_ms)

    def _close(self, passage: LogPassage, position: int) -> None:
        """Close the windows that the row at ``position`` makes close.

        One in which no service of the partition had a line is no evidence about any of them, and skipped.
        """
        lines, length_ms = passage.lines, self._times.length_ms
        time_ms, row = int(lines.times_ms[position]), int(lines.rows[position])
        cause = passage.cause(position)
        first_ms, next_ms = self._times.oldest_open(self._watermark_ms), self._times.oldest_open(time_ms)
        self._take(passage, self._joiner.flush(next_ms))
        silent_ms = max(min(next_ms, self._watermark_ms - self._watermark_ms % length_ms + length_ms), first_ms)
        slots = self._series.live_slots()
        for window_ms in range(first_ms, silent_ms, length_ms):
            if not any(self._services[slot].speaks(window_ms) for slot in slots.tolist()):
                self._skip(passage, slots, 1)
                continue
            for slot in slots.tolist():
                self._close_window(passage, cause, row, slot, window_ms)
            passage.logs.windows_closed += 1
        self._skip(passage, slots, (next_ms - silent_ms) // length_ms)
        idle = self._series.idle(time_ms - time_ms % length_ms, self._watermark_ms) if self._expires else NO_SLOTS
        self._forget(passage, idle, lines, position, "expired")
        passage.counts.series_expired += len(idle)
        self._watermark_ms = time_ms

    def _skip(self, passage: LogPassage, slots: IntArray, windows: int) -> None:
        if windows:
            for slot in slots.tolist():
                self._services[slot].skip(windows)
            passage.logs.windows_skipped += windows

    def _close_window(self, passage: LogPassage, cause: Provenance, row: int, slot: int, window_ms: int) -> None:
        service = self._services[slot]
        findings = service.close(slot, window_ms)
        if findings.lines:
            passage.seen(self._series.identity(slot).canonical)
        passage.stages.end("score")
        transitions = self._judge.judge(row, findings, self._times.length_ms, service.shown)
        service.drop(window_ms)
        passage.stages.end("judge")
        self._encode(passage, cause, transitions)

    def _forget(
        self,
        passage: LogPassage,
        slots: IntArray,
        lines: LogBatch,
        position: int,
        reason: Literal["evicted", "expired"],
    ) -> None:
        """Free these slots because of the line at ``position``; what is open in them closes at its time."""
        if not len(slots):
            return
        time_ms, row = int(lines.times_ms[position]), int(lines.rows[position])
        cause = Provenance(self._topic, self._partition, int(lines.offsets[position]), TIMESTAMP_UNKNOWN)
        self._encode(passage, cause, self._judge.evict(slots, row, time_ms, reason))
        for slot in slots.tolist():
            del self._services[slot]
        self._series.evict(slots)

    def _encode(self, passage: LogPassage, cause: Provenance, transitions: Sequence[LogTransition]) -> None:
        counts = passage.counts
        for transition in transitions:
            identity = self._series.identity(transition.slot)
            policy = self._policies.policies[transition.policy].name
            passage.events.append(self._encoder.encode(transition, identity, policy, self._model, cause))
            counts.opened += transition.state == "opened"
            counts.updated += transition.state == "updated"
            counts.closed += transition.state == "closed"
        if transitions:
            passage.stages.end("encode")

    def _output(self, passage: LogPassage) -> Output:
        batch, counts, logs = passage.batch, passage.counts, passage.logs
        counts.samples = len(passage.lines)
        counts.aliases_cleared = self._series.take_aliases_cleared()
        logs.formats = dict(passage.lines.formats)
        logs.keyed = batch.envelope(len(batch) - 1).key is not None
        joined = self._joiner.counts
        logs.lines_joined = joined.joined - self._joined.joined
        logs.lines_cut += joined.left_out - self._joined.left_out
        logs.lines_released = joined.released - self._joined.released
        self._joined = replace(joined)
        counts.decoder_fallbacks = int(passage.lines.in_pieces)
        logs.lines_cut += passage.lines.lines_cut
        services = self._services.values()
        if sum(service.miner.cached_forms for service in services) > self._cached_lines_max:
            for service in services:
                service.miner.clear_caches()
            logs.caches_cleared = 1
        logs.templates_held = sum(len(service.miner) for service in services)
        logs.breakers_open = sum(not service.miner.training for service in services)
        return Output(
            events=passage.events,
            rejects=passage.rejects(),
            next_offset=int(batch.offsets[-1]) + 1,
            counts=counts,
            stage_seconds=passage.stages.seconds,
            logs=logs,
        )


def _whole(columns: Columns) -> WholeCopy:
    return WholeCopy(lambda: columns)
