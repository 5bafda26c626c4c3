"""One pass: the records of one partition go down the rooms once and come out as a few events.

No I/O, no clock, no randomness: what comes out is a function of the records, in offset order, and of nothing else. Any
cut of the stream into batches gives the same events with the same bits. The worker owns one pipeline per assigned
partition.
"""

from collections.abc import Callable, Sequence
from typing import Literal
from weakref import ref

import numpy as np

from detector.batches import (
    IntArray,
    LeftOut,
    Output,
    RecordBatch,
    Reject,
    ScoreColumns,
    SeriesIdentity,
    SeriesKey,
    Transition,
)
from detector.columns import Deferred, under
from detector.decoders import Decoder, LabelFault
from detector.encoders import Encoder, ModelFacts, Provenance
from detector.episodes import EpisodeJudge, PolicyBook
from detector.learners import INTERVAL_MS, LearnerBank, group_of, hint_of
from detector.passage import Passage, StageTimes, Trace
from detector.series import NO_SLOT, Routed, SeriesTable, admit, identify, next_point
from detector.state import Snapshot, SnapshotHeader, StateCopy, check_origin


class PartitionPipeline:
    """State and flow of one input partition.

    ``learner_of_policy[p]`` is the index of the learner in ``bank`` that policy ``p`` asks for. ``timer`` measures
    stages for telemetry and influences nothing. ``keep_scores`` adds every sample's scores to the output.
    """

    def __init__(
        self,
        *,
        topic: str,
        partition: int,
        decoder: Decoder,
        series: SeriesTable,
        bank: LearnerBank,
        learner_of_policy: Sequence[int],
        policies: PolicyBook,
        judge: EpisodeJudge,
        encoder: Encoder,
        config_hash: str,
        timer: Callable[[], float],
        keep_scores: bool = False,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._decoder = decoder
        self._series = series
        self._bank = bank
        self._learner_of_policy = learner_of_policy
        self._policies = policies
        self._judge = judge
        self._encoder = encoder
        self._config_hash = config_hash
        self._timer = timer
        self._keep_scores = keep_scores
        self._judged_capacity = 0
        self._copy: ref[StateCopy] | None = None

    @property
    def config_hash(self) -> str:
        """What decides scores and events; a state holds only under the hash it was learnt with."""
        return self._config_hash

    @property
    def watermark_ms(self) -> int:
        """Largest accepted event time in epoch milliseconds, or ``WATERMARK_NONE``."""
        return self._judge.watermark_ms

    @property
    def series_count(self) -> int:
        """Series with live state."""
        return len(self._series)

    @property
    def open_episodes(self) -> int:
        """Episodes opened and not yet closed."""
        return self._judge.open_count()

    def state_bytes(self) -> int:
        """Bytes of model and episode state, as allocated."""
        return self._bank.state_bytes() + self._judge.state_bytes() + self._series.last_ms.nbytes

    def snapshot(self, *, offset: int, cluster: str) -> tuple[SnapshotHeader, Deferred]:
        """Copy the state after all records before ``offset`` at once: :meth:`begin_snapshot` without its slices."""
        copy = self.begin_snapshot(offset=offset, cluster=cluster)
        while not copy.advance():
            pass
        return copy.header, copy.columns

    def begin_snapshot(self, *, offset: int, cluster: str) -> StateCopy:
        """Begin to copy the state after all records before ``offset``; ``advance`` it between batches until complete.

        Then ``state.encode`` may lay it out in another thread. There is one copy at a time: beginning another drops one
        that is not complete. A copy that nobody holds any more costs nothing.
        """
        before = None if self._copy is None else self._copy()
        if before is not None and not before.complete:
            before.drop()
        slots = self._series.live_slots()
        header = SnapshotHeader(
            config_hash=self._config_hash,
            cluster=cluster,
            topic=self._topic,
            partition=self._partition,
            offset=offset,
            watermark_ms=self.watermark_ms,
            series_count=len(slots),
            open_episodes=self.open_episodes,
        )
        parts = {
            "series": self._series.begin_copy(slots),
            "learners": self._bank.begin_copy(slots),
            "episodes": self._judge.begin_copy(slots),
        }
        copy = StateCopy(header, slots, parts)
        self._copy = ref(copy)
        return copy

    def _save(self, slots: IntArray) -> None:
        """Let a copy under way have the state of ``slots``: before anything of theirs changes."""
        if self._copy is None:
            return
        copy = self._copy()
        if copy is None or copy.complete:
            self._copy = None
        else:
            copy.save(slots)

    def restore(self, snapshot: Snapshot, *, cluster: str) -> int:
        """Become what the snapshot says; returns the offset to go on from. Only a new pipeline may be restored.

        Raises ``SnapshotRefusedError`` for a snapshot of other settings, another partition or another cluster.
        """
        header = snapshot.header
        check_origin(
            header, config_hash=self._config_hash, cluster=cluster, topic=self._topic, partition=self._partition
        )
        slots = self._series.restore(under("series", snapshot.columns))
        self._judged_capacity = self._series.capacity
        self._judge.reserve(self._judged_capacity)
        self._judge.restore(slots, under("episodes", snapshot.columns), header.watermark_ms)
        self._bank.restore(slots, under("learners", snapshot.columns))
        return header.offset

    def forget_episodes(self) -> None:
        """Keep series and models, and forget what is known of episodes.

        None is open then, and timers leave a series alone until its next sample. What was to be told is not.
        """
        slots = self._series.live_slots()
        self._save(slots)
        self._judge.evict(slots, 0, self.watermark_ms)
        for slot in slots.tolist():
            self._judge.open_slot(slot, self._policies.choose(self._series.identity(slot)))

    def take_left_out(self) -> list[LeftOut]:
        """Models that :meth:`snapshot` or :meth:`restore` left out since the last call."""
        return self._bank.take_left_out()

    def process(self, batch: RecordBatch) -> Output:
        """Score and learn every record of ``batch``, which must follow the one before; returns what came of it."""
        assert batch.topic == self._topic
        assert batch.partition == self._partition
        stages = StageTimes(self._timer)
        samples = self._decoder.decode(batch)
        stages.end("decode")
        passage = Passage(batch, samples, stages)
        traced = Trace(samples) if self._keep_scores else None
        start = 0
        while start < len(samples):
            stop = min(self._expire(passage, start), self._meet(passage, start))
            routed = self._series.route(samples.keys, start, passage.slots, self._resolve, stop)
            self._open(routed)
            self._note_faults(passage, routed)
            stages.end("route")
            self._score(passage, traced, start, routed.stop)
            if routed.full:
                self._evict(passage, routed.stop)
            start = routed.stop
        return self._output(passage, traced)

    def _resolve(self, key: SeriesKey) -> SeriesIdentity | LabelFault:
        named = self._decoder.labels(key)
        return named if isinstance(named, LabelFault) else identify(named.name, named.labels)

    def _open(self, routed: Routed) -> None:
        """Give new series their policy and, from that, their learner."""
        if routed.created and self._series.capacity > self._judged_capacity:
            self._judged_capacity = self._series.capacity
            self._judge.reserve(self._judged_capacity)
        for slot, identity in zip(routed.created, routed.identities, strict=True):
            policy = self._policies.choose(identity)
            self._judge.open_slot(slot, policy)
            self._bank.open(slot, self._learner_of_policy[policy], hint_of(identity), group_of(identity))

    def _note_faults(self, passage: Passage, routed: Routed) -> None:
        passage.counts.series_created += len(routed.created)
        for position, fault in routed.faults:
            row = int(passage.samples.rows[position])
            passage.label_rejects.append(Reject(row, int(passage.batch.offsets[row]), fault.reason, fault.detail))

    def _score(self, passage: Passage, traced: Trace | None, start: int, stop: int) -> None:
        """Learners and episodes over the samples ``start`` to ``stop``, which all have their slots."""
        samples, counts = passage.samples, passage.counts
        slots, times, values = passage.slots[start:stop], samples.times_ms[start:stop], samples.values[start:stop]
        accepted = passage.accepted[start:stop]
        if traced is not None:
            traced.name(start, self._names(slots.tolist()))
        self._save(slots)
        late, repeated = admit(self._series.last_ms, slots, times, accepted)
        counts.late += late
        counts.repeated += repeated
        rows = samples.rows[start:stop]
        if not accepted.all():
            slots, times, values, rows = slots[accepted], times[accepted], values[accepted], rows[accepted]
        if not len(slots):
            return
        counts.scored += len(slots)
        positions = start + np.flatnonzero(accepted)
        begin = 0
        while begin < len(slots):
            end = self._judge.next_shift(slots, times, begin)
            part = slice(begin, end)
            scores = ScoreColumns.empty(end - begin)
            counts.learner_failures += self._bank.score(slots[part], times[part], values[part], scores)
            if traced is not None:
                traced.score(positions[part], scores)
            passage.stages.end("score")
            transitions = self._judge.judge(rows[part], slots[part], times[part], values[part], scores, self._save)
            self._rebaseline(transitions)
            passage.stages.end("judge")
            self._encode(passage, transitions)
            begin = end

    def _rebaseline(self, transitions: Sequence[Transition]) -> None:
        """Tell the learners of new levels, before they see another sample of these series."""
        for shift in transitions:
            if shift.kind == "metric.level_shift" and shift.state == "opened":
                where = np.array([shift.slot]), np.array([shift.time_ms])
                self._bank.rebaseline(*where, np.array([shift.new_level]))

    def _names(self, slots: Sequence[int]) -> list[str]:
        names = {slot: self._series.identity(slot).canonical for slot in set(slots) if slot != NO_SLOT}
        return [names.get(slot, "") for slot in slots]

    def _evict(self, passage: Passage, position: int) -> None:
        """Make room for the series at ``position``; episodes of the evicted end with them."""
        victims = self._series.victims()
        self._forget(passage, position, victims, int(passage.samples.times_ms[position]), "evicted")
        passage.counts.series_evicted += len(victims)
        passage.stages.end("route")

    def _expire(self, passage: Passage, position: int) -> int:
        """Forget idle series if the row at ``position`` reaches a grid point; returns up to where no other can expire.

        A row past the watermark is past the last time of its own series as well, so it will be accepted if its labels
        can be used. It is not routed yet: the slots that become free here are there for it and the rows after it.
        """
        samples, series, grid_ms = passage.samples, self._series, self._judge.timer_interval_ms
        stop = series.next_expiry(samples.times_ms, position, position, self.watermark_ms, grid_ms)
        if stop > position:
            return stop
        time_ms = int(samples.times_ms[position])
        if self._is_usable(samples.keys[position]):
            point_ms = time_ms - time_ms % grid_ms
            idle = series.idle(point_ms, self.watermark_ms)
            self._forget(passage, position, idle, point_ms, "expired")
            passage.counts.series_expired += len(idle)
        return series.next_expiry(samples.times_ms, position, position + 1, self.watermark_ms, grid_ms)

    def _meet(self, passage: Passage, position: int) -> int:
        """Put peers together if the row at ``position`` reaches a full hour; returns up to where no other row may."""
        times_ms, before_ms = passage.samples.times_ms, self.watermark_ms
        if not self._bank.meets_peers:
            return len(times_ms)
        reaches = next_point(times_ms, position, before_ms, INTERVAL_MS) == position
        if reaches and self._is_usable(passage.samples.keys[position]):
            passage.counts.peer_groups_left_out += self._bank.meet()
            before_ms = int(times_ms[position])
        return next_point(times_ms, position + 1, before_ms, INTERVAL_MS)

    def _is_usable(self, key: SeriesKey) -> bool:
        """Whether a key stands for a series, so that a row past the watermark will be accepted."""
        return self._series.knows(key) or isinstance(self._resolve(key), SeriesIdentity)

    def _forget(
        self, passage: Passage, position: int, slots: IntArray, time_ms: int, reason: Literal["evicted", "expired"]
    ) -> None:
        """Free these slots because of the row at ``position``; what is open in them closes at ``time_ms``."""
        if len(slots):
            self._save(slots)
            self._encode(passage, self._judge.evict(slots, int(passage.samples.rows[position]), time_ms, reason))
            self._bank.release(slots)
            self._series.evict(slots)

    def _encode(self, passage: Passage, transitions: Sequence[Transition]) -> None:
        counts = passage.counts
        for transition in transitions:
            scorer = self._bank.scorer_of(transition.slot, transition.samples_seen)
            model = ModelFacts(*scorer, self._config_hash)
            source = Provenance(
                self._topic,
                self._partition,
                int(passage.batch.offsets[transition.row]),
                int(passage.batch.timestamps_ms[transition.row]),
            )
            identity = self._series.identity(transition.slot)
            policy = self._policies.policies[transition.policy].name
            passage.events.append(self._encoder.encode(transition, identity, policy, model, source))
            counts.opened += transition.state == "opened"
            counts.updated += transition.state == "updated"
            counts.closed += transition.state == "closed"
        if transitions:
            passage.stages.end("encode")

    def _output(self, passage: Passage, traced: Trace | None) -> Output:
        batch, counts = passage.batch, passage.counts
        counts.samples = len(passage.samples)
        counts.decoder_fallbacks = int(passage.samples.in_pieces)
        counts.aliases_cleared = self._series.take_aliases_cleared()
        counts.drifts = self._judge.take_drifts()
        return Output(
            events=passage.events,
            rejects=passage.rejects(),
            next_offset=int(batch.offsets[-1]) + 1,
            counts=counts,
            stage_seconds=passage.stages.seconds,
            scored=None if traced is None else traced.scored(passage.accepted),
        )
