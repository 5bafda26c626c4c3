"""Scores in, transitions out: the episode state of one partition."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.batches import (
    EndReason,
    EpisodeKind,
    FloatArray,
    IntArray,
    ScoreColumns,
    Severity,
    Transition,
    TransitionState,
)
from detector.columns import Columns, PartialCopy, RecordsCopy, grown, put_fields, taken
from detector.episodes.kernel import emit, judge_rows
from detector.episodes.policies import Policy
from detector.episodes.records import (
    CLOSED,
    LANES,
    OPENED,
    OUTPUT_DTYPE,
    POLICY_DTYPE,
    RECENT_VALUES,
    UPDATED,
    blank_series,
    low_bits,
)
from detector.errors import SnapshotRefusedError

OUTPUT_ROWS: Final = 1024
"""Transitions per call of the kernel: about 300 KiB of buffer, and far more than a calm batch needs."""

KINDS: Final[tuple[EpisodeKind, EpisodeKind]] = ("metric.spike", "metric.dip")
SEVERITIES: Final[tuple[Severity, Severity, Severity]] = ("warning", "error", "critical")
STATES: Final[dict[int, TransitionState]] = {OPENED: "opened", UPDATED: "updated", CLOSED: "closed"}


Numbers = tuple[float, float, float, float, float, float]
"""Score, deviation, novelty, expected, lower and upper of one row."""


class _Place(NamedTuple):
    """Where and when a transition happened."""

    row: int
    slot: int
    time_ms: int
    observed: float


class EpisodeJudge:
    """Turns scored rows into the few transitions of episodes.

    One record per slot (:data:`~detector.episodes.records.SERIES_DTYPE`); Python objects exist only for transitions. A
    series never has two open episodes of one kind, and nothing closes that was not opened.
    """

    def __init__(self, policies: Sequence[Policy], *, output_rows: int = OUTPUT_ROWS) -> None:
        assert policies, "a policy book always has a default"
        assert output_rows >= LANES, "one row can change both lanes"
        self._policies = policy_rows(policies)
        self._state = blank_series(0)
        self._blank = blank_series(1)
        self._outputs = np.zeros(output_rows, OUTPUT_DTYPE)
        self._open_count = 0

    def reserve(self, capacity: int) -> None:
        """Make room for the slots 0 to ``capacity`` - 1; only grows, and keeps what is there."""
        if capacity > len(self._state):
            self._state = grown(self._state, capacity, self._blank)

    def open_slot(self, slot: int, policy_index: int) -> None:
        """Begin a new series in ``slot``, judged by the policy at ``policy_index``."""
        assert 0 <= policy_index < len(self._policies)
        assert not self._state["open"][slot].any(), "evict a series before its slot is used again"
        self._state[slot] = self._blank[0]
        self._state["policy"][slot] = policy_index

    def judge(
        self, rows: IntArray, slots: IntArray, times_ms: IntArray, values: FloatArray, scores: ScoreColumns
    ) -> list[Transition]:
        """Judge equally long columns of accepted samples in row order; ``rows`` int64[m] end up in transitions."""
        assert len(rows) == len(slots) == len(times_ms) == len(values) == len(scores)
        transitions: list[Transition] = []
        position = 0
        while position < len(slots):
            position, filled = judge_rows(
                self._state,
                self._policies,
                slots,
                times_ms,
                values,
                scores.score,
                scores.deviation,
                scores.expected,
                position,
                self._outputs,
            )
            for output in self._outputs[:filled]:
                at = int(output["position"])
                place = _Place(int(rows[at]), int(slots[at]), int(times_ms[at]), float(values[at]))
                transitions.append(self._transition(output, place, row_numbers(scores, at), "recovered"))
        self._count(transitions)
        return transitions

    def evict(self, slots: IntArray, row: int, time_ms: int) -> list[Transition]:
        """Close what is open in ``slots`` with the reason ``evicted``, then forget these series.

        The transitions carry ``row`` and ``time_ms`` of whatever made the series leave, the last value of the series,
        and no score: there is no sample behind them.
        """
        transitions: list[Transition] = []
        for slot in (int(slot) for slot in slots):
            series = self._state[slot]
            for lane in range(LANES):
                if not series["open"][lane]:
                    continue
                output = self._outputs[0]
                emit(output, series, lane, CLOSED, 0, time_ms)
                place = _Place(row, slot, time_ms, float(recent_values(output)[-1]))
                transitions.append(self._transition(output, place, NO_NUMBERS, "evicted"))
            self._state[slot] = self._blank[0]
        self._count(transitions)
        return transitions

    def begin_copy(self, slots: IntArray) -> PartialCopy:
        """Begin a copy of the state of these slots, one column per field."""
        return RecordsCopy(lambda: self._state, slots)

    def restore(self, slots: IntArray, columns: Columns) -> None:
        """Take a copy's columns in a new judge with these slots reserved; raises ``SnapshotRefusedError``."""
        policy = taken(columns, "policy", self._state["policy"].dtype, slots.shape)
        if not np.isin(policy, np.arange(len(self._policies))).all():
            raise SnapshotRefusedError("the snapshot names a policy that these settings do not have")
        put_fields(self._state, slots, columns)
        self._open_count = int(columns["open"].sum())

    def open_count(self) -> int:
        """Number of open episodes."""
        return self._open_count

    def state_bytes(self) -> int:
        """Bytes of the state of all slots."""
        return int(self._state.nbytes)

    def _count(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            self._open_count += (transition.state == "opened") - (transition.state == "closed")

    def _transition(self, output: np.void, place: "_Place", numbers: Numbers, end_reason: EndReason) -> Transition:
        score, deviation, novelty, expected, lower, upper = numbers
        state = STATES[int(output["state"])]
        closed = state == "closed"
        return Transition(
            row=place.row,
            slot=place.slot,
            policy=int(self._state["policy"][place.slot]),
            state=state,
            kind=KINDS[int(output["lane"])],
            sequence=int(output["sequence"]),
            episode_number=int(output["episode"]),
            time_ms=place.time_ms,
            started_ms=int(output["started_ms"]),
            detected_ms=int(output["detected_ms"]),
            ended_ms=int(output["anomalous_last_ms"]) if closed else None,
            points=int(output["points"]),
            anomalous_points=int(output["anomalous_points"]),
            interval_ms=float(output["interval_ms"]),
            observed=place.observed,
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
            end_reason=end_reason if closed else None,
            recent_values=recent_values(output).copy(),
            samples_seen=int(output["seen"]),
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


def policy_rows(policies: Sequence[Policy]) -> NDArray[np.void]:
    """Policies as parameter rows for the kernel, windows as bit masks and times in milliseconds."""
    rows = np.zeros(len(policies), POLICY_DTYPE)
    for row, policy in zip(rows, policies, strict=True):
        row["up"] = policy.direction in {"up", "both"}
        row["down"] = policy.direction in {"down", "both"}
        for name in ("deviation_min", "abs_min", "rel_min", "volume_min", "open_points", "close_points"):
            row[name] = getattr(policy, name)
        row["open_mask"] = low_bits(policy.open_window)
        row["close_mask"] = low_bits(policy.close_window)
        row["cooldown_ms"] = round(policy.cooldown_s * 1000)
        row["flap_crossings"] = policy.flap_crossings
        # A window of n rows has n - 1 pairs of neighbours.
        row["flap_mask"] = low_bits(policy.flap_window - 1)
        row["update_interval_ms"] = round(policy.update_interval_s * 1000)
        row["error_score"] = policy.severity_error_score
        row["critical_score"] = policy.severity_critical_score
    return rows
