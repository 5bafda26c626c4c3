"""Metrics of log topics."""

from typing import Final

from detector.telemetry.metric import PARTITION, Metric

LOG_METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "detector_log_records_decoded_total",
        "counter",
        (*PARTITION, "format"),
        "records",
        "Records of log topics by the format that they were found to have.",
        "A format that you do not use: set logs.format, and look at what such records are.",
    ),
    Metric(
        "detector_log_lines_joined_total",
        "counter",
        PARTITION,
        "lines",
        "Lines that went on with the one before and were joined to it: stack traces, partial lines.",
        "Nothing: how many lines came in pieces. A collector that joins them sends fewer records, and knows its files.",
    ),
    Metric(
        "detector_log_lines_cut_total",
        "counter",
        PARTITION,
        "lines",
        "Lines longer than logs.limits.line_bytes_max, or of more words than are looked at; their beginning counts.",
        "Many: whole documents are logged; raise the limit only if their ends matter.",
    ),
    Metric(
        "detector_log_lines_released_total",
        "counter",
        PARTITION,
        "lines",
        "Lines that came out before anything could go on with them, since too many were waiting.",
        "Raise logs.limits.held_keys_max: there are more sources of lines than it has room for.",
    ),
    Metric(
        "detector_log_lines_untemplated_total",
        "counter",
        PARTITION,
        "lines",
        "Lines without a template, counted as other, because the service's circuit breaker was open.",
        "See detector_log_breakers_tripped_total.",
    ),
    Metric(
        "detector_log_breakers_tripped_total",
        "counter",
        PARTITION,
        "times",
        "Times a service's text was so random that its templates drove each other out, and training stopped.",
        "The log names the service: binary data or free text is logged. Training begins again by itself.",
    ),
    Metric(
        "detector_log_caches_cleared_total",
        "counter",
        PARTITION,
        "times",
        "Times the forms of lines that are remembered for speed were too many and were forgotten; they come again.",
        "Many per hour cost speed: raise logs.limits.cached_lines_max, at some 500 bytes each.",
    ),
    Metric(
        "detector_log_breakers_open",
        "gauge",
        PARTITION,
        "services",
        "Services whose templates are not trained at the moment.",
        "As for detector_log_breakers_tripped_total.",
    ),
    Metric(
        "detector_log_templates_changed_total",
        "counter",
        (*PARTITION, "change"),
        "templates",
        "Templates created, merged into another, and evicted to make room.",
        "evicted, steadily: a service has more templates than logs.limits.templates_per_service.",
    ),
    Metric(
        "detector_log_templates_held",
        "gauge",
        PARTITION,
        "templates",
        "Templates in memory.",
        "The memory of log topics goes with it, at some 2.5 kB each.",
    ),
    Metric(
        "detector_log_windows_closed_total",
        "counter",
        (*PARTITION, "lines"),
        "windows",
        "Windows closed, and windows skipped because no service of the partition had a line in them.",
        "skipped, often: the partition is quiet, or its collector stops; nothing is judged in such windows.",
    ),
    Metric(
        "detector_log_services_split",
        "gauge",
        ("topic",),
        "services",
        "Services whose lines this worker reads from several partitions of one topic, so that each sees a part.",
        "Key the topic by service: a split service has half counts and templates of its own in each partition.",
    ),
)
