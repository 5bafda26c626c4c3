"""What the signals of a window are evidence of: which kind, led by which template, how bad."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from detector.batches import Severity
from detector.episodes.log_policies import LogPolicy
from detector.episodes.policies import SEVERITIES
from detector.log_batches import (
    LOG_KINDS,
    SEVERITY_CLASSES,
    SIGNALS,
    LogKind,
    LogTemplate,
    Signals,
    TemplateFinding,
    WindowFindings,
)

COUNT_UP, COUNT_DOWN, MIX, SEVERITY, RARE, NEW, SHARE_UP, SHARE_DOWN, FORMAT_CHANGE = map(
    SIGNALS.index,
    ("count_up", "count_down", "mix", "severity", "rare", "new", "share_up", "share_down", "format_change"),
)

SIGNALS_OF: Final[Mapping[LogKind, tuple[int, ...]]] = {
    "log.format_change": (FORMAT_CHANGE,),
    "log.new_template": (NEW, RARE),
    "log.severity_surge": (SEVERITY,),
    "log.surge": (COUNT_UP, SHARE_UP),
    "log.vanished": (COUNT_DOWN, SHARE_DOWN),
    "log.mix_shift": (MIX,),
}
"""Signals by the kind that they are evidence of. What is rare is new to whoever reads it."""

FORMAT_PLACE: Final = LOG_KINDS.index("log.format_change")
SURGE_PLACE: Final = LOG_KINDS.index("log.surge")
VANISHED_PLACE: Final = LOG_KINDS.index("log.vanished")

RANKS: Final[Mapping[LogKind, int]] = {
    kind: SURGE_PLACE if kind == "log.vanished" else place for place, kind in enumerate(LOG_KINDS)
}
"""How specific a kind is, 0 the most. Surge and vanished are alike: load is taken out of the counts, so what is left of
a service whose lines vanish has a surge, and the other way round."""

DRIFT_WINDOWS: Final = 5
DRIFT_RATIO: Final = 1.5
"""Load that grows five times within an hour is a fifth above that of the last five windows; what breaks is sudden."""
_LN_10: Final = math.log(10.0)

REWORDED_SIGNALS: Final = (NEW, RARE, MIX, COUNT_DOWN, SHARE_DOWN, SHARE_UP)
"""What new wording does by itself. More lines than before (``count_up``) or worse ones (``severity``) it does not."""
REWORDED_KINDS: Final[frozenset[LogKind]] = frozenset({"log.new_template", "log.vanished", "log.mix_shift"})
"""Kinds that new wording alone can open."""

UNKNOWN, WARNING, ERROR, FATAL = map(SEVERITY_CLASSES.index, ("unknown", "warning", "error", "fatal"))

Weights = tuple[float, ...]
"""Evidence for each of ``LOG_KINDS``."""

NOTHING: Final[Weights] = (0.0,) * len(LOG_KINDS)


def is_drift(findings: WindowFindings) -> bool:
    """Whether the service's lines are about as many as just before, so that counts far off say that its load moves."""
    before = findings.recent[-1 - DRIFT_WINDOWS : -1].tolist()
    usual = sum(before) / DRIFT_WINDOWS
    return findings.lines > 0 and usual / DRIFT_RATIO <= findings.lines <= usual * DRIFT_RATIO


def without_counts(signals: Signals) -> float:
    """All signals but the counts as one: the harmonic mean of their probabilities, as in the signals' ``combined``."""
    kept = [0.0 if index in {COUNT_UP, COUNT_DOWN} else signal for index, signal in enumerate(signals)]
    most, total = max(kept), 0.0
    for signal in kept:
        total += math.exp((signal - most) * _LN_10)
    return max(most + math.log(total / len(kept)) / _LN_10, 0.0)


def weigh(signals: Signals, *, reworded: bool, drifting: bool = False) -> Weights:
    """Evidence for each kind: the largest of its signals.

    Where lines are being reworded, whatever new wording does by itself is evidence of that, and of nothing else. Where
    counts say which way it goes, the shares go with them: when most templates vanish, those that are left have larger
    shares without having more lines. ``drifting``: the counts are those of a busy hour, and no evidence themselves.
    """
    more, fewer = signals[COUNT_UP] > signals[COUNT_DOWN], signals[COUNT_UP] < signals[COUNT_DOWN]
    if drifting:
        signals = (0.0, 0.0, *signals[2:])
    weights = [max(signals[index] for index in SIGNALS_OF[kind]) for kind in LOG_KINDS]
    shares = max(signals[SHARE_UP], signals[SHARE_DOWN])
    if reworded:
        weights = [0.0 if kind in REWORDED_KINDS else weight for kind, weight in zip(LOG_KINDS, weights, strict=True)]
        weights[FORMAT_PLACE] = max(signals[index] for index in (FORMAT_CHANGE, *REWORDED_SIGNALS))
        weights[SURGE_PLACE] = signals[COUNT_UP]
    elif more:
        weights[SURGE_PLACE], weights[VANISHED_PLACE] = max(signals[COUNT_UP], shares), signals[COUNT_DOWN]
    elif fewer:
        weights[SURGE_PLACE], weights[VANISHED_PLACE] = signals[COUNT_UP], max(signals[COUNT_DOWN], shares)
    return tuple(weights)


def is_rewording(kind: LogKind, peak: WindowFindings) -> bool:
    """Whether an open episode of this kind may have been the beginning of new wording."""
    if kind == "log.surge":
        return peak.signals[SHARE_UP] >= peak.signals[COUNT_UP]
    return kind in REWORDED_KINDS


def _excess(finding: TemplateFinding) -> float:
    return finding.observed - finding.expected


def _newest(finding: TemplateFinding) -> tuple[bool, float]:
    return finding.new, float(finding.observed - finding.total) if finding.observed else float("-inf")


def _worst(finding: TemplateFinding) -> tuple[bool, bool, float]:
    return finding.severity >= ERROR, finding.severity >= WARNING, _excess(finding)


LEADS: Final[Mapping[LogKind, Callable[[TemplateFinding], object]]] = {
    "log.format_change": lambda finding: (finding.new, finding.observed),
    "log.new_template": _newest,
    "log.severity_surge": _worst,
    "log.surge": lambda finding: (finding.up, _excess(finding)),
    "log.vanished": lambda finding: (finding.down, -_excess(finding)),
    "log.mix_shift": lambda finding: abs(finding.share - finding.usual_share),
}
"""What the template that leads an episode has the most of: new, and new in many lines; new, else seen the least before;
the worst lines, the most of them; and so on. Of equals the first, which tells the most."""


def led(kind: LogKind, templates: Sequence[LogTemplate]) -> tuple[LogTemplate, ...]:
    """The same templates, the one that leads an episode of this kind first."""
    key = LEADS[kind]
    first = max(templates, key=lambda template: key(template.finding), default=None)  # type: ignore[arg-type, return-value] # the keys of one kind compare with one another
    return () if first is None else (first, *(template for template in templates if template is not first))


def rising_class(findings: WindowFindings, sustained_min: float) -> int:
    """The worst class, from warnings on, with more lines than usual, where their signal says so; else 0."""
    if findings.signals[SEVERITY] < sustained_min:
        return UNKNOWN
    pairs = zip(findings.severities, findings.usual_severities, strict=True)
    rising = [place for place, (observed, usual) in enumerate(pairs) if place >= WARNING and observed > usual]
    return max(rising, default=UNKNOWN)


def severity_of(
    policy: LogPolicy, kind: LogKind, evidence: float, findings: WindowFindings, lead: TemplateFinding | None
) -> Severity:
    """How bad a window is: by its evidence, within what the lines themselves allow.

    Lines of errors may be critical, and are an error at least where they are what is new or what surges, fatal ones
    everywhere; warnings, lines of unknown class and missing lines may be an error; information and debugging stay a
    warning. New wording is a warning, whatever class its new templates have, unless the share of bad lines rises with
    it: then the evidence for that counts.
    """
    surging = kind == "log.severity_surge"
    rising = rising_class(findings, 0.0 if surging else policy.sustained_min)
    worst = rising
    if kind == "log.format_change":
        evidence = findings.signals[SEVERITY] if rising else 0.0
    elif lead is not None and kind != "log.vanished":
        worst = max(rising, lead.severity)
    if rising:
        evidence = max(evidence, findings.signals[SEVERITY])
    most = 2 if worst >= ERROR else int(worst in {UNKNOWN, WARNING} or kind == "log.vanished")
    level = min(most, (evidence >= policy.severity_error) + (evidence >= policy.severity_critical))
    least = worst == FATAL or (worst == ERROR and (surging or kind == "log.new_template"))
    return SEVERITIES[max(level, int(least))]
