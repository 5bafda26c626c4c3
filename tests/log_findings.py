"""Findings of windows for tests of log episodes and their events."""

import numpy as np

from detector.log_batches import (
    RECENT_WINDOWS,
    SIGNALS,
    LogSample,
    LogTemplate,
    Signals,
    TemplateFinding,
    WindowFindings,
)

MINUTE_MS = 60_000
START_MS = 1_795_305_600_000


def signals(**values: float) -> Signals:
    """The signals named, all others 0."""
    assert set(values) <= set(SIGNALS)
    up, down, mix, severity, rare, new, share_up, share_down, form = (values.get(name, 0.0) for name in SIGNALS)
    return up, down, mix, severity, rare, new, share_up, share_down, form


def template(
    number: int = 1,
    observed: int = 42,
    expected: float = 0.0,
    *,
    up: float = 0.0,
    down: float = 0.0,
    new: bool = False,
    severity: int = 0,
    total: int | None = None,
    lines: int = 200,
) -> TemplateFinding:
    recent = np.zeros(RECENT_WINDOWS, np.uint32)
    recent[-1] = observed
    usual = expected / lines
    all_lines = observed if total is None else total
    return TemplateFinding(
        number, observed, expected, up, down, observed / lines, usual, new, severity, all_lines, START_MS, recent
    )


def findings(
    minute: int,
    *templates: TemplateFinding,
    slot: int = 0,
    ready: bool = True,
    lines: int = 200,
    expected_lines: float = 200.0,
    combined: float | None = None,
    severities: tuple[int, ...] = (0, 0, 200, 0, 0, 0),
    usual_severities: tuple[float, ...] = (0.0, 0.0, 200.0, 0.0, 0.0, 0.0),
    before: int = 0,
    **values: float,
) -> WindowFindings:
    """The findings of a service's window; ``combined`` a little below the largest signal where it is not given.

    ``before``: lines of each window of its history.
    """
    given = signals(**values)
    recent = np.full(RECENT_WINDOWS, before, np.uint32)
    recent[-1] = lines
    return WindowFindings(
        slot=slot,
        window_ms=START_MS + minute * MINUTE_MS,
        windows_seen=1_440 + minute,
        ready=ready,
        lines=lines,
        expected_lines=expected_lines,
        signals=given,
        combined=max(max(given) - 1.0, 0.0) if combined is None else combined,
        score=sum(min(given[index], 8.0) for index in (2, 3, 4, 6, 7)),
        severities=severities,
        usual_severities=usual_severities,
        new_templates=sum(each.new for each in templates),
        vanished_templates=sum(each.observed == 0 for each in templates),
        templates=templates,
        recent=recent,
    )


def describe(found: WindowFindings) -> tuple[tuple[LogTemplate, ...], tuple[LogSample, ...]]:
    """What a miner would say of these findings, with two lines of each template."""
    templates = tuple(
        LogTemplate(f"{each.number:016x}", f"template {each.number} <*>", each) for each in found.templates
    )
    samples = tuple(
        LogSample(
            1_000 + turn, found.window_ms + turn, each.severity, each.number, None, f"template {each.number} {turn}"
        )
        for each in found.templates
        for turn in range(2)
    )
    return templates, samples
