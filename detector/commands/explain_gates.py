"""The gates of the policy that judged an event, and whether the event's numbers pass them.

Each kind has gates of its own. What opened the episode is a gate that holds: of a spike the points or the novelty, of a
new level the episode before it or a drift.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from detector.commands.explain_event import Told
from detector.commands.report_episodes import epoch_ms
from detector.encoders.wording import duration, number
from detector.settings import PolicySettings, Settings
from detector.wiring import FIXED_GATES


class Gate(NamedTuple):
    """A rule of the policy, what the event has, and whether it holds; None where it is off or cannot be told."""

    name: str
    rule: str
    found: str
    holds: bool | None


def policy_of_event(settings: Settings, event: Told) -> PolicySettings | None:
    """The policy that the event names, if these settings have one of this name."""
    for policy in settings.policies:
        if policy.name == event.policy:
            return policy
    default = PolicySettings(name="default")
    return default if event.policy == default.name else None


def gates_of(event: Told, policy: PolicySettings) -> list[Gate]:
    """Give every gate that decides about the event's kind; of an episode's worst sample, where there is one."""
    gates = GATES.get(event.kind)
    return [] if gates is None else list(gates(event, policy))


def _sample_gates(event: Told, policy: PolicySettings) -> Iterator[Gate]:
    peak = event.peak
    novelty = None if peak is None else peak.novelty
    novel = policy.novelty_min is not None and novelty is not None and novelty >= policy.novelty_min
    deviation = event.deviation if peak is None else peak.deviation
    observed = event.observed if peak is None else peak.observed
    expected = event.expected if peak is None else peak.expected
    window = event.window
    yield Gate(
        "open",
        f"{policy.open.points} of {policy.open.window} points anomalous",
        f"{window.anomalous_points} of {window.points} since the start",
        window.anomalous_points >= policy.open.points,
    )
    yield _at_least("novelty", novelty, policy.novelty_min or 0.0, "at one point")
    allowed = policy.direction in {"both", event.direction}
    yield Gate("direction", policy.direction, event.direction or "unknown", allowed)
    least = min(policy.deviation_min, FIXED_GATES.novel_deviation_min) if novel else policy.deviation_min
    yield _at_least("deviation", deviation, least, "band widths", always=True)
    distance = None if observed is None or expected is None else abs(observed - expected)
    unit = event.series.unit or "absolute"
    yield _at_least("distance", distance, policy.abs_min, unit)
    share = None if distance is None or not expected else distance / abs(expected)
    yield _at_least("share", share, policy.rel_min, "of the expected value")
    known = [abs(value) for value in (observed, expected) if value is not None]
    yield _at_least("volume", max(known, default=None), policy.volume_min, unit)
    if event.state == "closed":
        yield Gate(
            "close",
            f"{policy.close.points} of {policy.close.window} points normal",
            event.end_reason or "unknown",
            _recovered(event),
        )


def _at_least(name: str, value: float | None, least: float, unit: str, *, always: bool = False) -> Gate:
    found = "unknown" if value is None else number(value)
    if not (least or always):
        return Gate(name, "off", found, None)
    holds = None if value is None else value >= least or math.isclose(value, least, rel_tol=1e-12)
    return Gate(name, f"at least {number(least)} {unit}", found, holds)


def _silence_gates(event: Told, policy: PolicySettings) -> Iterator[Gate]:
    rule, silence = policy.no_data, event.silence
    if rule is None or silence is None:
        return
    found = duration(round(silence.length_s * 1000))
    least = duration(round(rule.min_s * 1000))
    yield Gate("silence", f"at least {least}", found, silence.length_s >= rule.min_s)
    if silence.gap_s is not None and silence.gap_s > 0:
        gaps = silence.length_s / silence.gap_s
        yield Gate("gaps", f"at least {number(rule.intervals)} usual gaps", number(gaps), gaps >= rule.intervals)


def _level_gates(event: Told, policy: PolicySettings) -> Iterator[Gate]:
    """Of a spike or dip that has stayed, or of a drift without one, which has no anomalous points."""
    rule, shift, window = policy.level_shift, event.shift, event.window
    if rule is None or shift is None:
        return
    lasted_s = (event.time_ms - epoch_ms(event.started_at)) / 1000.0
    drifting = window.anomalous_points == 0
    early_s = rule.after_s / FIXED_GATES.early_parts
    if policy.drift is None:
        yield Gate("drift", "off", "none", None)
    else:
        found = "found" if drifting or lasted_s < rule.after_s else "not told"
        yield Gate("drift", f"significance {number(policy.drift.delta)}", found, found == "found" or None)
    least_s = rule.after_s if policy.drift is None else early_s
    yield Gate("lasting", f"at least {_seconds(least_s)}", _seconds(lasted_s), lasted_s >= least_s)
    points = window.points if drifting else window.anomalous_points
    yield Gate("points", f"at least {rule.points}", str(points), points >= rule.points)
    if not drifting:
        share = window.anomalous_points / max(window.points, 1)
        yield Gate(
            "steady",
            f"{FIXED_GATES.steady_share:.0%} of its points anomalous",
            f"{share:.0%}",
            share >= FIXED_GATES.steady_share,
        )
    if shift.before is not None and shift.after is not None and shift.before != shift.after:
        values = [abs(value - shift.after) for value in event.evidence.recent if value is not None]
        spread = sum(values) / max(len(values), 1) / abs(shift.after - shift.before)
        most = FIXED_GATES.settled_share if drifting else FIXED_GATES.tight_share
        found = f"{spread:.0%} of the last {len(values)} values"
        yield Gate("settled", f"within {most:.0%} of its height on average", found, spread <= most)


def _stuck_gates(event: Told, policy: PolicySettings) -> Iterator[Gate]:
    rule, still = policy.stuck, event.standstill
    if rule is None or still is None:
        return
    yield Gate("unchanged", f"at least {_seconds(rule.min_s)}", _seconds(still.length_s), still.length_s >= rule.min_s)
    yield Gate("points", f"at least {rule.points} equal", str(still.samples), still.samples >= rule.points)
    if still.usual_s > 0:
        runs = still.length_s / still.usual_s
        yield Gate("runs", f"at least {number(rule.runs)} usual ones", number(runs), runs >= rule.runs)


def _scatter_gates(event: Told, policy: PolicySettings) -> Iterator[Gate]:
    """Of the opening; once closed, by the largest ratio that there was."""
    rule, scatter = policy.variance, event.scatter
    if rule is None or scatter is None:
        return
    closed = event.state == "closed"
    ratio = scatter.largest_ratio if closed else scatter.ratio
    yield _at_least("ratio", ratio, rule.ratio, "times the usual scatter", always=True)
    points = event.window.anomalous_points
    yield Gate("points", f"at least {rule.points} scattered", str(points), points >= rule.points)
    if closed:
        yield Gate("close", f"{rule.points} points calm", event.end_reason or "unknown", _recovered(event))
        return
    yield _at_least("mean deviation", scatter.mean_deviation, FIXED_GATES.spread_min, "band widths", always=True)
    if scatter.lean is not None and scatter.mean_deviation:
        lean = abs(scatter.lean) / scatter.mean_deviation
        yield Gate(
            "both sides",
            f"lean at most {FIXED_GATES.lean_max:.0%} of that",
            f"{lean:.0%}",
            lean <= FIXED_GATES.lean_max,
        )


def _recovered(event: Told) -> bool | None:
    return True if event.end_reason == "recovered" else None


def _seconds(length_s: float) -> str:
    return duration(round(length_s * 1000))


GATES: Final[Mapping[str, Callable[[Told, PolicySettings], Iterator[Gate]]]] = {
    "metric.spike": _sample_gates,
    "metric.dip": _sample_gates,
    "metric.no_data": _silence_gates,
    "metric.level_shift": _level_gates,
    "metric.stuck": _stuck_gates,
    "metric.variance": _scatter_gates,
}
