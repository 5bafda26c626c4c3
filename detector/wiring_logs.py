"""From the settings of log topics to their pipelines."""

import time
from collections.abc import Callable
from typing import Final

from detector.decoders import LOG_DECODERS, Joiner, JoinLimits, LogDecoder, LogDecoderLimits, LogPaths
from detector.encoders import LOG_ENCODERS, LogEncoder, Redactor
from detector.episodes import LogJudge, LogPolicy, LogPolicyBook, parse_matchers
from detector.errors import UsageError
from detector.log_pipeline import LogPipeline, WindowTimes
from detector.log_services import SampleLimits, ServiceLimits
from detector.ports import TopicPartition
from detector.series import SeriesTable
from detector.settings import LogPolicySettings, Settings, log_config_hash
from detector.signals import SignalLimits
from detector.templates import MinerLimits

ENCODER: Final = "cloudevents"


class LogPipelineFactory:
    """Makes the pipeline of a partition of log lines; each has state of its own, and all are alike.

    ``service_default`` names the service of lines that name none, where the settings do not.

    Raises ``UsageError`` for policies or patterns that cannot be built, before any partition is.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        service_default: str | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        logs = settings.logs
        self._service_default = logs.service_default or service_default
        self._settings = settings
        self._timer = timer
        self.book: Final = LogPolicyBook([log_policy_of(index, policy) for index, policy in enumerate(logs.policies)])
        self._redactor = Redactor(logs.redaction.patterns, enabled=logs.redaction.enabled)
        length_ms = round(logs.window_s * 1000)
        self._times = WindowTimes(length_ms, round(logs.lateness_s * 1000))
        limits = logs.limits
        self._limits = ServiceLimits(
            MinerLimits(
                templates=limits.templates_per_service,
                line_bytes=limits.line_bytes_max,
                cache_bytes=limits.cache_bytes_per_service,
            ),
            SignalLimits(window_ms=length_ms, templates=limits.templates_per_service),
            SampleLimits(),
        )
        self._decoder()
        self._encoder()

    def __call__(self, place: TopicPartition) -> LogPipeline:
        """Build an empty pipeline for ``place``."""
        settings, limits = self._settings, self._settings.logs.limits
        decoder = self._decoder()
        return LogPipeline(
            topic=place.topic,
            partition=place.partition,
            decoder=decoder,
            joiner=Joiner(JoinLimits(keys=limits.held_keys_max)),
            series=SeriesTable(
                limits.services_per_partition, settings.series.aliases_max, round(settings.series.idle_expiry_s * 1000)
            ),
            services=self._limits,
            times=self._times,
            cached_lines_max=limits.cached_lines_max,
            policies=self.book,
            judge=LogJudge(self.book.policies),
            encoder=self._encoder(),
            redact=self._redactor.redact,
            config_hash=log_config_hash(settings),
            timer=self._timer,
        )

    def _encoder(self) -> LogEncoder:
        return LOG_ENCODERS[ENCODER](self._settings.output.source)

    def _decoder(self) -> LogDecoder:
        logs, records = self._settings.logs, self._settings.decoder.limits
        paths = logs.paths
        return LOG_DECODERS[logs.format](
            LogPaths(
                message=paths.message,
                severity=paths.severity,
                time=paths.time,
                service=paths.service,
                trace=paths.trace,
                service_default=self._service_default,
                utc_offset_ms=logs.utc_offset_ms,
            ),
            LogDecoderLimits(record_bytes_max=records.record_bytes_max, ahead_max_ms=round(records.ahead_max_s * 1000)),
        )


def log_policy_of(index: int, policy: LogPolicySettings) -> LogPolicy:
    """Build one policy; raises ``UsageError`` that names its place in the settings."""
    try:
        return LogPolicy(
            name=policy.name,
            matchers=parse_matchers(policy.match),
            combined_min=policy.combined_min,
            single_min=policy.single_min,
            sustained_min=policy.sustained_min,
            sustained_windows=policy.sustained_windows,
            close_windows=policy.close_windows,
            lines_min=policy.lines_min,
            cooldown_s=policy.cooldown_s,
            update_interval_s=policy.update_interval_s,
            severity_error=policy.severity_error,
            severity_critical=policy.severity_critical,
            kinds=policy.kinds,
            samples_max=policy.samples_max,
        )
    except UsageError as error:
        raise UsageError(f"settings: logs.policies[{index}]: {error}") from error
