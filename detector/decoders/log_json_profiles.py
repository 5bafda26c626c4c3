r"""Places of a line's parts, by the format that a topic is said to have; ``json`` knows those of all of them.

Sources: Fluent Bit's kubernetes filter and kafka output, Elastic Common Schema 8, Vector's kubernetes_logs source,
GELF 1.1, systemd.journal-fields(7), CLEF (Serilog), and the defaults of logback's LogstashEncoder, log4j2's
JsonTemplateLayout, zap, zerolog, pino, bunyan, structlog, python-json-logger, logrus, Monolog and Google Cloud Logging.
A key with a dot in it (``log\.level``) and an object (``log.level``) are two places.
"""

from typing import Final

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
    *("stack", "err.stack", "thrown.extendedStackTrace", "exception.stacktrace"),
)

JSON: Final = Profile(
    "json",
    messages=(
        *("message", "log", "msg", "event", "short_message", "MESSAGE", "@m", "@mt", "textPayload", "jsonPayload"),
        *("event\\.original", "event.original", "body", "Message", "RenderedMessage", "MessageTemplate", "text"),
    ),
    severities=(
        *("level", "severity", "log\\.level", "log.level", "levelname", "level_name", "lvl", "loglevel", "log_level"),
        *("@l", "PRIORITY", "severity_text", "severityText", "severity_number", "severityNumber", "Level", "LogLevel"),
    ),
    times=(
        *("@timestamp", "timestamp", "time", "ts", "date", "@t", "__REALTIME_TIMESTAMP", "timeMillis", "instant"),
        *("datetime", "eventTime", "asctime", "Timestamp"),
    ),
    services=(("service\\.name", "service", "kubernetes", "resource"), NAMES, HOSTS),
    traces=TRACES,
    stacks=(*STACKS, "full_message"),
    surroundings=SURROUNDINGS,
)
FLUENTBIT: Final = Profile(
    "fluentbit",
    messages=("log", "message", "msg", "MESSAGE"),
    severities=("level", "severity", "log_level"),
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
)
PROFILES: Final = {profile.name: profile for profile in (JSON, FLUENTBIT, ECS, VECTOR, GELF, JOURNALD)}
