"""``detector run``: the worker until a signal ends it."""

import gc
import signal
from types import FrameType

import structlog

from detector import __version__
from detector.commands.bootstrap import bootstrap_of
from detector.commands.warmup import warm_up
from detector.settings import Settings, config_hash, input_topics
from detector.telemetry import configure_logs
from detector.wiring import WorkerProcess, build_worker


def run_worker(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then stop in order. Raises ``DetectorError`` for what ends it otherwise."""
    configure_logs(settings.telemetry.log_format, settings.telemetry.log_level)
    log = structlog.get_logger("detector")
    process = build_worker(settings, bootstrap=bootstrap_of(settings))
    _stop_on_signals(process)
    kernels_seconds = sum(warm_up(settings).values())
    # What start-up made lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    log.info(
        "worker_started",
        version=__version__,
        config_hash=config_hash(settings),
        topics=list(input_topics(settings)),
        group_id=settings.kafka.group_id,
        http_port=process.http.port,
        kernels_seconds=round(kernels_seconds, 3),
    )
    process.run()


def _stop_on_signals(process: WorkerProcess) -> None:
    """Stop in order on the first signal; a second one of the same kind ends the process at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        process.worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
