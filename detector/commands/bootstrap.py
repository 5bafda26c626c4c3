"""``state.bootstrap`` as the worker takes it."""

from detector.errors import UsageError
from detector.io.recordings import Recording
from detector.settings import Settings, bootstrap_source
from detector.wiring import PipelineFactory
from detector.worker import Bootstrap, FileLessons


def bootstrap_of(settings: Settings) -> Bootstrap | None:
    """Give what partitions without a commit learn first. Raises ``UsageError`` for files that cannot be used."""
    if settings.state.bootstrap is None:
        return None
    age_ms, path = bootstrap_source(settings.state.bootstrap)
    if path is None:
        return Bootstrap(age_ms, records_max=settings.worker.batch_records_max)
    limits = settings.decoder.limits
    try:
        files = Recording(
            path,
            records_max=settings.worker.batch_records_max,
            line_bytes_max=limits.record_bytes_max,
            ahead_max_ms=round(limits.ahead_max_s * 1000),
        )
    except UsageError as error:
        raise UsageError(f"settings: state.bootstrap: {error}") from error
    rows = PipelineFactory(settings, records="plain") if files.layout == "plain" else None
    return Bootstrap(age_ms, FileLessons(files, rows), settings.worker.batch_records_max)
