"""Columns of a closed window as findings: the signals, and the templates that tell most."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray
from detector.log_batches import SIGNALS, Signals, TemplateFinding, WindowFindings
from detector.signals import judged as jd
from detector.signals import window as wd
from detector.signals.novelty import rarity
from detector.signals.records import CLASSES

TEMPLATES_MAX: Final = 10
TELLING_MIN: Final = 1.0
"""Digits from which a template is shown for a signal: those from which windows running may say something together."""
ERROR_BONUS: Final = 0.1
"""Of a new template's digits for each class of severity: the worst one is shown first."""


def findings_of(
    slot: int,
    window_ms: int,
    seen: int,
    *,
    ready: bool,
    rows: NDArray[np.void],
    lines: NDArray[np.uint32],
    classes: IntArray,
    whole: NDArray[np.void],
    place: int,
    judged: FloatArray,
    out: FloatArray,
) -> WindowFindings:
    """What a window says; the records have learnt it already, and ``place`` is behind it in their rings."""
    values = out.tolist()
    signals: Signals = tuple(values[: wd.SIGNAL_COUNT])
    shown: tuple[TemplateFinding, ...] = ()
    if max(signals) >= TELLING_MIN:
        shown = _templates(window_ms, rows, lines, int(classes[CLASSES]), place, judged, out)
    *by_class, all_lines = classes.tolist()
    return WindowFindings(
        slot=slot,
        window_ms=window_ms,
        windows_seen=seen,
        ready=ready,
        lines=all_lines,
        expected_lines=values[wd.LINES_MEAN],
        signals=signals,
        combined=values[wd.COMBINED],
        score=values[wd.SCORE],
        severities=tuple(by_class),
        usual_severities=tuple(values[wd.CLASS_MEANS :]),
        new_templates=int(values[wd.NEW_COUNT]),
        vanished_templates=int(values[wd.GONE_COUNT]),
        templates=shown,
        recent=_unrolled(whole["recent"][0], place),
    )


def _unrolled(ring: NDArray[np.uint32], place: int) -> NDArray[np.uint32]:
    """The ring in its order of time, as a copy."""
    return np.concatenate((ring[place:], ring[:place]))


def _templates(
    window_ms: int,
    rows: NDArray[np.void],
    lines: NDArray[np.uint32],
    all_lines: int,
    place: int,
    judged: FloatArray,
    out: FloatArray,
) -> tuple[TemplateFinding, ...]:
    """The most telling templates, of each signal that stands out the first at least."""
    telling = _telling(window_ms, rows, lines, judged, out)
    firsts = [
        int(np.argmax(telling[k])) for k in range(len(SIGNALS)) if telling[k].max() > 0.0 and out[k] >= TELLING_MIN
    ]
    most = telling.max(axis=0)
    ranked = np.argsort(-most, kind="stable")[:TEMPLATES_MAX].tolist()
    chosen = list(dict.fromkeys([*firsts, *(row for row in ranked if most[row] >= TELLING_MIN)]))[:TEMPLATES_MAX]
    chosen.sort(key=lambda row: (-most[row], row))
    return tuple(_finding(row, window_ms, rows[row], int(lines[row]), all_lines, place, judged[row]) for row in chosen)


def _telling(
    window_ms: int, rows: NDArray[np.void], lines: NDArray[np.uint32], judged: FloatArray, out: FloatArray
) -> FloatArray:
    """How much each template says about each signal, float64[9, rows], in digits."""
    seen = lines > 0
    new = seen & (rows["first_ms"] == window_ms)
    new[0] = False
    severities = rows["severity"] * seen
    telling = np.zeros((len(SIGNALS), len(rows)))
    telling[wd.COUNT_UP], telling[wd.COUNT_DOWN] = judged[:, jd.UP], judged[:, jd.DOWN]
    telling[wd.SHARE_UP], telling[wd.SHARE_DOWN] = judged[:, jd.SHARE_UP], judged[:, jd.SHARE_DOWN]
    parts = np.where(new, lines.astype(np.float64), judged[:, jd.MIX])
    telling[wd.MIX] = out[wd.MIX] * parts / max(float(parts.max()), 1.0)
    surging = severities >= wd.WARNING
    telling[wd.SEVERITY] = out[wd.SEVERITY] * surging * lines / max(float((surging * lines).max()), 1.0)
    telling[wd.NEW] = out[wd.NEW] * new * (1.0 + ERROR_BONUS * severities)
    telling[wd.FORMAT_CHANGE] = out[wd.FORMAT_CHANGE] * new * (1.0 + ERROR_BONUS * severities)
    if out[wd.RARE] >= TELLING_MIN:
        rarest = np.array([rarity(float(each)) for each in rows["presence"]]) * seen
        telling[wd.RARE] = out[wd.RARE] * (new | (rarest >= max(out[wd.RARITY], 1.0)))
    return telling


def _finding(
    number: int, window_ms: int, row: np.void, lines: int, all_lines: int, place: int, judged: FloatArray
) -> TemplateFinding:
    up, down, _, _, mean, _, share_mean, *_ = judged.tolist()
    return TemplateFinding(
        number=number,
        observed=lines,
        expected=mean,
        up=up,
        down=down,
        share=lines / max(all_lines, 1),
        usual_share=share_mean / max(all_lines, 1),
        new=int(row["first_ms"]) == window_ms and number > 0,
        severity=int(row["severity"]),
        total=int(row["total"]),
        first_ms=int(row["first_ms"]),
        recent=_unrolled(row["recent"], place),
    )
