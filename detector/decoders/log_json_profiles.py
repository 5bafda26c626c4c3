r"""Places of a line's parts, by format and by flavour: what a record is taken for by the keys that it has.

Sources: Fluent Bit's kubernetes filter and kafka output, Elastic Common Schema 8, Vector's kubernetes_logs source,
GELF 1.1, systemd.journal-fields(7), CLEF (Serilog), and the defaults of logback's LogstashEncoder, log4j2's
JsonTemplateLayout, zap, zerolog, pino, bunyan, structlog, python-json-logger, logrus, Monolog and Google Cloud Logging.
A key with a dot in it (``log\.level``) and an object (``log.level``) are two places.
"""

from typing import Final, NamedTuple

from detector.decoders.log_json_fields import Profile

TRACES: Final = (
    *("trace_id", "traceId", "trace\\.id", "trace.id", "traceID", "TraceId", "dd\\.trace_id", "dd.trace_id"),
    *("otelTraceID", "@tr", "logging\\.googleapis\\.com/trace"),
)
SURROUNDINGS: Final = (
    *("service\\.namespace", "service\\.environment", "deployment\\.environment", "env", "environment"),
    *("tenant", "tenant_id"),
)
HOSTS: Final = ("host", "hostname", "host\\.name", "_HOSTNAME")
NAMES: Final = (
    *("application", "app", "appname", "app_name", "service_name", "serviceName", "Application", "_service", "_app"),
    *("_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "container_name", "container", "logger_service"),
)
STACKS: Final = (
    *("stack_trace", "error\\.stack_trace", "error.stack_trace", "stacktrace", "exception", "exc_info", "@x"),
    *("stack", "err.stack", "error.stack", "thrown.extendedStackTrace", "exception.stacktrace"),
)

_LEVELS: Final = (
    "level",
    "severity",
    "levelname",
    "level_name",
    "log\\.level",
    "log.level",
    "lvl",
    "loglevel",
    "log_level",
)
_TIMES: Final = ("@timestamp", "timestamp", "time", "ts", "date", "datetime", "asctime", "timeMillis", "instant")
_PLACES: Final = ("service\\.name", "service", "kubernetes", "resource")

MESSAGE: Final = Profile(
    "message",
    messages=("message",),
    severities=(*_LEVELS, "severity_text", "severityNumber", "severity_number", "LogLevel"),
    times=_TIMES,
    services=(_PLACES, NAMES, HOSTS),
    traces=TRACES,
    stacks=STACKS,
    surroundings=SURROUNDINGS,
)
"""logback, log4j2, python-json-logger, winston, Monolog, Google Cloud Logging, ECS without its marker."""
MSG: Final = Profile(
    "msg",
    messages=("msg",),
    severities=_LEVELS,
    times=("time", "ts", "timestamp", "@timestamp", "t"),
    services=(_PLACES, (*NAMES, "name"), HOSTS),
    traces=TRACES,
    stacks=STACKS,
    surroundings=SURROUNDINGS,
)
"""zap, zerolog, pino, bunyan (whose ``name`` is that of the application), logrus, Go's slog."""
EVENT: Final = Profile(
    "event",
    messages=("event", "event.original", "event\\.original"),
    severities=_LEVELS,
    times=("timestamp", "@timestamp", "time", "ts"),
    services=(_PLACES, NAMES, HOSTS),
    traces=TRACES,
    stacks=STACKS,
    surroundings=SURROUNDINGS,
)
"""structlog."""
CLEF: Final = Profile(
    "clef",
    messages=("@m", "@mt"),
    severities=("@l",),
    times=("@t",),
    services=(("service\\.name", "service"), ("Application", "ServiceName", "app"), ("MachineName", "host")),
    traces=("@tr", "TraceId"),
    stacks=("@x",),
    surroundings=("Environment", "tenant"),
)
"""Serilog's compact format."""
REST: Final = Profile(
    "rest",
    messages=(
        *("textPayload", "jsonPayload", "event\\.original", "body", "Body", "Message", "RenderedMessage"),
        *("MessageTemplate", "log_message", "text", "data", "error\\.message", "error.message"),
    ),
    severities=(*_LEVELS, "severityText", "severity_text", "severityNumber", "severity_number", "Level", "LogLevel"),
    times=(*_TIMES, "Timestamp", "eventTime", "receiveTimestamp"),
    services=(_PLACES, NAMES, HOSTS),
    traces=TRACES,
    stacks=(*STACKS, "Exception"),
    surroundings=SURROUNDINGS,
)
"""What has none of the usual keys."""
WHOLES: Final = Profile("wholes", messages=(), severities=(), times=(), services=())
"""Records of many lines, which have types of their own."""
FLUENTBIT: Final = Profile(
    "fluentbit",
    messages=("log", "message", "msg"),
    severities=("level", "severity", "log.level", "log_level"),
    times=("@timestamp", "date", "timestamp", "time", "ts"),
    services=(("service\\.name", "service", "kubernetes"), ("container_name", "app", "tag"), ("host", "hostname")),
    traces=("trace_id", "traceId"),
    stacks=("stack_trace", "exception"),
    surroundings=("environment", "tenant"),
)
ECS: Final = Profile(
    "ecs",
    messages=("message", "event\\.original", "event.original", "error\\.message", "error.message"),
    severities=("log\\.level", "log.level", "level"),
    times=("@timestamp",),
    services=(
        ("service\\.name", "service", "kubernetes"),
        ("container\\.name", "container"),
        ("host", "host\\.name"),
    ),
    traces=("trace\\.id", "trace.id"),
    stacks=("error\\.stack_trace", "error.stack_trace"),
    surroundings=("service\\.namespace", "service\\.environment", "tenant"),
)
VECTOR: Final = Profile(
    "vector",
    messages=("message", "msg"),
    severities=("level", "severity", "log_level"),
    times=("timestamp", "@timestamp", "time"),
    services=(("service\\.name", "service", "kubernetes"), ("appname", "app", "container_name"), ("host", "hostname")),
    traces=("trace_id", "traceId"),
    stacks=("stack_trace", "exception"),
    surroundings=("environment", "tenant"),
)
GELF: Final = Profile(
    "gelf",
    messages=("short_message", "full_message"),
    severities=("level",),
    times=("timestamp",),
    services=(
        ("_service", "_service_name", "_app", "_application", "_application_name", "_container_name", "facility"),
        ("host",),
    ),
    traces=("_trace_id", "_traceId"),
    stacks=("full_message", "_stack_trace", "_exception"),
    surroundings=("_environment", "tenant"),
    scale="syslog",
    streamed=True,
)
JOURNALD: Final = Profile(
    "journald",
    messages=("MESSAGE",),
    severities=("PRIORITY",),
    times=("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP"),
    services=(
        ("CONTAINER_NAME", "_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "SYSLOG_IDENTIFIER", "_COMM"),
        ("_HOSTNAME",),
    ),
    traces=("TRACE_ID",),
    scale="syslog",
    streamed=True,
)
PROFILES: Final = {profile.name: profile for profile in (FLUENTBIT, ECS, VECTOR, GELF, JOURNALD)}
"""Formats by the name that a topic may be said to have."""


class Flavour(NamedTuple):
    """JSON of some producers: what has any of the keys ``markers`` (all of it, where there are none)."""

    name: str
    markers: tuple[str, ...]
    profile: Profile


FLAVOURS: Final = (
    Flavour("journald", ("MESSAGE",), JOURNALD),
    Flavour("gelf", ("short_message",), GELF),
    Flavour("vector", ("source_type",), VECTOR),
    Flavour("ecs", ("ecs", "ecs\\.version"), ECS),
    Flavour("fluentbit", ("log",), FLUENTBIT),
    Flavour("json", ("@mt", "@m"), CLEF),
    Flavour("json", ("message",), MESSAGE),
    Flavour("json", ("msg",), MSG),
    Flavour("json", ("event",), EVENT),
    Flavour("otlp_json", ("resourceLogs",), WHOLES),
    Flavour("loki", ("streams",), WHOLES),
    Flavour("json", (), REST),
)
"""A record is of the first flavour that has a marker in it; the name is what it is counted as."""
