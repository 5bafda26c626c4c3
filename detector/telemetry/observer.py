"""Turns what the worker tells into metrics and log lines; once per batch, with children bound once per partition."""

from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import FilteringBoundLogger

from detector.batches import STAGES, TIMESTAMP_UNKNOWN, LeftOut
from detector.ports import TopicPartition
from detector.telemetry.bootstraps import BootstrapTelemetry
from detector.telemetry.log_lines import LogTelemetry
from detector.telemetry.logs import RareWarnings
from detector.telemetry.metric import PARTITION
from detector.telemetry.metrics import METRICS, Metrics
from detector.worker.observer import BatchReport, BootstrapReport, BootstrapStage

PARTITION_GAUGES: Final = tuple(
    metric.name for metric in METRICS if metric.kind == "gauge" and metric.labels == PARTITION
)


class _PartitionMetrics:
    """The children of one partition."""

    __slots__ = (
        "_dropped",
        "_episodes",
        "_labels",
        "_rejected",
        "_stages",
        "aliases_cleared",
        "batches",
        "delay",
        "drifts",
        "fallbacks",
        "learner_failures",
        "open_episodes",
        "peer_groups_left_out",
        "records",
        "samples",
        "scored",
        "series",
        "series_created",
        "series_evicted",
        "series_expired",
        "state_bytes",
        "watermark",
    )

    def __init__(self, metrics: Metrics, partition: TopicPartition) -> None:
        labels = (partition.topic, str(partition.partition))

        def counter(name: str) -> Counter:
            return metrics.counter(name).labels(*labels)

        def gauge(name: str) -> Gauge:
            return metrics.gauge(name).labels(*labels)

        self._labels = labels
        self.records = counter("detector_records_consumed_total")
        self.samples = counter("detector_samples_decoded_total")
        self.scored = counter("detector_samples_scored_total")
        self.batches = counter("detector_batches_processed_total")
        self.fallbacks = counter("detector_decoder_fallbacks_total")
        self.series_created = counter("detector_series_created_total")
        self.series_evicted = counter("detector_series_evicted_total")
        self.series_expired = counter("detector_series_expired_total")
        self.aliases_cleared = counter("detector_aliases_cleared_total")
        self.peer_groups_left_out = counter("detector_peer_groups_left_out_total")
        self.drifts = counter("detector_drifts_found_total")
        self.learner_failures = counter("detector_learner_failures_total")
        self.series = gauge("detector_series_held")
        self.open_episodes = gauge("detector_episodes_open")
        self.watermark = gauge("detector_watermark_reached_seconds")
        self.state_bytes = gauge("detector_state_held_bytes")
        self.delay: Histogram = metrics.histogram("detector_event_delayed_seconds").labels(partition.topic)
        self._rejected = metrics.counter("detector_records_rejected_total")
        stages = metrics.counter("detector_stage_spent_seconds_total")
        self._stages = {stage: stages.labels(*labels, stage) for stage in STAGES}
        dropped = metrics.counter("detector_samples_dropped_total")
        self._dropped = {reason: dropped.labels(*labels, reason) for reason in ("late", "repeated")}
        episodes = metrics.counter("detector_episodes_changed_total")
        self._episodes = {state: episodes.labels(*labels, state) for state in ("opened", "updated", "closed")}

    def add(self, report: BatchReport) -> None:
        """Count one batch."""
        counts = report.output.counts
        self.batches.inc()
        for counter, count in (
            (self.records, counts.records),
            (self.samples, counts.samples),
            (self.scored, counts.scored),
            (self.fallbacks, counts.decoder_fallbacks),
            (self.series_created, counts.series_created),
            (self.series_evicted, counts.series_evicted),
            (self.series_expired, counts.series_expired),
            (self.aliases_cleared, counts.aliases_cleared),
            (self.peer_groups_left_out, counts.peer_groups_left_out),
            (self.drifts, counts.drifts),
            (self.learner_failures, counts.learner_failures),
            (self._dropped["late"], counts.late),
            (self._dropped["repeated"], counts.repeated),
            (self._episodes["opened"], counts.opened),
            (self._episodes["updated"], counts.updated),
            (self._episodes["closed"], counts.closed),
        ):
            if count:
                counter.inc(count)
        for reason, count in Tally(reject.reason for reject in report.output.rejects).items():
            self._rejected.labels(*self._labels, reason).inc(count)
        for stage, seconds in report.output.stage_seconds.items():
            self._stages[stage].inc(max(seconds, 0.0))
        self._measure(report)

    def _measure(self, report: BatchReport) -> None:
        pipeline = report.pipeline
        self.series.set(pipeline.series_count)
        self.open_episodes.set(pipeline.open_episodes)
        self.state_bytes.set(pipeline.state_bytes())
        if pipeline.watermark_ms >= 0:
            self.watermark.set(pipeline.watermark_ms / 1000)
        if report.oldest_timestamp_ms != TIMESTAMP_UNKNOWN:
            self.delay.observe(max(report.processed_ms - report.oldest_timestamp_ms, 0) / 1000)


class TelemetryObserver:
    """The worker's observer: counts into ``metrics``, writes to ``log``; ``monotonic_s`` times rare warnings."""

    def __init__(
        self, metrics: Metrics, log: FilteringBoundLogger, monotonic_s: Callable[[], float], *, series_limit: int
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._rare = RareWarnings(log, monotonic_s)
        self._bootstraps = BootstrapTelemetry(metrics, log, monotonic_s)
        self._log_lines = LogTelemetry(metrics, self._rare)
        self._series_limit = series_limit
        self._children: dict[TopicPartition, _PartitionMetrics] = {}
        self._owned: set[TopicPartition] = set()
        self._batch_seconds = metrics.histogram("detector_batch_processed_seconds")
        self._batch_records = metrics.histogram("detector_batch_consumed_records")
        self._fetch_seconds = metrics.counter("detector_fetch_waited_seconds_total")
        self._commit_seconds = metrics.histogram("detector_offsets_committed_seconds")
        self._postponed = metrics.counter("detector_commits_postponed_total")
        self._aborted = metrics.counter("detector_transactions_aborted_total")
        self._holds = metrics.counter("detector_holds_begun_total")
        self._hold_active = metrics.gauge("detector_hold_active")
        self._snapshots = metrics.counter("detector_snapshots_written_total")
        self._snapshot_failures = metrics.counter("detector_snapshots_failed_total")
        self._snapshot_bytes = metrics.gauge("detector_snapshot_written_bytes")
        self._snapshot_seconds = metrics.histogram("detector_snapshot_written_seconds")
        self._restored_seconds = metrics.histogram("detector_partition_restored_seconds")
        self._replayed = metrics.counter("detector_records_replayed_total")
        self._models_left_out = metrics.counter("detector_models_left_out_total")
        self._states_lost = metrics.counter("detector_states_lost_total")
        self._records_lost = metrics.counter("detector_records_lost_total")
        self._owned_count = metrics.gauge("detector_partitions_owned")
        self._lag = metrics.gauge("detector_consumer_lag_records")
        moved = metrics.counter("detector_partitions_moved_total")
        self._moved = {change: moved.labels(change) for change in ("assigned", "revoked", "lost")}
        metrics.gauge("detector_series_limit").set(series_limit)

    def batch_processed(self, report: BatchReport) -> None:
        """Count one batch, and warn (rarely) of what an operator should act on."""
        children = self._children.get(report.partition)
        if children is None:
            children = self._children[report.partition] = _PartitionMetrics(self._metrics, report.partition)
        children.add(report)
        if report.output.logs is not None:
            self._log_lines.add(report.partition, report.output.logs)
        counts = report.output.counts
        self._batch_seconds.observe(report.process_seconds)
        self._batch_records.observe(counts.records)
        self._fetch_seconds.inc(max(report.fetch_seconds, 0.0))
        if counts.series_evicted:
            self._rare.add("series_evicted", *report.partition, counts.series_evicted, limit=self._series_limit)
        if counts.learner_failures:
            self._rare.add("learner_failed", *report.partition, counts.learner_failures)
        if counts.aliases_cleared:
            self._rare.add("aliases_cleared", *report.partition, counts.aliases_cleared)
        if report.output.rejects:
            last = report.output.rejects[-1]
            self._rare.add(
                "records_rejected",
                *report.partition,
                len(report.output.rejects),
                last_reason=last.reason,
                last_detail=last.detail,
                last_offset=last.offset,
            )

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Count and tell."""
        self._owned.update(partitions)
        self._move("assigned", partitions)

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Count, tell, and forget the gauges of what is gone."""
        self._owned.difference_update(partitions)
        self._move("revoked", partitions)
        self._forget(partitions)

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Do the same as for revoked, as a warning."""
        self._owned.difference_update(partitions)
        self._move("lost", partitions)
        self._forget(partitions)

    def committed(self, seconds: float) -> None:
        """Measure."""
        self._commit_seconds.observe(seconds)

    def commit_postponed(self, reason: str) -> None:
        """Count and warn."""
        self._postponed.inc()
        self._log.warning("commit_postponed", reason=reason)

    def transaction_aborted(self, reason: str, partitions: int) -> None:
        """Count and warn."""
        self._aborted.inc()
        self._log.warning("transaction_aborted", reason=reason, partitions_restarted=partitions)

    def lags_measured(self, lags: Mapping[TopicPartition, int]) -> None:
        """Measure."""
        for partition, lag in lags.items():
            self._lag.labels(partition.topic, str(partition.partition)).set(lag)

    def snapshot_written(self, partition: TopicPartition, size_bytes: int, seconds: float) -> None:
        """Count and measure."""
        labels = _labels(partition)
        self._snapshots.labels(*labels).inc()
        self._snapshot_bytes.labels(*labels).set(size_bytes)
        self._snapshot_seconds.observe(seconds)
        self._log.debug("snapshot_written", partition=_name(partition), bytes=size_bytes, seconds=round(seconds, 3))

    def snapshot_failed(self, partition: TopicPartition, reason: str) -> None:
        """Count and warn."""
        self._snapshot_failures.labels(*_labels(partition)).inc()
        self._log.warning("snapshot_failed", partition=_name(partition), reason=reason)

    def restored(self, partition: TopicPartition, seconds: float, offset: int, replay_until: int) -> None:
        """Measure and tell."""
        self._restored_seconds.observe(seconds)
        self._log.info(
            "partition_restored",
            partition=_name(partition),
            offset=offset,
            replay_until=replay_until,
            seconds=round(seconds, 3),
        )

    def models_left_out(self, partition: TopicPartition, left_out: LeftOut) -> None:
        """Count and warn."""
        self._models_left_out.labels(*_labels(partition), left_out.reason).inc(left_out.models)
        self._log.warning(
            "models_left_out",
            partition=_name(partition),
            models=left_out.models,
            reason=left_out.reason,
            detail=left_out.detail,
        )

    def restore_postponed(self, partition: TopicPartition, reason: str) -> None:
        """Warn."""
        self._log.warning("restore_postponed", partition=_name(partition), reason=reason)

    def replayed(self, partition: TopicPartition, records: int) -> None:
        """Count."""
        self._replayed.labels(*_labels(partition)).inc(records)

    def bootstrap_begun(self, partition: TopicPartition, stage: BootstrapStage, begin: int, end: int) -> None:
        """Tell."""
        self._bootstraps.begin(partition, stage, begin, end)

    def bootstrap_advanced(self, partition: TopicPartition, stage: BootstrapStage, records: int, share: float) -> None:
        """Count, and tell seldom."""
        self._bootstraps.advance(partition, stage, records, share)

    def bootstrap_ended(self, partition: TopicPartition, report: BootstrapReport) -> None:
        """Count and tell."""
        self._bootstraps.end(partition, report)

    def state_lost(self, partition: TopicPartition, reason: str, records_lost: int) -> None:
        """Count and warn."""
        self._states_lost.labels(*_labels(partition)).inc()
        if records_lost:
            self._records_lost.labels(*_labels(partition)).inc(records_lost)
        self._log.warning("state_lost", partition=_name(partition), reason=reason, records_lost=records_lost)

    def held(self) -> None:
        """Count and warn."""
        self._holds.inc()
        self._hold_active.set(1)
        self._log.warning("reading_paused", cause="the brokers do not acknowledge what was sent")

    def released(self) -> None:
        """Tell."""
        self._hold_active.set(0)
        self._log.info("reading_resumed")

    def stopped(self, reason: str) -> None:
        """Tell, with whatever the rare warnings still hold."""
        self._rare.flush()
        self._log.info("worker_stopped", reason=reason)

    def _move(self, change: str, partitions: Sequence[TopicPartition]) -> None:
        self._owned_count.set(len(self._owned))
        if not partitions:
            return
        self._moved[change].inc(len(partitions))
        write = self._log.warning if change == "lost" else self._log.info
        write(f"partitions_{change}", partitions=[_name(partition) for partition in partitions])

    def _forget(self, partitions: Sequence[TopicPartition]) -> None:
        """Drop the gauges of partitions that others own: a stale lag would be read as ours. Counters stay."""
        self._log_lines.forget(partitions)
        for partition in partitions:
            self._children.pop(partition, None)
            for name in PARTITION_GAUGES:
                self._metrics.gauge(name).remove(partition.topic, str(partition.partition))


def _labels(partition: TopicPartition) -> tuple[str, str]:
    return partition.topic, str(partition.partition)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}[{partition.partition}]"
