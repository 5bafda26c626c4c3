"""How far partitions are that learn before their first word: counted always, told now and then."""

from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from detector.ports import TopicPartition
from detector.telemetry.metrics import Metrics
from detector.worker.observer import BootstrapReport, BootstrapStage

TELL_INTERVAL_S: Final = 10.0
"""Between two lines about one partition."""


class _Pace:
    """What was told of one stage when, and what came since."""

    __slots__ = ("records", "told_s")

    def __init__(self, moment_s: float) -> None:
        self.records = 0
        self.told_s = moment_s


class BootstrapTelemetry:
    """Counts into ``metrics``, writes to ``log``; ``monotonic_s`` times the lines."""

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger, monotonic_s: Callable[[], float]) -> None:
        self._log = log
        self._monotonic_s = monotonic_s
        self._records = metrics.counter("detector_records_bootstrapped_total")
        self._rejected = metrics.counter("detector_bootstrap_rejected_total")
        self._episodes = metrics.counter("detector_episodes_changed_total")
        self._paces: dict[TopicPartition, _Pace] = {}

    def begin(self, partition: TopicPartition, stage: BootstrapStage, begin: int, end: int) -> None:
        """Tell."""
        self._paces[partition] = _Pace(self._monotonic_s())
        self._log.info("bootstrap_begun", partition=_name(partition), stage=stage, offset=begin, replay_until=end)

    def advance(self, partition: TopicPartition, stage: BootstrapStage, records: int, share: float) -> None:
        """Count, and tell how fast it went since the last line."""
        self._records.labels(*_labels(partition)).inc(records)
        moment_s = self._monotonic_s()
        pace = self._paces.setdefault(partition, _Pace(moment_s))
        pace.records += records
        seconds = moment_s - pace.told_s
        if seconds >= TELL_INTERVAL_S:
            self._log.info(
                "bootstrap_advanced",
                partition=_name(partition),
                stage=stage,
                percent=round(100 * share, 1),
                records_per_second=round(pace.records / seconds),
            )
            self._paces[partition] = _Pace(moment_s)

    def end(self, partition: TopicPartition, report: BootstrapReport) -> None:
        """Count what was rejected and what is told after all, and tell."""
        self._paces.pop(partition, None)
        labels = _labels(partition)
        for reason, count in report.rejected.items():
            self._rejected.labels(*labels, reason).inc(count)
        for state, count in (("opened", report.opened), ("updated", report.updated)):
            if count:
                self._episodes.labels(*labels, state).inc(count)
        self._log.info(
            "bootstrap_ended",
            partition=_name(partition),
            stage=report.stage,
            records=report.records,
            rejected=dict(report.rejected),
            episodes_told=report.opened,
            seconds=round(report.seconds, 3),
        )


def _labels(partition: TopicPartition) -> tuple[str, str]:
    return partition.topic, str(partition.partition)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}[{partition.partition}]"
