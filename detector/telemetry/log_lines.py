"""What the batches of log topics tell: counted once per batch, and warned of where an operator should act."""

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import Final

from detector.batches import LogCounts
from detector.ports import TopicPartition
from detector.telemetry.logs import RareWarnings
from detector.telemetry.metrics import Metrics

SHOWN_SERVICES_MAX: Final = 5
KEY_REMEDY: Final = "let the collector key the records of this topic by service"


class LogTelemetry:
    """Counts into ``metrics`` and warns, rarely, through ``rare``."""

    def __init__(self, metrics: Metrics, rare: RareWarnings) -> None:
        self._metrics = metrics
        self._rare = rare
        self._split = metrics.gauge("detector_log_services_split")
        self._active: dict[TopicPartition, set[str]] = {}
        self._topics: set[str] = set()

    def add(self, place: TopicPartition, logs: LogCounts) -> None:
        """Take in one batch."""
        labels = (place.topic, str(place.partition))
        for name, count in (
            ("detector_log_lines_joined_total", logs.lines_joined),
            ("detector_log_lines_cut_total", logs.lines_cut),
            ("detector_log_lines_released_total", logs.lines_released),
            ("detector_log_lines_untemplated_total", logs.lines_other),
            ("detector_log_breakers_tripped_total", len(logs.tripped)),
            ("detector_log_caches_cleared_total", logs.caches_cleared),
        ):
            if count:
                self._metrics.counter(name).labels(*labels).inc(count)
        self._labelled("detector_log_records_decoded_total", labels, logs.formats.items())
        self._labelled(
            "detector_log_templates_changed_total",
            labels,
            (
                ("created", logs.templates_created),
                ("merged", logs.templates_merged),
                ("evicted", logs.templates_evicted),
            ),
        )
        self._labelled(
            "detector_log_windows_closed_total",
            labels,
            (("some", logs.windows_closed), ("none", logs.windows_skipped)),
        )
        self._metrics.gauge("detector_log_templates_held").labels(*labels).set(logs.templates_held)
        self._metrics.gauge("detector_log_breakers_open").labels(*labels).set(logs.breakers_open)
        if logs.tripped:
            self._rare.add(
                "log_training_stopped",
                *place,
                len(logs.tripped),
                services=sorted(set(logs.tripped))[:SHOWN_SERVICES_MAX],
                cause="the text is so random that templates drive each other out; lines are counted as other meanwhile",
            )
        if logs.active is not None:
            self._active[place] = logs.active
            self._look_for_splits(place, keyed=logs.keyed)

    def forget(self, partitions: Sequence[TopicPartition]) -> None:
        """Others own these."""
        for place in partitions:
            self._active.pop(place, None)
        for topic in {place.topic for place in partitions} & self._topics:
            self._split.labels(topic).set(len(self._services_split(topic)))

    def _labelled(self, name: str, labels: tuple[str, str], counts: Iterable[tuple[str, int]]) -> None:
        counter = self._metrics.counter(name)
        for label, count in counts:
            if count:
                counter.labels(*labels, label).inc(count)

    def _services_split(self, topic: str) -> list[str]:
        """Services of the topic that had lines in more than one of our partitions."""
        seen = Tally(
            service for place, services in self._active.items() if place.topic == topic for service in services
        )
        return sorted(service for service, partitions in seen.items() if partitions > 1)

    def _look_for_splits(self, place: TopicPartition, *, keyed: bool) -> None:
        """Warn where a service is read from several partitions; or surely is, since records have no key at all."""
        topic = place.topic
        self._topics.add(topic)
        split = self._services_split(topic)
        self._split.labels(topic).set(len(split))
        if split:
            self._rare.add(
                "log_services_split",
                topic,
                -1,
                len(split),
                services=split[:SHOWN_SERVICES_MAX],
                cause="their lines come in several partitions, so each has a part of their counts and templates",
                remedy=KEY_REMEDY,
            )
        elif not keyed and place.partition > 0:
            self._rare.add(
                "log_topic_unkeyed",
                topic,
                -1,
                1,
                cause="its records have no key and it has several partitions, so that services are split over them",
                remedy=KEY_REMEDY,
            )
