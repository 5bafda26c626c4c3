"""The gates of the policy that judged an event of log lines, and whether the event's numbers pass them.

Any one of three rules opens an episode, so where one holds the others need not. The numbers are those of the window
with the most evidence so far; of an event that opens an episode that is the window that opened it.
"""

from collections.abc import Iterator
from typing import Final

from detector.commands.explain_gates import Gate
from detector.commands.explain_logs_event import COMBINED, LogTold
from detector.encoders.wording import number
from detector.settings import LogPolicySettings, Settings

LEARNT: Final = frozenset({"recovered", "accepted"})
"""Why an episode closes after quiet windows."""


def log_policy_of_event(settings: Settings, event: LogTold) -> LogPolicySettings | None:
    """The policy that the event names, if these settings have one of this name."""
    for policy in settings.logs.policies:
        if policy.name == event.policy:
            return policy
    default = LogPolicySettings(name="default")
    return default if event.policy == default.name else None


def log_gates_of(event: LogTold, policy: LogPolicySettings) -> list[Gate]:
    """Give every gate that decides about the event."""
    return list(_gates(event, policy))


def _gates(event: LogTold, policy: LogPolicySettings) -> Iterator[Gate]:
    yield Gate("kind", f"one of {len(policy.kinds)} kinds that open", event.kind, event.kind in policy.kinds)
    seen = event.evidence.windows_seen
    found = "unknown" if seen is None else f"{seen:,} windows learnt"
    yield Gate("learnt", "past its warm-up", found, not event.quality.warm_up)
    yield _volume(event, policy)
    yield from _opening(event, policy)
    if event.state == "closed":
        yield Gate(
            "close",
            f"{policy.close_windows} windows running below {_p(policy.sustained_min)}",
            event.end_reason or "unknown",
            event.end_reason in LEARNT or None,
        )
    rule = (
        f"error from {_p(policy.severity_error)}, critical from {_p(policy.severity_critical)}, as far as lines allow"
    )
    yield Gate("severity", rule, event.severity, None)


def _volume(event: LogTold, policy: LogPolicySettings) -> Gate:
    known = [float(value) for value in (event.peak.observed, event.peak.expected) if value is not None]
    most = max(known, default=None)
    found = "unknown" if most is None else f"{number(most)} lines"
    if not policy.lines_min:
        return Gate("volume", "off", found, None)
    rule = f"at least {number(policy.lines_min)} lines observed or expected"
    return Gate("volume", rule, found, None if most is None else most >= policy.lines_min)


def _opening(event: LogTold, policy: LogPolicySettings) -> Iterator[Gate]:
    together = event.contributions.get(COMBINED)
    name, single = next(iter(event.signals), ("none", 0.0))
    most = max(single, together or 0.0)
    running = event.window.anomalous_windows
    rules = (
        (
            "together",
            f"{_p(policy.combined_min)} of all signals",
            _p(together),
            _reaches(together, policy.combined_min),
        ),
        ("single", f"{_p(policy.single_min)} of one signal", f"{name} {_p(single)}", single >= policy.single_min),
        (
            "sustained",
            f"{_p(policy.sustained_min)} in {policy.sustained_windows} windows running",
            f"{_p(most)} at most, {running} of {event.window.windows} windows anomalous",
            most >= policy.sustained_min and running >= policy.sustained_windows,
        ),
    )
    opened = any(holds for _, _, _, holds in rules)
    for rule_name, rule, found, holds in rules:
        yield Gate(rule_name, rule, found, True if holds else None if opened else holds)


def _reaches(value: float | None, least: float) -> bool | None:
    return None if value is None else value >= least


def _p(evidence: float | None) -> str:
    return "unknown" if evidence is None else f"p = 10^-{number(evidence)}"
