"""Every metric in one table: what it says and what to do about it.

Labels are bounded: topics and partitions by the assignment, reasons, states and stages by the code. docs/metrics.md is
made from this table.
"""

from typing import Final, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from detector.telemetry.log_metrics import LOG_METRICS
from detector.telemetry.metric import BATCH_RECORDS, DELAY_SECONDS, FAST_SECONDS, PARTITION, Metric
from detector.telemetry.state_metrics import STATE_METRICS

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "detector_records_consumed_total",
        "counter",
        PARTITION,
        "records",
        "Records taken from Kafka and processed.",
        "Flat while the lag grows: look at the worker's log and at detector_hold_active.",
    ),
    Metric(
        "detector_samples_decoded_total",
        "counter",
        PARTITION,
        "samples",
        "Samples (series, time, value) found in the records.",
        "Far below the records consumed: look at detector_records_rejected_total by reason.",
    ),
    Metric(
        "detector_samples_scored_total",
        "counter",
        PARTITION,
        "samples",
        "Samples that a learner scored and learned from.",
        "Far below the samples decoded: look at detector_samples_dropped_total by reason.",
    ),
    Metric(
        "detector_samples_dropped_total",
        "counter",
        (*PARTITION, "reason"),
        "samples",
        "Samples left out because they came late or with the time of the sample before.",
        "late: producers send out of order; key the topic by series. repeated: sent twice, or coarse times.",
    ),
    Metric(
        "detector_records_rejected_total",
        "counter",
        (*PARTITION, "reason"),
        "records",
        "Records that could not be used and went to the dead-letter topic, by reason.",
        "Read a dead letter: its headers name the fault. One reason for all records: `decoder` is set wrongly.",
    ),
    Metric(
        "detector_batches_processed_total",
        "counter",
        PARTITION,
        "batches",
        "Batches that went through a partition's pipeline.",
        "With detector_batch_consumed_records: many small batches mean that the worker waits for records.",
    ),
    Metric(
        "detector_decoder_fallbacks_total",
        "counter",
        PARTITION,
        "batches",
        "Batches decoded record by record because some record of them needed it (slower, same samples).",
        "Find the producer that sends broken or multi-line records when throughput matters.",
    ),
    Metric(
        "detector_series_created_total",
        "counter",
        PARTITION,
        "series",
        "Series seen for the first time, or again after they were evicted or expired.",
        "Steady growth is churn: a label changes all the time (pod name, request id); drop it at the producer.",
    ),
    Metric(
        "detector_series_evicted_total",
        "counter",
        PARTITION,
        "series",
        "Series given up, the least recently seen first, to make room for new ones.",
        "Raise series.limit_per_partition, add partitions, or reduce the labels that split series.",
    ),
    Metric(
        "detector_series_expired_total",
        "counter",
        PARTITION,
        "series",
        "Series forgotten because they sent nothing for series.idle_expiry_s of event time.",
        "As many as detector_series_created_total: churn (pod names). Some come back: raise series.idle_expiry_s.",
    ),
    Metric(
        "detector_series_held",
        "gauge",
        PARTITION,
        "series",
        "Series with a model in memory.",
        "Near detector_series_limit evictions begin; see detector_series_evicted_total.",
    ),
    Metric(
        "detector_series_limit",
        "gauge",
        (),
        "series",
        "Series that one partition may hold (series.limit_per_partition).",
        "Nothing: it is the line that detector_series_held is compared with.",
    ),
    Metric(
        "detector_aliases_cleared_total",
        "counter",
        PARTITION,
        "times",
        "Times the table of label spellings was full and emptied; it fills again by itself.",
        "More than a few per hour: producers write the same labels in ever new ways; raise series.aliases_max.",
    ),
    Metric(
        "detector_peer_groups_left_out_total",
        "counter",
        PARTITION,
        "groups",
        "Groups of peers that an hour had no room for: their new series wait for 30 samples of their own.",
        "Raise peer_groups of the model, as in models: {auto: {auto: {peer_groups: 200000}}}, at 40 bytes each.",
    ),
    Metric(
        "detector_learner_failures_total",
        "counter",
        PARTITION,
        "samples",
        "Samples on which a learner raised an exception; their series has no scores since.",
        "The model does not fit the data: read its parameters and features in `models`, or use `auto`.",
    ),
    Metric(
        "detector_episodes_changed_total",
        "counter",
        (*PARTITION, "state"),
        "episodes",
        "Events sent, by what happened to the episode: opened, updated, closed.",
        "Too many opened: raise deviation_min, open, or the minima of the policy that the events name.",
    ),
    Metric(
        "detector_drifts_found_total",
        "counter",
        PARTITION,
        "drifts",
        "Drifts of the mean deviation found, where policies look for them (policies[].drift).",
        "Many beside no metric.level_shift: the models follow slowly, or the series move by nature; lower drift.delta.",
    ),
    Metric(
        "detector_episodes_open",
        "gauge",
        PARTITION,
        "episodes",
        "Episodes that are open.",
        "Many at once are one cause more often than many: look at what their series share.",
    ),
    Metric(
        "detector_stage_spent_seconds_total",
        "counter",
        (*PARTITION, "stage"),
        "seconds",
        "Time spent in each stage: decode, route, score, judge, encode.",
        "score far ahead of the others: a river model is in use; a compiled one is many times faster.",
    ),
    Metric(
        "detector_batch_processed_seconds",
        "histogram",
        (),
        "seconds",
        "Time from a batch's arrival to its messages' hand-over to the producer.",
        "Above a second: lower worker.batch_records_max; far above what it was: the CPU is throttled.",
        FAST_SECONDS,
    ),
    Metric(
        "detector_batch_consumed_records",
        "histogram",
        (),
        "records",
        "Records per batch.",
        "Mostly at worker.batch_records_max: the worker is behind; add workers, up to one per partition.",
        BATCH_RECORDS,
    ),
    Metric(
        "detector_fetch_waited_seconds_total",
        "counter",
        (),
        "seconds",
        "Time spent waiting for records.",
        "Near one second per second the worker is idle, near zero it is saturated.",
    ),
    Metric(
        "detector_event_delayed_seconds",
        "histogram",
        ("topic",),
        "seconds",
        "Longest delay of each batch, from a record's broker timestamp to the hand-over of its events.",
        "Growing: see detector_consumer_lag_records. Large from the start: producers set old timestamps.",
        DELAY_SECONDS,
    ),
    Metric(
        "detector_consumer_lag_records",
        "gauge",
        PARTITION,
        "records",
        "Records between our position and the partition's end.",
        "Growing: add workers (at most one per partition) or partitions; see detector_fetch_waited_seconds_total.",
    ),
    Metric(
        "detector_watermark_reached_seconds",
        "gauge",
        PARTITION,
        "seconds",
        "Largest event time accepted, as a Unix time.",
        "Ahead of the clock: a producer's clock is wrong; lower decoder.limits.ahead_max_s.",
    ),
    Metric(
        "detector_state_held_bytes",
        "gauge",
        PARTITION,
        "bytes",
        "Memory allocated for models and episodes.",
        "Lower series.limit_per_partition or spread partitions over more workers when it nears the pod's limit.",
    ),
    Metric(
        "detector_partitions_owned",
        "gauge",
        (),
        "partitions",
        "Partitions assigned to this worker.",
        "Zero on one worker: more workers than partitions. Zero on all: look at the topic's name and ACLs.",
    ),
    Metric(
        "detector_partitions_moved_total",
        "counter",
        ("change",),
        "partitions",
        "Partitions that came and went: assigned, revoked, lost.",
        "lost, or many without a deployment: workers miss the session time-out; look for throttled CPUs.",
    ),
    Metric(
        "detector_offsets_committed_seconds",
        "histogram",
        (),
        "seconds",
        "Time that each commit of offsets took.",
        "Above a second: the group's coordinator is slow or far; nothing is lost, a crash repeats more.",
        FAST_SECONDS,
    ),
    Metric(
        "detector_commits_postponed_total",
        "counter",
        (),
        "commits",
        "Commits without a usable answer; the next one covers the same records.",
        "Rising: look at the log's commit_postponed for the broker's words.",
    ),
    Metric(
        "detector_transactions_aborted_total",
        "counter",
        (),
        "transactions",
        "Transactions given up; their partitions were restored to the last commit, and nothing of them was seen.",
        "Rising: look at the log's transaction_aborted for the broker's words; see also lost partitions.",
    ),
    Metric(
        "detector_messages_pending",
        "gauge",
        (),
        "messages",
        "Events and dead letters sent and not yet acknowledged by the brokers.",
        "Near worker.pending_messages_max reading waits: the brokers take our messages too slowly.",
    ),
    Metric(
        "detector_holds_begun_total",
        "counter",
        (),
        "times",
        "Times reading was paused because the brokers did not acknowledge what was sent.",
        "Look at the brokers of the output topics: leaders, min.insync.replicas, disks.",
    ),
    Metric(
        "detector_hold_active",
        "gauge",
        (),
        "state",
        "1 while reading is paused for that reason, else 0.",
        "As for detector_holds_begun_total.",
    ),
    Metric(
        "detector_loop_turned_age_seconds",
        "gauge",
        (),
        "seconds",
        "Time since the worker's loop last turned.",
        "Beyond telemetry.alive_age_max_s /healthz fails; see detector_batch_processed_seconds.",
    ),
    Metric(
        "detector_worker_ready",
        "gauge",
        (),
        "state",
        "1 once the worker has joined its group and all its partitions have their models, else 0.",
        "0 for minutes: brokers unreachable, authentication fails, or see detector_partitions_restoring.",
    ),
    *LOG_METRICS,
    *STATE_METRICS,
    Metric(
        "detector_build_info",
        "gauge",
        ("version", "config_hash"),
        "state",
        "Always 1; says which version runs with which configuration.",
        "Two hashes in one group: some workers run with other settings.",
    ),
)


class Metrics:
    """The table as live objects in ``registry``; ask for one by its name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry: Final = registry
        self._counters: Final[dict[str, Counter]] = {}
        self._gauges: Final[dict[str, Gauge]] = {}
        self._histograms: Final[dict[str, Histogram]] = {}
        for metric in METRICS:
            match metric.kind:
                case "counter":
                    self._counters[metric.name] = Counter(
                        metric.name, metric.sentence, metric.labels, registry=registry
                    )
                case "gauge":
                    self._gauges[metric.name] = Gauge(metric.name, metric.sentence, metric.labels, registry=registry)
                case "histogram":
                    self._histograms[metric.name] = Histogram(
                        metric.name, metric.sentence, metric.labels, registry=registry, buckets=metric.buckets
                    )

    @classmethod
    def of_process(cls) -> Self:
        """Make a registry of this process: the table beside its CPU, memory and file descriptors."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        return cls(registry)

    def counter(self, name: str) -> Counter:
        """Give the counter of that name."""
        return self._counters[name]

    def gauge(self, name: str) -> Gauge:
        """Give the gauge of that name."""
        return self._gauges[name]

    def histogram(self, name: str) -> Histogram:
        """Give the histogram of that name."""
        return self._histograms[name]
