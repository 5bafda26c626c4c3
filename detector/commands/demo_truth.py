"""What a scripted demo knows beforehand, and what of it the events have told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from detector.commands.report_episodes import epoch_ms

LOGS: Final = "log."
"""What kinds of episodes of log lines begin with."""


class Effect(NamedTuple):
    """Something that the incident does, and how an episode shows that it was found.

    By an episode of this ``metric`` of ``service``; or by one of its log lines with ``phrase`` in one of its templates.
    """

    name: str
    service: str
    metric: str | None = None
    phrase: str | None = None
    required: bool = False

    def shown_by(self, anomaly: Mapping[str, Any]) -> bool:
        """Whether the ``data`` of an event shows this."""
        if service_of(anomaly) != self.service:
            return False
        if not is_log(anomaly):
            return self.metric is not None and anomaly["series"]["metric"] == self.metric
        return self.phrase is not None and any(self.phrase in each["text"] for each in anomaly["templates"])


class Incident(NamedTuple):
    """What goes wrong, from when to when, and what it does; times in epoch milliseconds of event time.

    Until ``settled_ms`` its end may still be found.
    """

    what: str
    start_ms: int
    end_ms: int
    settled_ms: int
    effects: tuple[Effect, ...]

    @property
    def label(self) -> str:
        """Name it by its times."""
        return f"incident {clock(self.start_ms)}-{clock(self.end_ms)}"


class Story(NamedTuple):
    """A script that is known beforehand: from when to when, in which streams, and what goes wrong."""

    begin_ms: int
    end_ms: int
    streams: tuple[str, ...]
    incident: Incident


def clock(time_ms: int) -> str:
    """Hour and minute of a moment, UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%H:%M}"


def is_log(anomaly: Mapping[str, Any]) -> bool:
    """Whether the event is about lines of logs."""
    return bool(anomaly["kind"].startswith(LOGS))


def service_of(anomaly: Mapping[str, Any]) -> str | None:
    """The service that the event is about, where its labels tell one."""
    service = anomaly["topology"]["service"]
    return None if service is None else str(service)


@dataclass(slots=True)
class Verdict:
    """What of the incident has been found, and what else was told."""

    incident: Incident
    _found_ms: dict[Effect, int] = field(default_factory=dict)
    _outside: set[str] = field(default_factory=set)

    def add(self, anomaly: Mapping[str, Any]) -> None:
        """Take the ``data`` of an event; what was found by an episode that began before the incident is not of it."""
        incident = self.incident
        if not incident.start_ms <= epoch_ms(anomaly["started_at"]) <= incident.settled_ms:
            self._outside.add(anomaly["episode_id"])
            return
        told_ms = epoch_ms(anomaly["detected_at"] if anomaly["state"] == "opened" else anomaly["window"]["end"])
        for effect in incident.effects:
            if effect.shown_by(anomaly):
                self._found_ms[effect] = min(told_ms, self._found_ms.get(effect, told_ms))

    @property
    def missing(self) -> list[str]:
        """Effects that must be found and were not."""
        return [effect.name for effect in self.incident.effects if effect.required and effect not in self._found_ms]

    @property
    def outside(self) -> int:
        """Episodes that began before the incident or after it had settled."""
        return len(self._outside)

    def summary(self) -> str:
        """One line: what was found how long after the incident began (minutes:seconds), and what else was told."""
        incident = self.incident
        found = sorted((at, effect.name) for effect, at in self._found_ms.items())
        parts = [f"{name} after {_after(at - incident.start_ms)}" for at, name in found]
        unseen = [effect.name for effect in incident.effects if effect not in self._found_ms]
        missed = f"; not found: {', '.join(unseen)}" if unseen else ""
        told = f"found {', '.join(parts)}" if parts else "nothing found"
        return f"{incident.label}: {told}{missed}; episodes outside of it: {self.outside}"


def _after(length_ms: int) -> str:
    minutes, seconds = divmod(round(length_ms / 1000), 60)
    return f"{minutes}:{seconds:02d}"
