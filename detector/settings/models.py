"""The settings as frozen pydantic models, one class per section; every field says what it does, in which unit."""

from typing import Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from detector.settings.bootstrap import bootstrap_source
from detector.settings.detection import ModelChoice, PolicySettings
from detector.settings.kafka import KafkaSettings
from detector.settings.logs import LogsSettings
from detector.settings.section import Section

ENVIRONMENT_PREFIX: Final = "DETECTOR_"
NESTING: Final = "__"


class OutputSettings(Section):
    """Where events and dead letters go."""

    prefix: str = Field(
        default="detector",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Prefix of our topics: `<prefix>.events`, `<prefix>.dlq` and `<prefix>.state`.",
    )
    source: str = Field(
        default="/detector", min_length=1, description="CloudEvents `source` of every event (a URI reference)."
    )

    @property
    def events_topic(self) -> str:
        """Topic of anomaly events."""
        return f"{self.prefix}.events"

    @property
    def dead_letters_topic(self) -> str:
        """Topic of records that could not be used."""
        return f"{self.prefix}.dlq"

    @property
    def state_topic(self) -> str:
        """Topic of snapshots."""
        return f"{self.prefix}.state"


class PathSettings(Section):
    r"""Where a record keeps the parts of a sample: dotted paths; a dot inside a key is written `\.`."""

    name: str = Field(default="name", min_length=1, description="Path of the metric's name.")
    labels: str = Field(
        default="labels", min_length=1, description="Path of the object of labels; a record may lack it."
    )
    time: str = Field(
        default="time", min_length=1, description="Path of the event time: RFC 3339 or epoch in s, ms, us or ns."
    )
    value: str = Field(
        default="value",
        min_length=1,
        description="Path of the number (or the list of numbers, beside a list of times).",
    )


class DecoderLimitSettings(Section):
    """What a record may ask of us; beyond it the record becomes a dead letter."""

    record_bytes_max: int = Field(default=1_048_576, ge=64, le=104_857_600, description="Size of one record, in bytes.")
    labels_max: int = Field(default=64, ge=0, le=1_000, description="Labels of one series.")
    ahead_max_s: float = Field(
        default=600.0,
        ge=0,
        le=31_536_000,
        description="How far an event time may lie past its record's broker timestamp, in s.",
    )


class DecoderSettings(Section):
    """How records become samples."""

    format: Literal["json"] = Field(default="json", description="Wire format of the records.")
    paths: PathSettings = Field(default_factory=PathSettings, description="Where a record keeps its parts.")
    name_default: str | None = Field(default=None, min_length=1, description="Metric name of records that carry none.")
    limits: DecoderLimitSettings = Field(default_factory=DecoderLimitSettings, description="Limits of one record.")


class SeriesSettings(Section):
    """How many series are held in memory, and for how long."""

    limit_per_partition: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Series per partition; beyond it the least recently seen one is evicted.",
    )
    aliases_max: int = Field(
        default=1_000_000, ge=1, le=100_000_000, description="Spellings (raw label bytes) remembered per partition."
    )
    idle_expiry_s: float = Field(
        default=691_200.0,
        ge=0,
        le=315_360_000,
        description="Series not seen for longer are forgotten, in s of event time; 0: never.",
    )
    timer_interval_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="Grid of event time on which silent and idle series are looked for, in s.",
    )


class WorkerSettings(Section):
    """Limits of the loop."""

    batch_records_max: int = Field(default=2_000, ge=1, le=1_000_000, description="Records taken at once.")
    poll_timeout_s: float = Field(default=0.05, gt=0, le=5, description="Wait for the first record of a batch, in s.")
    commit_interval_s: float = Field(default=0.5, gt=0, le=60, description="Time between two commits of offsets, in s.")
    pending_messages_max: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Messages sent and not yet acknowledged; beyond it reading waits.",
    )
    hold_after_s: float = Field(
        default=10.0, gt=0, le=240, description="Wait for acknowledgements before partitions are paused, in s."
    )
    revoke_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=240,
        description="Time to deliver and commit partitions that another worker waits for, in s.",
    )
    shutdown_timeout_s: float = Field(default=20.0, gt=0, le=600, description="Time for a graceful stop, in s.")


class StateSettings(Section):
    """How models are kept over restarts and rebalances."""

    enabled: bool = Field(
        default=True, description="Take snapshots and restore them; without, a restarted worker learns anew."
    )
    interval_s: float = Field(
        default=90.0,
        gt=0,
        le=86_400,
        description="Time between two snapshots of a partition, in s; a crash makes the next owner replay as much.",
    )
    on_state_loss: Literal["cold_start", "fail"] = Field(
        default="cold_start",
        description="Without a usable snapshot, and (without kept models, too) where the input does not hold the "
        "next record: learn the partition anew with a warning, or stop.",
    )
    bootstrap: str | None = Field(
        default=None,
        description="What a partition without a committed offset learns before it says anything, in place of "
        "`kafka.auto_offset_reset`: records at most so old (`14d`, `36h`; s, m, h, d, w), all that are kept "
        "(`earliest`), or first the CSV or JSONL files of a path (`./history`) and then all that are kept.",
    )
    river_objects: bool = Field(
        default=False,
        description="Keep models of river, too: as pickles that are read with a list of allowed classes.",
    )
    river_bytes_max: int = Field(
        default=16_777_216,
        ge=1_024,
        le=1_073_741_824,
        description="Bytes of river models in one partition's snapshot, shared evenly by its river models; what lies "
        "beyond is left out.",
    )

    @field_validator("bootstrap")
    @classmethod
    def _bootstrap_can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            bootstrap_source(value)
        return value


class DeliverySettings(Section):
    """What a crash may do to the events downstream."""

    mode: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once",
        description="`exactly_once`: events, dead letters, snapshots and offsets in transactions, for readers with "
        "`isolation.level=read_committed`; `at_least_once`: some events come again after a crash, with the same ids.",
    )
    transaction_timeout_s: float = Field(
        default=20.0,
        ge=2,
        le=900,
        description="Time after which the brokers abort a transaction that a dead worker left open, in s; until then "
        "readers and its partitions' next owner wait. At least four times `worker.commit_interval_s`, and at most the "
        "brokers' `transaction.max.timeout.ms`.",
    )


class DeadLetterSettings(Section):
    """When rejected records mean that something is set wrongly."""

    ratio_max: float = Field(
        default=0.5, gt=0, le=1, description="Share of rejected records of a partition that stops the worker."
    )
    bytes_max: int = Field(
        default=1_000_000,
        ge=1_024,
        le=100_000_000,
        description="Size of a dead letter with key and headers, in bytes; what lies beyond is cut and marked.",
    )
    window_records: int = Field(
        default=10_000, ge=1, le=10_000_000, description="Records over which the share is taken."
    )


class TelemetrySettings(Section):
    """Metrics, health and logs."""

    http_host: str = Field(default="0.0.0.0", description="Address for /metrics, /healthz and /readyz.")  # noqa: S104  # probes and scrapers come from other hosts
    http_port: int = Field(default=9464, ge=0, le=65_535, description="Its port; 0 takes a free one and logs it.")
    alive_age_max_s: float = Field(
        default=60.0, gt=0, le=3_600, description="Age of the loop's last turn beyond which /healthz fails, in s."
    )
    log_format: Literal["json", "console", "auto"] = Field(
        default="auto", description="`auto`: console on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )


class Settings(BaseSettings):
    """All settings of detector."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter=NESTING,
        allow_inf_nan=False,
        validate_default=False,
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="How to reach Kafka and what to read.")
    output: OutputSettings = Field(default_factory=OutputSettings, description="Where events and dead letters go.")
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="How records become samples.")
    logs: LogsSettings = Field(
        default_factory=LogsSettings, description="Topics of log lines, and what is made of them."
    )
    series: SeriesSettings = Field(default_factory=SeriesSettings, description="How many series are held in memory.")
    models: dict[str, ModelChoice] = Field(
        default_factory=dict, description="Models by name, for policies to choose; `auto` is always there."
    )
    policies: tuple[PolicySettings, ...] = Field(
        default=(), description="Policies; the most specific match wins, and one for every other series always exists."
    )
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="Limits of the loop.")
    delivery: DeliverySettings = Field(
        default_factory=DeliverySettings, description="What a crash may do to the events downstream."
    )
    dead_letters: DeadLetterSettings = Field(
        default_factory=DeadLetterSettings, description="When rejected records mean that something is set wrongly."
    )
    state: StateSettings = Field(
        default_factory=StateSettings, description="How models are kept over restarts and rebalances."
    )
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings, description="Metrics, health and logs.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over files (which arrive as arguments); no other source."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings
