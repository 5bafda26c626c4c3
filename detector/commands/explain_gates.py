"""The gates of the policy that judged an event, and whether the event's numbers pass them."""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from detector.commands.explain_event import Told
from detector.encoders.wording import duration, number
from detector.settings import PolicySettings, Settings

SAMPLE_KINDS: Final = frozenset({"metric.spike", "metric.dip"})
"""Kinds that are judged sample by sample, by the gates below."""
SILENCE_KIND: Final = "metric.no_data"


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
    if event.kind in SAMPLE_KINDS:
        return list(_sample_gates(event, policy))
    if event.kind == SILENCE_KIND:
        return list(_silence_gates(event, policy))
    return []


def _sample_gates(event: Told, policy: PolicySettings) -> Iterator[Gate]:
    peak = event.peak
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
    allowed = policy.direction in {"both", event.direction}
    yield Gate("direction", policy.direction, event.direction or "unknown", allowed)
    yield _at_least("deviation", deviation, policy.deviation_min, "band widths", always=True)
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
            True if event.end_reason == "recovered" else None,
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
