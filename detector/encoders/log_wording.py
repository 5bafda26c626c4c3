"""The words of an event of log lines: the summary sentence and the reasons."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from detector.batches import EndReason, SeriesIdentity
from detector.encoders.event import Topology
from detector.encoders.log_event import LogReason, LogReasonCode
from detector.encoders.wording import duration, moment, number, weights_of
from detector.log_batches import SEVERITY_CLASSES, SIGNALS, LogKind, LogTemplate, LogTransition, TemplateFinding

SCORE_HALF: Final = 6.0
"""Evidence with the score 50: p = 1e-6, at which the default policy opens."""

QUOTED_CHARS_MAX: Final = 120
"""Of a template in a sentence; the event has it whole."""

REASON_MIN: Final = 1.0
"""Evidence below p = 0.1 is no reason."""
REASONS_MAX: Final = 5

WARNING: Final = SEVERITY_CLASSES.index("warning")


def score_of(evidence: float) -> float:
    """Evidence as a score from 0 to 100: 100 e / (6 + e), strictly monotone; NaN stays NaN.

    >>> score_of(0.0), score_of(6.0), score_of(18.0)
    (0.0, 50.0, 75.0)
    """
    return 100.0 if math.isinf(evidence) else 100.0 * (evidence / (SCORE_HALF + evidence))


def cut(text: str, chars_max: int) -> str:
    """The text, or its beginning and an ellipsis.

    >>> cut("connection refused", 11)
    'connection…'
    """
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def quoted(template: LogTemplate) -> str:
    """A template's text for a sentence: on one line, in quotes, not too long."""
    return f'"{cut(" ".join(template.text.split()), QUOTED_CHARS_MAX)}"'


def summarise_log(
    transition: LogTransition, identity: SeriesIdentity, topology: Topology, window_length_ms: int
) -> str:
    """The transition as one sentence for the person on call: what the lines say, what is normal, since when."""
    owner = topology.service or topology.host or topology.namespace or identity.canonical or "the logs"
    what = WHAT[transition.kind](transition, f"{number(window_length_ms / 1000.0)} s")
    if transition.state == "closed":
        return f"{owner}: {_ending(transition)}; at its worst {what}, at {moment(transition.peak_ms)}"
    if transition.state == "opened":
        since = f", since {moment(transition.started_ms)}" if transition.windows > 1 else ""
        return f"{owner}: {what}{since}"
    lasted = duration(transition.time_ms - transition.started_ms)
    worst = "" if _is_peak(transition) else f", at {moment(transition.peak_ms)}{_now(transition)}"
    return f"{owner}: {what}{worst}; for {lasted}, since {moment(transition.started_ms)}"


def is_of_service(transition: LogTransition) -> bool:
    """Whether a surge or a loss is the whole service's: its leading template makes up less than half of the change."""
    peak = transition.peak
    if not transition.templates:
        return True
    lead = transition.templates[0].finding
    return 2.0 * abs(lead.observed - lead.expected) < abs(peak.lines - peak.expected_lines)


def worst_rising(transition: LogTransition) -> int | None:
    """The worst class, from warnings on, with more lines than usual at the peak; None where there is none."""
    peak = transition.peak
    pairs = enumerate(zip(peak.severities, peak.usual_severities, strict=True))
    rising = [place for place, (observed, usual) in pairs if place >= WARNING and observed > usual]
    return max(rising, default=None)


def _is_peak(transition: LogTransition) -> bool:
    return transition.findings is not None and transition.findings.window_ms == transition.peak_ms


def _now(transition: LogTransition) -> str:
    """What the last window has of the template that leads, where it lists that; else of the service."""
    found = transition.findings
    if found is None:
        return ""
    if transition.templates:
        for finding in found.templates:
            if finding.number == transition.templates[0].finding.number:
                return f", {_times(finding.observed)} in the last window"
    return f", {_lines(found.lines)} in the last window, {number(found.expected_lines)} expected"


def _lines(count: int) -> str:
    return "no lines" if count == 0 else f"{count} line" if count == 1 else f"{count} lines"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _level(finding: TemplateFinding) -> str:
    return f" at {SEVERITY_CLASSES[finding.severity]}" if finding.severity else ""


def _new(transition: LogTransition, length: str) -> str:
    if not transition.templates:
        return f"{_templates(transition.peak.new_templates, 'new')} in {length}"
    lead = transition.templates[0]
    finding = lead.finding
    said = f"{quoted(lead)} {_times(finding.observed)} in {length}"
    if not finding.new:
        before = max(finding.total - finding.observed, 0)
        return f"rare template{_level(finding)}: {said}, {_times(before)} before, since {moment(finding.first_ms)}"
    others = transition.peak.new_templates - 1
    more = f"; {_templates(others, 'other new')} with it" if others > 0 else ""
    return f"new template{_level(finding)}: {said}, never seen before{more}"


def _surge(transition: LogTransition, length: str) -> str:
    peak = transition.peak
    if is_of_service(transition) and (peak.lines > peak.expected_lines or not transition.templates):
        return f"{_lines(peak.lines)} in {length}, {number(peak.expected_lines)} expected"
    lead = transition.templates[0]
    if lead.finding.observed <= lead.finding.expected:
        return _share(transition, length)
    level, expected = _level(lead.finding), number(lead.finding.expected)
    return f"template{level}: {quoted(lead)} {_times(lead.finding.observed)} in {length}, {expected} expected"


def _vanished(transition: LogTransition, length: str) -> str:
    peak = transition.peak
    if is_of_service(transition) and (peak.lines < peak.expected_lines or not transition.templates):
        return f"{_lines(peak.lines)} in {length}, {number(peak.expected_lines)} expected"
    lead = transition.templates[0]
    if lead.finding.observed >= lead.finding.expected:
        return _share(transition, length)
    left = "has vanished: no lines" if lead.finding.observed == 0 else f"is fading: {_lines(lead.finding.observed)}"
    return f"template {quoted(lead)} {left} in {length}, {number(lead.finding.expected)} expected"


def _share(transition: LogTransition, length: str) -> str:
    """For changes of shares that are none of counts."""
    lead = transition.templates[0]
    share, usual = number(100.0 * lead.finding.share), number(100.0 * lead.finding.usual_share)
    return f"template {quoted(lead)} is {share} % of {_lines(transition.peak.lines)} in {length}, usually {usual} %"


def _severity(transition: LogTransition, length: str) -> str:
    peak, place = transition.peak, worst_rising(transition)
    lead = f"; most telling {quoted(transition.templates[0])}" if transition.templates else ""
    if place is None:
        return f"lines of a worse severity than usual among {_lines(peak.lines)} in {length}{lead}"
    usual = number(peak.usual_severities[place])
    return f"{_lines(peak.severities[place])} at {SEVERITY_CLASSES[place]} in {length}, usually {usual}{lead}"


def _mix(transition: LogTransition, length: str) -> str:
    shifted = f"its lines have shifted between templates in {length}"
    if not transition.templates:
        return shifted
    lead = transition.templates[0]
    share, usual = number(100.0 * lead.finding.share), number(100.0 * lead.finding.usual_share)
    return f"{shifted}: {quoted(lead)} is {share} % of {_lines(transition.peak.lines)}, usually {usual} %"


def _format(transition: LogTransition, length: str) -> str:
    peak = transition.peak
    lead = f", such as {quoted(transition.templates[0])}" if transition.templates else ""
    came, went = _templates(peak.new_templates, "new"), _templates(peak.vanished_templates, "vanished")
    return f"its lines are worded anew: {came} and {went} in {length}{lead}"


def _templates(count: int, which: str) -> str:
    return f"{count} {which} template{'' if count == 1 else 's'}"


WHAT: Final[Mapping[LogKind, Callable[[LogTransition, str], str]]] = {
    "log.format_change": _format,
    "log.new_template": _new,
    "log.severity_surge": _severity,
    "log.surge": _surge,
    "log.vanished": _vanished,
    "log.mix_shift": _mix,
}
"""What stood out in the window with the most evidence, by kind."""


ENDINGS: Final[Mapping[EndReason, str]] = {
    "recovered": "is back to normal after",
    "accepted": "is taken as normal from here on, after",
    "superseded": "turns out to be a change of its wording after",
    "silent": "had not recovered when it fell silent after",
    "expired": "had not recovered when it was forgotten after",
    "evicted": "had not recovered when the detector stopped following it after",
}
"""What a service did, before the length of its episode."""


def _ending(transition: LogTransition) -> str:
    assert transition.ended_ms is not None, "a closed episode has an end"
    assert transition.end_reason is not None, "a closed episode has a reason"
    return f"{ENDINGS[transition.end_reason]} {duration(transition.ended_ms - transition.started_ms)}"


def log_reasons_for(transition: LogTransition) -> list[LogReason]:
    """Why this is an episode: the signals of the window with the most evidence, the heaviest first.

    The strength of a signal is e / (6 + e) of its evidence e; the five strongest from p = 0.1 on are told. Weights are
    strengths divided by their sum. Where none is that strong, all of them together are the reason.
    """
    strengths = [
        (score_of(evidence) / 100.0, name)
        for name, evidence in zip(SIGNALS, transition.peak.signals, strict=True)
        if evidence >= REASON_MIN
    ]
    strengths.sort(key=lambda strength: -strength[0])
    strengths = strengths[:REASONS_MAX]
    if not strengths:
        return [LogReason("combined", 1.0, f"all signals together, p = 10^-{number(transition.peak.combined)}")]
    weights = weights_of([strength for strength, _ in strengths])
    reasons = [
        LogReason(REASON_CODES[name], weight, _reason_text(name, transition))
        for weight, (_, name) in zip(weights, strengths, strict=True)
    ]
    return sorted(reasons, key=lambda reason: -reason.weight)


REASON_CODES: Final[Mapping[str, LogReasonCode]] = {
    "count_up": "count_up",
    "count_down": "count_down",
    "mix": "mix",
    "severity": "severity",
    "rare": "rare",
    "new": "new",
    "share_up": "share_up",
    "share_down": "share_down",
    "format_change": "format_change",
}


def _reason_text(name: str, transition: LogTransition) -> str:
    """The signal with its numbers; of the templates listed, the one that it is the largest for."""
    peak = transition.peak
    p = f"p = 10^-{number(peak.signals[SIGNALS.index(name)])}"
    if name == "severity":
        pairs = zip(SEVERITY_CLASSES, peak.severities, peak.usual_severities, strict=True)
        told = ", ".join(f"{each} {found} (usually {number(usual)})" for each, found, usual in pairs if found or usual)
        return f"lines by severity: {told}; {p}"
    if name in {"new", "format_change"}:
        came, went = _templates(peak.new_templates, "new"), _templates(peak.vanished_templates, "vanished")
        return f"{came}, {went}; {p}" if name == "format_change" else f"{came}; {p}"
    key = TOLD_BY.get(name)
    if key is None or not transition.templates:
        words = "templates that are hardly ever seen" if name == "rare" else "templates in other shares than usual"
        total = f"{_lines(peak.lines)}, {number(peak.expected_lines)} expected"
        return f"{total if name.startswith('count') else words}; {p}"
    told_by = max(transition.templates, key=lambda template: key(template.finding))
    finding = told_by.finding
    if name.startswith("count") and key(finding) <= 0.0:
        return f"{_lines(peak.lines)}, {number(peak.expected_lines)} expected; {p}"
    if name.startswith("count"):
        return f"{quoted(told_by)}: {_lines(finding.observed)}, {number(finding.expected)} expected; {p}"
    share, usual = number(100.0 * finding.share), number(100.0 * finding.usual_share)
    return f"{quoted(told_by)}: {share} % of the lines, usually {usual} %; {p}"


TOLD_BY: Final[Mapping[str, Callable[[TemplateFinding], float]]] = {
    "count_up": lambda finding: finding.up,
    "count_down": lambda finding: finding.down,
    "share_up": lambda finding: finding.share - finding.usual_share,
    "share_down": lambda finding: finding.usual_share - finding.share,
}
