"""``detector warmup``: compile the kernels before they are needed."""

import time
from typing import Final

import numpy as np
import typer

from detector.batches import TIMESTAMP_UNKNOWN, RecordBatch
from detector.ports import TopicPartition
from detector.settings import (
    CompiledModel,
    LevelShiftSettings,
    LogsSettings,
    NoDataSettings,
    PolicySettings,
    SeriesSettings,
    Settings,
)
from detector.state import decode, encode
from detector.wiring import PipelineFactory
from detector.wiring_logs import LogPipelineFactory
from detector.wiring_models import COMPILED_LEARNERS

WARM_UP_RECORDS: Final = 256
"""Enough for every kernel to leave its warm-up and for an episode at the end."""

WARM_UP_SILENCE: Final = 180
"""Minutes in which the timers close, open and forget what there is."""

LOGS: Final = "logs"
"""Name of the way of log lines, beside those of the learners."""

LOG_MINUTES: Final = 240
"""Windows enough for every signal to leave its warm-up, and to know what is rare; the last ten are a fault."""
LOG_FAULT_MINUTES: Final = 10
QUEUES: Final = ("orders", "mails", "refunds", "invoices", "returns")
"""Words that take one place in a message: their templates become one."""


def compile_kernels(settings: Settings) -> None:
    """Compile and print how long each learner's way through the pipeline took, and that of log lines."""
    for name, seconds in warm_up(settings).items():
        typer.echo(f"{name}: kernels compiled and cached in {seconds:.1f} s")


def warm_up(settings: Settings) -> dict[str, float]:
    """Run tiny streams through every compiled learner, log lines and snapshots, so that all kernels are cached.

    Gives seconds by the learner's name, and those of :data:`LOGS`.
    """
    series = SeriesSettings(idle_expiry_s=7200.0)
    seconds: dict[str, float] = {}
    for learner in COMPILED_LEARNERS:
        began_s = time.perf_counter()
        models = {learner: CompiledModel({learner: {}})}
        no_data = NoDataSettings(intervals=1.0, min_s=0.0)
        shift = LevelShiftSettings(after_s=60.0, points=2)
        policies = (
            PolicySettings(name="warm-up", model=learner, silence_close_s=60.0, no_data=no_data),
            PolicySettings(name="left open", match="left-open", model=learner, silence_close_s=0.0),
            PolicySettings(name="new level", match="new-level", model=learner, level_shift=shift),
        )
        only = settings.model_copy(update={"models": models, "policies": policies, "series": series})
        factory, place = PipelineFactory(only, records="plain", keep_scores=True), TopicPartition("warm-up", 0)
        pipeline = factory(place)
        pipeline.process(_tiny_stream())
        factory(place).restore(decode(encode(*pipeline.snapshot(offset=0, cluster=""))), cluster="")
        seconds[learner] = time.perf_counter() - began_s
    began_s = time.perf_counter()
    _warm_up_logs(settings)
    seconds[LOGS] = time.perf_counter() - began_s
    return seconds


def _warm_up_logs(settings: Settings) -> None:
    """Half of the stream, a snapshot, and the rest by what was restored from it."""
    only = settings.model_copy(update={"logs": LogsSettings(topics=("warm-up",))})
    factory, place = LogPipelineFactory(only), TopicPartition("warm-up", 0)
    values = [value for minute in range(LOG_MINUTES) for value in _tiny_logs(minute)]
    half = len(values) // 2
    pipeline, restored = factory(place), factory(place)
    pipeline.process(_records(values[:half], 0))
    restored.restore(decode(encode(*pipeline.snapshot(offset=half, cluster=""))), cluster="")
    restored.process(_records(values[half:], half))


def _tiny_logs(minute: int) -> list[bytes]:
    """A minute of one service in each family of formats; at the end with errors in the place of the usual lines."""
    time_s, fault = 1_700_000_000 + 60 * minute, minute >= LOG_MINUTES - LOG_FAULT_MINUTES
    stamp = f"{np.datetime64(time_s, 's')}"
    texts = [f"order {row * 7_919 + minute} of user u{row % 3} took {row + minute % 5} ms" for row in range(6)]
    if fault:
        texts = ["pool exhausted after 5003 ms", "retry 2 of 3 at 10.0.0.7:5432"] * (4 + minute % 3)
    texts.append(f"queue {QUEUES[minute % len(QUEUES)]} is drained")
    level = "error" if fault else "info"
    return [
        line.encode()
        for text in texts
        for line in (
            f'{{"time":"{stamp}Z","level":"{level}","service":"json","message":"{text}"}}',
            f'{{"time":"{stamp}Z","service":"tailed","log":"{text}"}}',
            f"{stamp}Z \x1b[1m{level.upper()}\x1b[0m {text}",
            f'ts={stamp}Z level={level} service=logfmt msg="{text}"',
            f"<{131 if fault else 134}>1 {stamp}Z host syslog 7 - - {text}",
            f"{stamp}.5Z stdout F {text}",
            "    at shop.Orders.place(Orders.java:42)",
        )
    ]


def _tiny_stream() -> RecordBatch:
    """Three saw-teeth with a step at the end, which then fall silent, and a fourth series that goes on."""
    steps = [1000 if row >= WARM_UP_RECORDS - 10 else row % 7 for row in range(WARM_UP_RECORDS)]
    values = [
        b'{"name":"%b","time":%d,"value":%d}' % (name, 60 * row, value)
        for row, value in enumerate(steps)
        for name in (b"warm-up", b"left-open", b"new-level")
    ]
    values += [b'{"name":"on","time":%d,"value":0}' % (60 * (WARM_UP_RECORDS + row)) for row in range(WARM_UP_SILENCE)]
    return _records(values, 0)


def _records(values: list[bytes], offset: int) -> RecordBatch:
    offsets = np.arange(offset, offset + len(values), dtype=np.int64)
    return RecordBatch("warm-up", 0, offsets, np.full(len(values), TIMESTAMP_UNKNOWN, dtype=np.int64), values)
