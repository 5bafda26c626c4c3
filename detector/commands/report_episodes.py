"""What a report keeps of the episodes: the last event of each, the worst of every series, and counts of all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from detector.commands.report_samples import SeriesName

KEPT_MAX: Final = 100
"""Episodes kept per series, the worst ones; the others are counted."""
KEPT_MARGIN: Final = 2
"""So many times the limit are held before the least bad are let go."""
SCORE_OF_SEVERITY: Final[Mapping[str, float]] = {"warning": 50.0, "error": 75.0, "critical": 90.0}
"""Stands in for the score of an episode without a peak, such as silence: from where the severity begins by default."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode as its last event tells it. ``ended_ms`` is its last known time while it is open."""

    kind: str
    severity: str
    summary: str
    started_ms: int
    ended_ms: int
    is_open: bool
    peak_score: float | None
    peak_ms: int | None
    peak_observed: float | None

    @property
    def badness(self) -> tuple[float, int]:
        """By peak score, then by duration."""
        score = SCORE_OF_SEVERITY.get(self.severity, 0.0) if self.peak_score is None else self.peak_score
        return score, self.ended_ms - self.started_ms


@dataclass(slots=True)
class SeriesEpisodes:
    """The episodes of one series: how many, and the worst of them."""

    unit: str | None = None
    count: int = 0
    kept: list[Episode] = field(default_factory=list)

    def add(self, episode: Episode) -> None:
        """Count it, and keep it if it is among the worst; of two alike the earlier one."""
        self.count += 1
        self.kept.append(episode)
        if len(self.kept) >= KEPT_MARGIN * KEPT_MAX:
            self.worst_first()

    def worst_first(self) -> list[Episode]:
        """The worst episodes, at most :data:`KEPT_MAX`."""
        self.kept.sort(key=lambda each: (each.badness, -each.started_ms), reverse=True)
        del self.kept[KEPT_MAX:]
        return self.kept

    def ended_ms(self) -> int:
        """The latest time of any of them."""
        return max(each.ended_ms for each in self.kept)


class Episodes:
    """The episodes of all series of a replay, from their events in order."""

    def __init__(self) -> None:
        self.kinds: Counter[tuple[str, str]] = Counter()
        """Episodes by kind and severity of their last event."""
        self._series: dict[SeriesName, SeriesEpisodes] = {}
        self._open: dict[str, tuple[SeriesName, Mapping[str, Any]]] = {}

    def add(self, anomaly: Mapping[str, Any]) -> None:
        """Take the ``data`` of one event."""
        name = (anomaly["provenance"]["input_topic"], anomaly["series"]["identity"])
        self._open[anomaly["episode_id"]] = (name, anomaly)
        if anomaly["state"] == "closed":
            self._close(anomaly["episode_id"])

    def finish(self) -> dict[SeriesName, SeriesEpisodes]:
        """Take what is still open as it is; give the series that had episodes."""
        for episode_id in list(self._open):
            self._close(episode_id)
        return self._series

    def _close(self, episode_id: str) -> None:
        name, anomaly = self._open.pop(episode_id)
        self.kinds[anomaly["kind"], anomaly["severity"]] += 1
        series = self._series.setdefault(name, SeriesEpisodes(anomaly["series"]["unit"]))
        series.add(episode_of(anomaly))


def episode_of(anomaly: Mapping[str, Any]) -> Episode:
    """Read an event's ``data``."""
    peak = anomaly["peak"] or dict.fromkeys(("score", "at", "observed"))
    return Episode(
        kind=anomaly["kind"],
        severity=anomaly["severity"],
        summary=anomaly["summary"],
        started_ms=epoch_ms(anomaly["started_at"]),
        ended_ms=epoch_ms(anomaly["ended_at"] or anomaly["window"]["end"]),
        is_open=anomaly["state"] != "closed",
        peak_score=peak["score"],
        peak_ms=None if peak["at"] is None else epoch_ms(peak["at"]),
        peak_observed=peak["observed"],
    )


def epoch_ms(moment: str) -> int:
    """Epoch milliseconds of a time as events write it."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
