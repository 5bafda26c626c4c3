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
    NoDataSettings,
    PolicySettings,
    SeriesSettings,
    Settings,
)
from detector.state import decode, encode
from detector.wiring import PipelineFactory
from detector.wiring_models import COMPILED_LEARNERS

WARM_UP_RECORDS: Final = 256
"""Enough for every kernel to leave its warm-up and for an episode at the end."""

WARM_UP_SILENCE: Final = 180
"""Minutes in which the timers close, open and forget what there is."""


def compile_kernels(settings: Settings) -> None:
    """Compile and print how long each learner's way through the pipeline took."""
    for learner, seconds in warm_up(settings).items():
        typer.echo(f"{learner}: kernels compiled and cached in {seconds:.1f} s")


def warm_up(settings: Settings) -> dict[str, float]:
    """Run a tiny stream through every compiled learner and a snapshot, so that all kernels are cached; give seconds."""
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
    return seconds


def _tiny_stream() -> RecordBatch:
    """Three saw-teeth with a step at the end, which then fall silent, and a fourth series that goes on."""
    steps = [1000 if row >= WARM_UP_RECORDS - 10 else row % 7 for row in range(WARM_UP_RECORDS)]
    values = [
        b'{"name":"%b","time":%d,"value":%d}' % (name, 60 * row, value)
        for row, value in enumerate(steps)
        for name in (b"warm-up", b"left-open", b"new-level")
    ]
    values += [b'{"name":"on","time":%d,"value":0}' % (60 * (WARM_UP_RECORDS + row)) for row in range(WARM_UP_SILENCE)]
    offsets = np.arange(len(values), dtype=np.int64)
    return RecordBatch("warm-up", 0, offsets, np.full(len(values), TIMESTAMP_UNKNOWN, dtype=np.int64), values)
