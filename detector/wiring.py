"""From settings to running parts: the only file that knows every room.

Models of the settings stop here; what goes further are plain values.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from detector import __version__
from detector.decoders import DECODERS, Decoder, DecoderLimits, JsonPaths
from detector.encoders import ENCODERS, Encoder
from detector.episodes import EpisodeJudge, Policy, PolicyBook, parse_matchers
from detector.episodes.fixed_gates import FIXED_GATES as EPISODE_GATES
from detector.episodes.policies import Drift, LevelShift, NoData, Stuck, Variance
from detector.errors import UsageError
from detector.io.kafka_config import TRANSACTION_SHARE, ConsumerGroup, KafkaConnection
from detector.io.kafka_sink import KafkaSink
from detector.io.kafka_snapshots import KafkaSnapshotStore
from detector.io.kafka_source import KafkaSource
from detector.io.kafka_transactions import KafkaTransactionalSink
from detector.io.transaction_probe import TransactionProbe
from detector.learners import LearnerBank
from detector.log_pipeline import LogPipeline
from detector.pipeline import PartitionPipeline
from detector.ports import TopicPartition
from detector.series import SeriesTable
from detector.settings import (
    DecoderSettings,
    KafkaSettings,
    PolicySettings,
    Settings,
    config_hash,
    input_topics,
    is_log_topic,
)
from detector.telemetry import Health, HealthServer, Metrics, TelemetryObserver
from detector.wiring_logs import LogPipelineFactory
from detector.wiring_models import learner_factory, river_bytes
from detector.worker import (
    AtLeastOnce,
    Bootstrap,
    Delivery,
    ExactlyOnce,
    OutputListener,
    OutputTopics,
    StateKeeping,
    StateLimits,
    SystemClock,
    Worker,
    WorkerLimits,
)

FIXED_GATES: Final = EPISODE_GATES
ENCODER: Final = "cloudevents"
PLAIN_FORMAT: Final = "json"
"""In which this package writes records itself: rows of CSV files, the warm-up."""

TRANSACTION_COMMITS_MIN: Final = 4
"""Commit intervals that a transaction's time-out holds at least: one passes before a commit is due, one more before it
is waited for, and the rest is for the commit itself."""


class PipelineFactory:
    """Makes the pipeline of a partition; each has state of its own, and all are alike.

    ``records`` are laid out as the settings say, or plainly as this package writes them. ``timer`` measures stages.
    Raises ``UsageError`` for models or policies that cannot be built, before any partition is.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        records: Literal["configured", "plain"] = "configured",
        keep_scores: bool = False,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.book: Final = PolicyBook([policy_of(index, policy) for index, policy in enumerate(settings.policies)])
        names = list(dict.fromkeys(policy.model for policy in self.book.policies))
        kept = river_bytes(names, settings)
        self._learners = [learner_factory(name, settings, river_bytes_max=kept) for name in names]
        self._learner_of_policy = [names.index(policy.model) for policy in self.book.policies]
        self._settings = settings
        self._format = settings.decoder.format if records == "configured" else PLAIN_FORMAT
        self._paths = json_paths(settings.decoder) if records == "configured" else JsonPaths()
        self._keep_scores = keep_scores
        self._timer = timer
        self._config_hash = config_hash(settings)
        self._logs = LogPipelineFactory(settings, timer=timer)
        self._decoder()
        for build in self._learners:
            build()

    def __call__(self, place: TopicPartition) -> PartitionPipeline | LogPipeline:
        """Build an empty pipeline for ``place``, by what its topic holds."""
        return self._logs(place) if is_log_topic(self._settings, place.topic) else self.metrics(place)

    def metrics(self, place: TopicPartition) -> PartitionPipeline:
        """Build an empty pipeline for samples."""
        series = self._settings.series
        return PartitionPipeline(
            topic=place.topic,
            partition=place.partition,
            decoder=self._decoder(),
            series=SeriesTable(series.limit_per_partition, series.aliases_max, round(series.idle_expiry_s * 1000)),
            bank=LearnerBank([build() for build in self._learners]),
            learner_of_policy=self._learner_of_policy,
            policies=self.book,
            judge=EpisodeJudge(self.book.policies, timer_interval_ms=round(series.timer_interval_s * 1000)),
            encoder=self._encoder(),
            config_hash=self._config_hash,
            timer=self._timer,
            keep_scores=self._keep_scores,
        )

    def _decoder(self) -> Decoder:
        limits = self._settings.decoder.limits
        return DECODERS[self._format](
            self._paths,
            DecoderLimits(
                record_bytes_max=limits.record_bytes_max,
                labels_max=limits.labels_max,
                ahead_max_ms=round(limits.ahead_max_s * 1000),
            ),
        )

    def _encoder(self) -> Encoder:
        return ENCODERS[ENCODER](self._settings.output.source)


def json_paths(decoder: DecoderSettings) -> JsonPaths:
    """Give the paths of the settings as the decoder takes them."""
    paths = decoder.paths
    return JsonPaths(paths.name, paths.labels, paths.time, paths.value, name_default=decoder.name_default)


def policy_of(index: int, policy: PolicySettings) -> Policy:
    """Build one policy; raises ``UsageError`` that names its place in the settings."""
    silence, shift, stuck, scatter = policy.no_data, policy.level_shift, policy.stuck, policy.variance
    try:
        return Policy(
            name=policy.name,
            matchers=parse_matchers(policy.match),
            model=policy.model,
            direction=policy.direction,
            deviation_min=policy.deviation_min,
            abs_min=policy.abs_min,
            rel_min=policy.rel_min,
            volume_min=policy.volume_min,
            open_points=policy.open.points,
            open_window=policy.open.window,
            close_points=policy.close.points,
            close_window=policy.close.window,
            cooldown_s=policy.cooldown_s,
            flap_crossings=policy.flap_crossings,
            flap_window=policy.flap_window,
            update_interval_s=policy.update_interval_s,
            severity_error_score=policy.severity_error_score,
            severity_critical_score=policy.severity_critical_score,
            silence_close_s=policy.silence_close_s,
            no_data=None if silence is None else NoData(silence.intervals, silence.min_s, silence.severity),
            novelty_min=policy.novelty_min,
            level_shift=None if shift is None else LevelShift(shift.after_s, shift.points),
            stuck=None if stuck is None else Stuck(stuck.runs, stuck.min_s, stuck.points, stuck.severity),
            drift=None if policy.drift is None else Drift(policy.drift.delta),
            variance=None if scatter is None else Variance(scatter.ratio, scatter.points, scatter.severity),
        )
    except UsageError as error:
        raise UsageError(f"settings: policies[{index}]: {error}") from error


def connection_of(kafka: KafkaSettings) -> KafkaConnection:
    """Give what every Kafka client needs. Raises ``UsageError`` without brokers."""
    if not kafka.bootstrap_servers:
        raise UsageError("settings: kafka.bootstrap_servers is needed here: a list of host:port")
    return KafkaConnection(
        bootstrap_servers=",".join(kafka.bootstrap_servers),
        client_id=kafka.client_id,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=kafka.sasl_secret(),
        ssl_ca_location=_text(kafka.ssl_ca_location),
        ssl_certificate_location=_text(kafka.ssl_certificate_location),
        ssl_key_location=_text(kafka.ssl_key_location),
        ssl_key_password=kafka.ssl_key_secret(),
        librdkafka=kafka.librdkafka,
        librdkafka_consumer=kafka.librdkafka_consumer,
        librdkafka_producer=kafka.librdkafka_producer,
    )


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def group_of(settings: Settings) -> ConsumerGroup:
    """Give what is read, as whom. Raises ``UsageError`` without topics."""
    kafka, topics = settings.kafka, input_topics(settings)
    if not topics:
        raise UsageError("settings: kafka.topics or logs.topics is needed here: at least one topic to read")
    return ConsumerGroup(
        group_id=kafka.group_id,
        topics=topics,
        offset_reset=kafka.auto_offset_reset,
        session_timeout_ms=kafka.session_timeout_ms,
        protocol=kafka.group_protocol,
    )


def limits_of(settings: Settings) -> WorkerLimits:
    """Give the limits of the loop."""
    worker, dead_letters = settings.worker, settings.dead_letters
    return WorkerLimits(
        batch_records_max=worker.batch_records_max,
        poll_timeout_s=worker.poll_timeout_s,
        commit_interval_s=worker.commit_interval_s,
        pending_messages_max=worker.pending_messages_max,
        hold_after_s=worker.hold_after_s,
        shutdown_timeout_s=worker.shutdown_timeout_s,
        revoke_timeout_s=worker.revoke_timeout_s,
        rejects_ratio_max=dead_letters.ratio_max,
        rejects_window_records=dead_letters.window_records,
        dead_letter_bytes_max=dead_letters.bytes_max,
        on_gap=settings.state.on_state_loss,
    )


def output_topics_of(settings: Settings) -> OutputTopics:
    """Give the names of the topics that are written."""
    return OutputTopics(events=settings.output.events_topic, dead_letters=settings.output.dead_letters_topic)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker with its telemetry, ready to run."""

    worker: Worker
    metrics: Metrics
    http: HealthServer

    def run(self) -> None:
        """Work until the worker is stopped; telemetry is served as long. Raises what stopped it otherwise."""
        try:
            self.worker.run()
        finally:
            self.http.close()


def build_worker(
    settings: Settings, *, on_output: OutputListener | None = None, bootstrap: Bootstrap | None = None
) -> WorkerProcess:
    """Assemble everything that `detector run` needs. Raises ``UsageError``; brokers need not be up."""
    pipelines = PipelineFactory(settings)
    connection, group = connection_of(settings.kafka), group_of(settings)
    clock, metrics = SystemClock(), Metrics.of_process()
    keeping = state_keeping(settings, connection, bootstrap)
    source = KafkaSource(connection, group, asks_later=keeping is not None)
    delivery = delivery_of(settings, connection, source)
    worker = Worker(
        source=source,
        delivery=delivery,
        pipeline_factory=pipelines,
        topics=output_topics_of(settings),
        limits=limits_of(settings),
        clock=clock,
        observer=TelemetryObserver(
            metrics,
            structlog.get_logger("detector"),
            clock.monotonic_s,
            series_limit=settings.series.limit_per_partition,
        ),
        keeping=keeping,
        on_output=on_output,
    )
    metrics.gauge("detector_loop_turned_age_seconds").set_function(worker.alive_age_s)
    metrics.gauge("detector_worker_ready").set_function(lambda: worker.ready)
    metrics.gauge("detector_partitions_restoring").set_function(lambda: worker.restoring_count)
    metrics.gauge("detector_messages_pending").set_function(delivery.sink.pending)
    metrics.gauge("detector_build_info").labels(__version__, config_hash(settings)).set(1)
    telemetry = settings.telemetry
    health = Health(worker.alive_age_s, telemetry.alive_age_max_s, lambda: worker.ready)
    http = HealthServer(telemetry.http_host, telemetry.http_port, metrics.registry, health)
    return WorkerProcess(worker, metrics, http)


def delivery_of(settings: Settings, connection: KafkaConnection, source: KafkaSource) -> Delivery:
    """Give the kind of delivery that the settings ask for; transactions are probed before the first is used."""
    if settings.delivery.mode == "at_least_once":
        return AtLeastOnce(source, KafkaSink(connection))
    if not settings.state.enabled:
        raise UsageError(
            "settings: delivery.mode: exactly_once needs state.enabled: true, since what an aborted transaction held "
            "is computed again from the state before it; or set delivery.mode: at_least_once"
        )
    timeout_s, interval_s = settings.delivery.transaction_timeout_s, settings.worker.commit_interval_s
    if timeout_s < TRANSACTION_COMMITS_MIN * interval_s:
        raise UsageError(
            f"settings: delivery.transaction_timeout_s: {timeout_s:g} is too little for worker.commit_interval_s: "
            f"{interval_s:g}, since brokers would abort transactions that are only slow; at least "
            f"{TRANSACTION_COMMITS_MIN * interval_s:g} is needed"
        )
    transactional_id = settings.kafka.transactional_id or f"{settings.output.prefix}-{socket.gethostname()}"
    probe = TransactionProbe(
        connection,
        topic=settings.output.state_topic,
        group_id=f"{settings.kafka.group_id}-probe",
        name=transactional_id,
    )
    sink = KafkaTransactionalSink(
        connection,
        transactional_id=transactional_id,
        probe=probe,
        timeout_s=timeout_s,
        commit_timeout_s=TRANSACTION_SHARE * timeout_s,
    )
    return ExactlyOnce(source, sink)


def state_keeping(
    settings: Settings, connection: KafkaConnection, bootstrap: Bootstrap | None = None
) -> StateKeeping | None:
    """Give what keeps models over restarts; None where the settings say that nothing shall."""
    if not settings.state.enabled:
        return None
    return StateKeeping(
        store=KafkaSnapshotStore(connection, topic=settings.output.state_topic, group_id=settings.kafka.group_id),
        limits=StateLimits(interval_s=settings.state.interval_s, on_state_loss=settings.state.on_state_loss),
        writing=ThreadPoolExecutor(1, "snapshot-writer"),
        reading=ThreadPoolExecutor(1, "snapshot-reader"),
        bootstrap=bootstrap,
    )
