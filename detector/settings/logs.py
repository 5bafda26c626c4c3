"""Settings of log topics: how records become lines, lines templates, and windows episodes."""

from typing import Literal, Self

from pydantic import Field, model_validator

from detector.settings.section import Names, Section

LogFormat = Literal[
    "auto",
    "json",
    "fluentbit",
    "ecs",
    "vector",
    "otlp_json",
    "otlp_proto",
    "otlp_raw",
    "loki",
    "journald",
    "gelf",
    "syslog",
    "cri",
    "logfmt",
    "plain",
]
LogKindName = Literal[
    "log.format_change",
    "log.new_template",
    "log.severity_surge",
    "log.surge",
    "log.vanished",
    "log.mix_shift",
]


class LogPathSettings(Section):
    r"""Where a JSON record keeps the parts of a line, if not where its format has them: dotted paths; `\.` is a dot."""

    message: str | None = Field(default=None, min_length=1, description="Path of the message.")
    severity: str | None = Field(default=None, min_length=1, description="Path of the severity, as text or number.")
    time: str | None = Field(
        default=None, min_length=1, description="Path of the event time: RFC 3339 or epoch in s, ms, us or ns."
    )
    service: str | None = Field(default=None, min_length=1, description="Path of the service's name.")
    trace: str | None = Field(default=None, min_length=1, description="Path of the trace id.")


class LogLimitSettings(Section):
    """What a service's lines may ask of us."""

    services_per_partition: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="Services per partition; beyond it the least recently seen one is evicted.",
    )
    templates_per_service: int = Field(
        default=2_000, ge=16, le=20_000, description="Templates of a service; a full table gives up a tenth."
    )
    cache_bytes_per_service: int = Field(
        default=2_097_152,
        ge=16_384,
        le=268_435_456,
        description="Bytes of lines remembered for speed, at each of three levels.",
    )
    line_bytes_max: int = Field(
        default=4_096, ge=64, le=65_536, description="Bytes of a line that are looked at; the rest is cut and counted."
    )
    held_keys_max: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Records that wait for lines that go on with them, one for each source of lines.",
    )


class RedactionSettings(Section):
    """What must not be shown of a line: secrets and persons. Sample lines and templates in events are redacted."""

    enabled: bool = Field(
        default=True, description="Redact e-mail addresses, tokens, keys, passwords and card numbers."
    )
    patterns: dict[str, str] = Field(
        default_factory=dict, description="Regular expressions of more, by the name that stands in their place."
    )


class LogPolicySettings(Section):
    """When windows of a service are an episode; evidence is -log10 p: 6 is one false alarm in a million windows."""

    name: str = Field(min_length=1, max_length=100, description="Name of the policy, as events show it.")
    match: str = Field(
        default="",
        description="Services it is for: '{service.name=~\"shop-.*\"}' over their labels; empty: every service.",
    )
    combined_min: float = Field(default=6.0, gt=0, description="Evidence of all signals together that opens.")
    single_min: float = Field(default=8.0, gt=0, description="Evidence of one signal that opens.")
    sustained_min: float = Field(
        default=4.0,
        gt=0,
        description="Evidence that opens in `sustained_windows` running, or what is together as rare; below a window is quiet.",
    )
    sustained_windows: int = Field(default=2, ge=1, le=60, description="Windows running, for `sustained_min`.")
    close_windows: int = Field(default=3, ge=1, le=1_440, description="Quiet windows running that close an episode.")
    lines_min: float = Field(
        default=0.0, ge=0, description="Least lines, observed or expected, of a window that counts."
    )
    cooldown_s: float = Field(
        default=600.0,
        ge=0,
        le=31_622_400,
        description="Time after a close in which no episode of its kind opens, in s of event time.",
    )
    update_interval_s: float = Field(
        default=300.0, ge=0, description="Least time between two updates of an episode, in s."
    )
    severity_error: float = Field(default=12.0, gt=0, description="Evidence from which an episode is an error.")
    severity_critical: float = Field(default=30.0, gt=0, description="Evidence from which an episode is critical.")
    kinds: tuple[LogKindName, ...] = Field(
        default=(
            "log.format_change",
            "log.new_template",
            "log.severity_surge",
            "log.surge",
            "log.vanished",
            "log.mix_shift",
        ),
        min_length=1,
        description="Kinds of episodes that may open.",
    )
    samples_max: int = Field(default=3, ge=0, le=3, description="Sample lines in an event.")


class LogsSettings(Section):
    """Topics of log lines, and what is made of them."""

    topics: Names = Field(default=(), description="Topics of log lines to read, beside `kafka.topics` of metrics.")
    format: LogFormat = Field(
        default="auto", description="Format of the records; `auto` looks at each record and counts what it found."
    )
    paths: LogPathSettings = Field(
        default_factory=LogPathSettings, description="Where JSON records keep their parts, if elsewhere."
    )
    service_default: str | None = Field(
        default=None, min_length=1, description="Service of lines that name none; default: the topic's name."
    )
    utc_offset: str = Field(
        default="+00:00", pattern=r"^[+-](?:0\d|1[0-4]):[0-5]\d$", description="Offset of times that carry none."
    )
    window_s: float = Field(default=60.0, ge=10, le=3_600, description="Length of a window, in s of event time.")
    lateness_s: float = Field(
        default=10.0, ge=0, le=60, description="Wait for late lines after a window's end, in s of event time."
    )
    limits: LogLimitSettings = Field(default_factory=LogLimitSettings, description="Limits of a service's lines.")
    redaction: RedactionSettings = Field(
        default_factory=RedactionSettings, description="What must not be shown of a line."
    )
    policies: tuple[LogPolicySettings, ...] = Field(
        default=(), description="Policies; the most specific match wins, and one for every other service always exists."
    )

    @model_validator(mode="after")
    def _lateness_fits(self) -> Self:
        if self.lateness_s > self.window_s:
            raise ValueError(f"lateness_s: {self.lateness_s:g} should not be longer than window_s: {self.window_s:g}")
        return self

    @property
    def utc_offset_ms(self) -> int:
        """``utc_offset`` in milliseconds."""
        hours, minutes = self.utc_offset[1:].split(":")
        return (-1 if self.utc_offset[0] == "-" else 1) * (int(hours) * 60 + int(minutes)) * 60_000
