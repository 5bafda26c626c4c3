"""Findings in, transitions out: the episodes of the log lines of one partition."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from detector.batches import EndReason, IntArray, Severity, TransitionState
from detector.columns import Columns
from detector.episodes.log_kinds import (
    FORMAT_CHANGE,
    NOTHING,
    RANKS,
    REWORDED_KINDS,
    Weights,
    is_drift,
    is_rewording,
    led,
    severity_of,
    weigh,
    without_counts,
)
from detector.episodes.log_policies import LogPolicy
from detector.episodes.log_runs import go_on, is_sustained
from detector.episodes.log_state import Leaving, LogCopy, LogEpisode, LogService, services_of
from detector.episodes.policies import SEVERITIES
from detector.log_batches import LOG_KINDS, LogKind, LogSample, LogTemplate, LogTransition, WindowFindings

REWORDED_WINDOWS: Final = 5
"""Windows over which a deploy may roll: what new wording does in so many after it was seen, or began so many before, is
its doing."""

LEARNT_WINDOWS: Final = 30
"""After so many anomalous windows the signals take them for normal (docs/decisions/0018-log-signals.md): evidence that
ends then has not ended because the lines are back."""

COOLED: Final[dict[LogKind, frozenset[LogKind]]] = {
    kind: frozenset(other for other in LOG_KINDS if RANKS[other] >= RANKS[kind]) for kind in LOG_KINDS
} | {"log.format_change": REWORDED_KINDS | {"log.format_change"}}
"""What may not open for a while after an episode of a kind has closed: what is no more specific. After new wording only
what that does by itself: a deploy that breaks something is told."""

Describe = Callable[[WindowFindings], tuple[tuple[LogTemplate, ...], tuple[LogSample, ...]]]
"""Shows the templates of findings, in their order, and lines of them, redacted."""


@dataclass(slots=True)
class _Window:
    """One closed window, as the judge looks at it; the templates and lines are fetched once, if at all."""

    row: int
    findings: WindowFindings
    length_ms: int
    policy: LogPolicy
    own: Weights
    combined: float
    describe: Describe
    shown: tuple[tuple[LogTemplate, ...], tuple[LogSample, ...]] | None = None

    @property
    def start_ms(self) -> int:
        return self.findings.window_ms

    @property
    def end_ms(self) -> int:
        return self.findings.window_ms + self.length_ms

    def evidence(self, kind: LogKind, *, joint: bool) -> float:
        own = self.own[LOG_KINDS.index(kind)]
        return max(own, self.combined) if joint else own

    def show(self, kind: LogKind) -> tuple[tuple[LogTemplate, ...], tuple[LogSample, ...]]:
        if self.shown is None:
            self.shown = self.describe(self.findings)
        templates, samples = led(kind, self.shown[0]), self.shown[1]
        first = templates[0].finding.number if templates else None
        ordered = sorted(samples, key=lambda sample: sample.number != first)
        return templates, tuple(ordered[: self.policy.samples_max])


class LogJudge:
    """Turns the findings of windows into the few transitions of episodes.

    Plain Python: it sees one window of a service a minute, not lines. A service never has two open episodes of one
    kind, and nothing closes that was not opened. One cause should be one episode: while one is open, or has just
    closed, only a more specific kind opens (``LOG_KINDS``, the first the most); everything else is taken as belonging
    to what is open. docs/decisions/0019-log-episodes.md has the rules and their reasons.
    """

    def __init__(self, policies: Sequence[LogPolicy]) -> None:
        assert policies, "a policy book always has a default"
        self._policies = tuple(policies)
        self._services: dict[int, LogService] = {}

    def open_slot(self, slot: int, policy_index: int) -> None:
        """Begin a new service in ``slot``, judged by the policy at ``policy_index``."""
        assert 0 <= policy_index < len(self._policies)
        assert slot not in self._services or not self._services[slot].open, "evict a service before its slot is used"
        self._services[slot] = LogService(policy_index)

    def judge(
        self, row: int, findings: WindowFindings, window_length_ms: int, describe: Describe
    ) -> list[LogTransition]:
        """Judge one closed window; those of a service come in ascending order, but not necessarily without gaps.

        ``row`` is the record that made the watermark close it. ``describe`` is called at most once, where an episode
        opens or its evidence is larger than ever.
        """
        assert window_length_ms > 0
        service = self._services[findings.slot]
        assert findings.window_ms > service.window_ms, "windows of a service are judged in order, each once"
        window = self._weighed(service, row, findings, window_length_ms, describe)
        go_on(service, window.own, window.combined, window.start_ms, window.length_ms, window.policy)
        self._follow(service, window)
        kind, joint = self._choose(service, window)
        transitions = [] if kind is None else self._begin(service, window, kind, joint=joint)
        for episode in [each for each in service.open if each.detected_ms < window.end_ms]:
            transitions += self._tell(service, episode, window)
        service.window_ms = findings.window_ms
        return transitions

    def evict(
        self, slots: IntArray | Sequence[int], row: int, time_ms: int, reason: Leaving = "evicted"
    ) -> list[LogTransition]:
        """Close what is open in ``slots`` for this reason, then forget these services.

        The transitions carry ``row`` and ``time_ms`` of whatever made the service leave, and no findings.
        """
        transitions: list[LogTransition] = []
        for slot in map(int, slots):
            service = self._services[slot]
            for episode in service.open:
                episode.sequence += 1
                transitions.append(_transition(service, episode, row, time_ms, "closed", math.nan, None, reason))
            service.open.clear()
        self.forget(slots)
        return transitions

    def forget(self, slots: IntArray | Sequence[int]) -> None:
        """Drop what is known of these services, of which nothing may be open; unknown slots are fine."""
        for slot in map(int, slots):
            service = self._services.pop(slot, None)
            assert service is None or not service.open, "evict a service with open episodes"

    def copy(self, slots: IntArray | Sequence[int] | None = None) -> LogCopy:
        """Copy the state of these services, or of all in the order of their slots."""
        chosen = sorted(self._services) if slots is None else [int(slot) for slot in slots]
        return LogCopy([self._services[slot] for slot in chosen])

    def restore(self, columns: Columns, slots: IntArray | Sequence[int]) -> None:
        """Take a copy's columns in a new judge: its i-th service gets ``slots[i]``. Raises ``SnapshotRefusedError``."""
        assert not self._services, "a judge that has judged is not restored"
        self._services = dict(services_of(columns, [int(slot) for slot in slots], len(self._policies)))

    def open_count(self) -> int:
        """Number of open episodes."""
        return sum(len(service.open) for service in self._services.values())

    def state_bytes(self) -> int:
        """About the bytes of the state of all services."""
        return sum(service.nbytes() for service in self._services.values())

    def _weighed(
        self, service: LogService, row: int, findings: WindowFindings, length_ms: int, describe: Describe
    ) -> _Window:
        """The window with its evidence; there is none before the service can be judged, nor below ``lines_min``."""
        policy = self._policies[service.policy]
        if not findings.ready or max(findings.lines, findings.expected_lines) < policy.lines_min:
            return _Window(row, findings, length_ms, policy, NOTHING, 0.0, describe)
        if findings.signals[FORMAT_CHANGE] >= policy.sustained_min:
            service.reworded_ms = findings.window_ms
        reworded = findings.window_ms - service.reworded_ms <= REWORDED_WINDOWS * length_ms
        drifting = is_drift(findings) and not any(each.kind in {"log.surge", "log.vanished"} for each in service.open)
        own = weigh(findings.signals, reworded=reworded, drifting=drifting)
        combined = min(findings.combined, without_counts(findings.signals)) if drifting else findings.combined
        return _Window(row, findings, length_ms, policy, own, combined, describe)

    def _follow(self, service: LogService, window: _Window) -> None:
        """Take the window into the open episodes; what is evidence of no open kind belongs to the loudest of them."""
        if not service.open:
            return
        mine = {episode.kind for episode in service.open}
        others = [own for kind, own in zip(LOG_KINDS, window.own, strict=True) if kind not in mine]
        receiver = max(service.open, key=lambda episode: window.own[LOG_KINDS.index(episode.kind)])
        for episode in service.open:
            evidence = window.evidence(episode.kind, joint=episode.joint)
            held = max(evidence, window.combined, *others, 0.0) if episode is receiver else evidence
            run = service.runs[-1] if episode.joint else service.runs[LOG_KINDS.index(episode.kind)]
            goes_on = held >= window.policy.sustained_min or is_sustained(run, window.policy)
            self._take(episode, window, evidence, anomalous=goes_on)

    @staticmethod
    def _take(episode: LogEpisode, window: _Window, evidence: float, *, anomalous: bool) -> None:
        episode.windows += 1
        if not anomalous:
            episode.quiet_windows += 1
            episode.quiet_lines += window.findings.lines
            seen = _is_back(episode, window.findings)
            episode.is_back = episode.is_back if seen is None else seen
            return
        episode.anomalous_windows += 1
        episode.ended_ms = window.end_ms
        episode.quiet_windows, episode.quiet_lines, episode.is_back = 0, 0, None
        if evidence > episode.peak_evidence:
            episode.peak, episode.peak_evidence = window.findings, evidence
            episode.templates, episode.samples = window.show(episode.kind)
        severity = _severity(window, episode.kind, evidence, episode.templates)
        episode.severity = max(episode.severity, severity, key=SEVERITIES.index)

    @staticmethod
    def _choose(service: LogService, window: _Window) -> tuple[LogKind | None, bool]:
        """The kind that opens with this window, if any, and whether only all signals together make it open."""
        policy, own, runs = window.policy, window.own, service.runs
        most = RANKS[service.open[0].kind] if service.open else len(LOG_KINDS)
        cooling = {
            blocked
            for kind, closed_ms in zip(LOG_KINDS, service.closed_ms, strict=True)
            if window.end_ms < closed_ms + policy.cooldown_s * 1000.0
            for blocked in COOLED[kind]
        }
        allowed = [kind for kind in LOG_KINDS if RANKS[kind] < most and kind in policy.kinds and kind not in cooling]
        for kind in allowed:
            place = LOG_KINDS.index(kind)
            if own[place] >= policy.single_min or is_sustained(runs[place], policy):
                return kind, False
        if service.open or (window.combined < policy.combined_min and not is_sustained(runs[-1], policy)):
            return None, False
        strongest = max(range(len(LOG_KINDS)), key=own.__getitem__)
        kind = LOG_KINDS[strongest] if own[strongest] > 0.0 else "log.mix_shift"
        return (kind if kind in allowed else None), True

    def _begin(self, service: LogService, window: _Window, kind: LogKind, *, joint: bool) -> list[LogTransition]:
        """Open an episode; one of new wording ends those that may have been its beginning, and begins with them."""
        transitions: list[LogTransition] = []
        place = LOG_KINDS.index(kind)
        windows = anomalous = max(service.lengths[-1 if joint else place], 1)
        started_ms = window.start_ms - (windows - 1) * window.length_ms
        earliest_ms = window.start_ms - REWORDED_WINDOWS * window.length_ms
        for other in list(service.open):
            if kind == "log.format_change" and other.started_ms >= earliest_ms and is_rewording(other.kind, other.peak):
                started_ms = min(started_ms, other.started_ms)
                windows, anomalous = max(windows, other.windows), max(anomalous, other.anomalous_windows)
                transitions.append(self._close(service, other, window, "superseded"))
        templates, samples = window.show(kind)
        evidence = window.evidence(kind, joint=joint)
        service.begun += 1
        episode = LogEpisode(
            kind=kind,
            number=service.begun,
            joint=joint,
            started_ms=started_ms,
            detected_ms=window.end_ms,
            ended_ms=window.end_ms,
            told_ms=window.end_ms,
            windows=windows,
            anomalous_windows=anomalous,
            peak_evidence=evidence,
            severity=_severity(window, kind, evidence, templates),
            peak=window.findings,
            templates=templates,
            samples=samples,
        )
        service.open.insert(0, episode)
        assert all(LOG_KINDS.index(a.kind) < LOG_KINDS.index(b.kind) for a, b in pairwise(service.open))
        transitions.append(_told(service, episode, window, "opened"))
        return transitions

    def _tell(self, service: LogService, episode: LogEpisode, window: _Window) -> list[LogTransition]:
        """Close the episode if it has been quiet for long enough; tell of it again where that is due."""
        if episode.quiet_windows >= window.policy.close_windows:
            return [self._close(service, episode, window, _end_reason(episode))]
        due = window.end_ms - episode.told_ms >= window.policy.update_interval_s * 1000.0
        if episode.quiet_windows == 0 and (due or episode.severity != episode.told_severity):
            return [_told(service, episode, window, "updated")]
        return []

    @staticmethod
    def _close(service: LogService, episode: LogEpisode, window: _Window, reason: EndReason) -> LogTransition:
        """Take the episode off the open ones; one that goes on as another kind cools nothing down."""
        service.open.remove(episode)
        if reason != "superseded":
            service.closed_ms[LOG_KINDS.index(episode.kind)] = window.end_ms
        return _told(service, episode, window, "closed", reason)


def _severity(window: _Window, kind: LogKind, evidence: float, templates: Sequence[LogTemplate]) -> Severity:
    lead = templates[0].finding if templates else None
    return severity_of(window.policy, kind, evidence, window.findings, lead)


def _is_back(episode: LogEpisode, findings: WindowFindings) -> bool | None:
    """Whether lines come as before the episode (True), or as during it (False); None where the window does not tell.

    The leading template tells if it is listed; else the service's lines do, where they had changed by half.
    """
    if episode.kind not in {"log.vanished", "log.surge"}:
        return None
    peak = episode.peak
    if episode.templates:
        lead = episode.templates[0].finding
        for finding in findings.templates:
            if finding.number == lead.number:
                return abs(finding.observed - lead.expected) <= abs(finding.observed - lead.observed)
    if 2.0 * abs(peak.lines - peak.expected_lines) < peak.expected_lines:
        return None
    return abs(findings.lines - peak.expected_lines) <= abs(findings.lines - peak.lines)


def _end_reason(episode: LogEpisode) -> EndReason:
    """Why an episode ends that has been quiet for long enough.

    New wording stays: it is accepted. So is what the last windows show as it had become, and what lasted until the
    signals took it for normal, unless the last windows show it as it was before. A service that used to speak in every
    window and has not said a word since has fallen silent.
    """
    if episode.kind == "log.format_change":
        return "accepted"
    if episode.kind != "log.vanished" and episode.quiet_lines == 0 and episode.peak.expected_lines >= 1.0:
        return "silent"
    if episode.is_back is None:
        return "accepted" if episode.anomalous_windows >= LEARNT_WINDOWS else "recovered"
    return "recovered" if episode.is_back else "accepted"


def _told(
    service: LogService,
    episode: LogEpisode,
    window: _Window,
    state: TransitionState,
    end_reason: EndReason | None = None,
) -> LogTransition:
    """The next transition of an episode, with this window."""
    episode.sequence += 1
    episode.told_ms = window.end_ms
    episode.told_severity = episode.severity
    evidence = window.evidence(episode.kind, joint=episode.joint)
    return _transition(service, episode, window.row, window.end_ms, state, evidence, window.findings, end_reason)


def _transition(
    service: LogService,
    episode: LogEpisode,
    row: int,
    time_ms: int,
    state: TransitionState,
    evidence: float,
    findings: WindowFindings | None,
    end_reason: EndReason | None,
) -> LogTransition:
    return LogTransition(
        row=row,
        slot=episode.peak.slot,
        policy=service.policy,
        state=state,
        kind=episode.kind,
        sequence=episode.sequence,
        episode_number=episode.number,
        time_ms=time_ms,
        started_ms=episode.started_ms,
        detected_ms=episode.detected_ms,
        ended_ms=episode.ended_ms if state == "closed" else None,
        windows=episode.windows,
        anomalous_windows=episode.anomalous_windows,
        evidence=evidence,
        peak_evidence=episode.peak_evidence,
        peak_ms=episode.peak.window_ms,
        severity=episode.severity,
        end_reason=end_reason,
        findings=findings,
        peak=episode.peak,
        templates=episode.templates,
        samples=episode.samples,
    )
