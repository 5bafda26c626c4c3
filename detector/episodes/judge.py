"""Scores in, transitions out: the episode state of one partition."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import numpy as np

from detector.batches import (
    WATERMARK_NONE,
    EndReason,
    EpisodeKind,
    FloatArray,
    IntArray,
    ScoreColumns,
    Transition,
    TransitionState,
)
from detector.columns import Columns, JointCopy, PartialCopy, RecordsCopy, grown, put_fields, taken, under
from detector.episodes.drift import DRIFT_DTYPE, blank_drift
from detector.episodes.kernel import judge_rows
from detector.episodes.outputs import emit, emit_no_data, emit_stuck, emit_variance
from detector.episodes.policies import SEVERITIES, Policy
from detector.episodes.policy_rows import policy_rows
from detector.episodes.records import (
    ACCEPTED,
    CHANGES_MAX,
    CLOCK_DTYPE,
    CLOSED,
    EVICTED,
    EXPIRED,
    LANES,
    LATER_FIELDS,
    NEVER_MS,
    NO_DATA,
    OPENED,
    OUTPUT_DTYPE,
    RECENT_VALUES,
    RECOVERED,
    RESUMED,
    SILENT,
    SUPERSEDED,
    UPDATED,
    blank_series,
)
from detector.episodes.shapes import next_shift
from detector.episodes.timers import due_slots, fire
from detector.errors import SnapshotRefusedError

OUTPUT_ROWS: Final = 1024
"""Transitions per call of the kernel: about 300 KiB of buffer, and far more than a calm batch needs."""

TIMER_INTERVAL_MS: Final = 60_000

KINDS: Final[tuple[EpisodeKind, ...]] = (
    "metric.spike",
    "metric.dip",
    "metric.no_data",
    "metric.level_shift",
    "metric.stuck",
    "metric.variance",
)
"""By lane, and by what stands where a lane does."""
STATES: Final[dict[int, TransitionState]] = {OPENED: "opened", UPDATED: "updated", CLOSED: "closed"}
END_REASONS: Final[dict[int, EndReason]] = {
    RECOVERED: "recovered",
    SILENT: "silent",
    RESUMED: "resumed",
    EXPIRED: "expired",
    EVICTED: "evicted",
    ACCEPTED: "accepted",
    SUPERSEDED: "superseded",
}
LEAVING: Final[dict[Literal["evicted", "expired"], int]] = {"evicted": EVICTED, "expired": EXPIRED}

Numbers = tuple[float, float, float, float, float, float]
"""Score, deviation, novelty, expected, lower and upper of one row."""


def _nothing(_slots: IntArray) -> None:
    """Nobody wants to know."""


class EpisodeJudge:
    """Turns scored rows into the few transitions of episodes.

    One record per slot (:data:`~detector.episodes.records.SERIES_DTYPE`); Python objects exist only for transitions. A
    series never has two open episodes of one kind, and nothing closes that was not opened.

    The judge keeps the partition's watermark, the largest time of the rows it was given. Timers fire at the multiples
    of ``timer_interval_ms`` that the watermark reaches, before the row that reaches one, and once however many it
    reaches.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        timer_interval_ms: int = TIMER_INTERVAL_MS,
        output_rows: int = OUTPUT_ROWS,
    ) -> None:
        assert policies, "a policy book always has a default"
        assert output_rows >= CHANGES_MAX, "one row can make so many transitions"
        assert timer_interval_ms > 0
        self.timer_interval_ms: Final = timer_interval_ms
        self._policies = policy_rows(policies)
        self._excusing = any(policy.no_data is not None for policy in policies)
        self._clock = np.zeros(1, CLOCK_DTYPE)
        self._set_clock(WATERMARK_NONE)
        self._drifting = any(policy.drift is not None for policy in policies)
        self._state = blank_series(0)
        self._drifts = np.zeros(0, DRIFT_DTYPE)
        self._blank_drift = blank_drift()
        self._blank = blank_series(1)
        self._outputs = np.zeros(output_rows, OUTPUT_DTYPE)
        self._open_count = 0

    @property
    def watermark_ms(self) -> int:
        """Largest time of a row so far, or ``WATERMARK_NONE``."""
        return int(self._clock["watermark_ms"][0])

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1; only grows, and keeps what is there."""
        if capacity > len(self._state):
            self._state = grown(self._state, capacity, self._blank)
            if self._drifting:
                self._drifts = grown(self._drifts, capacity, self._blank_drift)

    def open_slot(self, slot: int, policy_index: int) -> None:
        """Begin a new series in ``slot``, judged by the policy at ``policy_index``."""
        assert 0 <= policy_index < len(self._policies)
        assert not self._state["open"][slot].any(), "evict a series before its slot is used again"
        assert not self._state["no_data"][slot], "evict a series before its slot is used again"
        assert not self._state["stuck"][slot], "evict a series before its slot is used again"
        assert not self._state["variance"][slot], "evict a series before its slot is used again"
        self._forget(slot)
        self._state["policy"][slot] = policy_index

    def next_shift(self, slots: IntArray, times_ms: IntArray, start: int) -> int:
        """Up to where rows from ``start`` on may be scored and judged at once.

        The row before that position may make an episode a new level (``metric.level_shift``), of which the learner is
        to be told before it scores the next one. No row before it can.
        """
        return int(next_shift(self._state, self._drifts, self._policies, slots, times_ms, start))

    def take_drifts(self) -> int:
        """Drifts found since the last call."""
        found = int(self._clock["drifts"][0])
        self._clock["drifts"] = 0
        return found

    def judge(
        self,
        rows: IntArray,
        slots: IntArray,
        times_ms: IntArray,
        values: FloatArray,
        scores: ScoreColumns,
        before_timers: Callable[[IntArray], None] = _nothing,
    ) -> list[Transition]:
        """Judge equally long columns of accepted samples in row order; ``rows`` int64[m] end up in transitions.

        What timers did carries the row that made the watermark reach their grid point, and that point's time.
        ``before_timers`` is told the slots that timers are about to change, which need not be among ``slots``.
        """
        assert len(rows) == len(slots) == len(times_ms) == len(values) == len(scores)
        transitions: list[Transition] = []
        position = 0
        while position < len(slots):
            position, filled = judge_rows(
                self._state,
                self._drifts,
                self._policies,
                slots,
                times_ms,
                values,
                *scores.columns(),
                position,
                self._clock[0],
                self.timer_interval_ms,
                self._excusing,
                self._outputs,
            )
            for output in self._outputs[:filled]:
                at = int(output["position"])
                numbers = NO_NUMBERS if output["lane"] == NO_DATA else row_numbers(scores, at)
                transitions.append(self._transition(output, int(rows[at]), float(values[at]), numbers))
            if position < len(slots) and times_ms[position] >= self._clock["next_ms"][0]:
                transitions += self._fire(int(rows[position]), int(times_ms[position]), before_timers)
        self._count(transitions)
        return transitions

    def _fire(self, row: int, time_ms: int, before_timers: Callable[[IntArray], None]) -> list[Transition]:
        """Let timers fire at the grid point that ``row`` reaches, and set the clock to the one after."""
        point_ms = time_ms - time_ms % self.timer_interval_ms
        skipped_ms = time_ms - self.watermark_ms
        if skipped_ms <= self.timer_interval_ms:
            skipped_ms = 0
        found = np.empty(len(self._state), np.int64)
        count, due_ms = due_slots(self._state, self._policies, point_ms, skipped_ms, found)
        found = found[:count]
        before_timers(found)
        transitions: list[Transition] = []
        index = 0
        while index < count:
            index, filled, earliest_ms = fire(
                self._state, self._policies, found, index, point_ms, skipped_ms, self._outputs
            )
            due_ms = min(due_ms, earliest_ms)
            transitions.extend(self._transition(output, row, math.nan, NO_NUMBERS) for output in self._outputs[:filled])
        self._clock["next_ms"] = point_ms + self.timer_interval_ms
        self._clock["due_ms"] = due_ms
        return transitions

    def evict(
        self, slots: IntArray, row: int, time_ms: int, reason: Literal["evicted", "expired"] = "evicted"
    ) -> list[Transition]:
        """Close what is open in ``slots`` for this reason, then forget these series.

        The transitions carry ``row`` and ``time_ms`` of whatever made the series leave, the last value of the series if
        it was evicted, and no score: there is no sample behind them.
        """
        transitions: list[Transition] = []
        output, code = self._outputs[0], LEAVING[reason]
        for slot in (int(slot) for slot in slots):
            series = self._state[slot]
            for lane in range(LANES):
                if not series["open"][lane]:
                    continue
                emit(output, series, lane, CLOSED, code, 0, slot, time_ms)
                observed = float(recent_values(output)[-1])
                if reason == "expired":
                    output["ended_ms"], observed = series["last_ms"], math.nan
                transitions.append(self._transition(output, row, observed, NO_NUMBERS))
            if series["stuck"]:
                level = int(self._policies["stuck_level"][series["policy"]])
                ended_ms = int(series["last_ms"]) if reason == "expired" else time_ms
                emit_stuck(output, series, level, CLOSED, code, 0, slot, time_ms)
                output["ended_ms"] = max(ended_ms, int(series["stuck_ms"]))
                transitions.append(self._transition(output, row, math.nan, NO_NUMBERS))
            if series["variance"]:
                level = int(self._policies["spread_level"][series["policy"]])
                emit_variance(output, series, level, CLOSED, code, 0, slot, time_ms)
                transitions.append(self._transition(output, row, math.nan, NO_NUMBERS))
            if series["no_data"]:
                level = int(self._policies["no_data_level"][series["policy"]])
                emit_no_data(output, series, level, CLOSED, code, 0, slot, time_ms)
                transitions.append(self._transition(output, row, math.nan, NO_NUMBERS))
            self._forget(slot)
        self._count(transitions)
        return transitions

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """Begin a copy of the state of these slots, one column per field; drifts, if looked for, are under drift."""
        state = RecordsCopy(lambda: self._state, slots)
        return JointCopy(state, "drift", RecordsCopy(lambda: self._drifts, slots)) if self._drifting else state

    def restore(self, slots: IntArray, columns: Columns, watermark_ms: int) -> None:
        """Take a copy's columns in a new judge with these slots reserved; raises ``SnapshotRefusedError``.

        Older snapshots lack some fields: those series learn their pauses and their usual runs anew.
        """
        policy = taken(columns, "policy", self._state["policy"].dtype, slots.shape)
        if not np.isin(policy, np.arange(len(self._policies))).all():
            raise SnapshotRefusedError("the snapshot names a policy that these settings do not have")
        put_fields(self._state, slots, columns, LATER_FIELDS)
        if self._drifting:
            put_fields(self._drifts, slots, under("drift", columns))
        rows = self._state[slots]
        self._open_count = sum(int(rows[name].sum()) for name in ("open", "no_data", "stuck", "variance"))
        self._set_clock(watermark_ms)

    def open_count(self) -> int:
        """Number of open episodes."""
        return self._open_count

    def state_bytes(self) -> int:
        """Bytes of the state of all slots."""
        return int(self._state.nbytes + self._drifts.nbytes)

    def _forget(self, slot: int) -> None:
        """Nothing is known of this slot's series."""
        self._state[slot] = self._blank[0]
        if self._drifting:
            self._drifts[slot] = self._blank_drift[0]

    def _count(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            self._open_count += (transition.state == "opened") - (transition.state == "closed")

    def _set_clock(self, watermark_ms: int) -> None:
        """Go on from this watermark, of whose grid point all timers have fired."""
        self._clock["watermark_ms"] = watermark_ms
        self._clock["next_ms"] = watermark_ms - watermark_ms % self.timer_interval_ms + self.timer_interval_ms
        self._clock["due_ms"] = NEVER_MS

    def _transition(self, output: np.void, row: int, observed: float, numbers: Numbers) -> Transition:
        score, deviation, novelty, expected, lower, upper = numbers
        state = STATES[int(output["state"])]
        closed = state == "closed"
        slot = int(output["slot"])
        return Transition(
            row=row,
            slot=slot,
            policy=int(self._state["policy"][slot]),
            state=state,
            kind=KINDS[int(output["lane"])],
            sequence=int(output["sequence"]),
            episode_number=int(output["episode"]),
            time_ms=int(output["time_ms"]),
            started_ms=int(output["started_ms"]),
            detected_ms=int(output["detected_ms"]),
            ended_ms=int(output["ended_ms"]) if closed else None,
            points=int(output["points"]),
            anomalous_points=int(output["anomalous_points"]),
            interval_ms=float(output["interval_ms"]),
            gap_ms=float(output["gap_ms"]),
            last_sample_ms=int(output["last_ms"]),
            observed=observed,
            expected=expected,
            lower=lower,
            upper=upper,
            score=score,
            deviation=deviation,
            novelty=novelty,
            peak_score=float(output["peak_score"]),
            peak_deviation=float(output["peak_deviation"]),
            peak_observed=float(output["peak_observed"]),
            peak_expected=float(output["peak_expected"]),
            peak_time_ms=int(output["peak_ms"]),
            severity=SEVERITIES[int(output["level"])],
            flapping=bool(output["flapping"]),
            end_reason=END_REASONS[int(output["reason"])] if closed else None,
            recent_values=recent_values(output).copy(),
            samples_seen=int(output["seen"]),
            peak_novelty=float(output["peak_novelty"]),
            old_level=float(output["old_level"]),
            new_level=float(output["new_level"]),
            usual_run_ms=float(output["usual_run_ms"]),
            spread=float(output["spread"]),
            lean=float(output["lean"]),
            usual_spread=float(output["usual_spread"]),
            peak_spread=float(output["peak_spread"]),
        )


NO_NUMBERS: Final[Numbers] = (math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
"""Score, deviation, novelty, expected, lower and upper where there is no sample."""


def recent_values(output: np.void) -> FloatArray:
    """View of the last values in an output row, the newest last."""
    values: FloatArray = output["recent"]
    return values[: min(int(output["seen"]), RECENT_VALUES)]


def row_numbers(scores: ScoreColumns, at: int) -> Numbers:
    """Score, deviation, novelty, expected, lower and upper of one row."""
    return (
        float(scores.score[at]),
        float(scores.deviation[at]),
        float(scores.novelty[at]),
        float(scores.expected[at]),
        float(scores.lower[at]),
        float(scores.upper[at]),
    )
