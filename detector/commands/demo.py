"""``detector demo``: an embedded broker, a stream, the real worker, and a table of what the events topic tells.

Three threads: one produces, one is the worker, and the main one consumes the events and draws. They share nothing but
Kafka topics, a few counters and the stop signal.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Event as Signal
from threading import Thread
from typing import Final, NamedTuple

from rich.console import Console
from rich.live import Live

from detector.batches import Output, RecordBatch
from detector.commands.demo_board import Board
from detector.commands.demo_feeds import WATER_SECONDS, Beat, host_beats, water_beats
from detector.commands.demo_shop import SHOP_SECONDS, STORY, shop_beats
from detector.commands.demo_truth import Story
from detector.commands.warmup import warm_up
from detector.errors import DetectorError
from detector.io.embedded import EmbeddedBroker
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_sink import KafkaSink
from detector.io.kafka_source import KafkaSource
from detector.ports import Message, TopicPartition
from detector.settings import (
    DeliverySettings,
    KafkaSettings,
    LogsSettings,
    PolicySettings,
    Settings,
    StateSettings,
    TelemetrySettings,
)
from detector.telemetry import configure_logs
from detector.wiring import WorkerProcess, build_worker, connection_of

METRICS_TOPIC: Final = "metrics"
LOGS_TOPIC: Final = "logs"
FRAMES_PER_S: Final = 10
FLUSH_TIMEOUT_S: Final = 10.0
START_TIMEOUT_S: Final = 30.0
DRAIN_TIMEOUT_S: Final = 20.0
"""From the last record to the last event; an idle machine needs about a second."""
EVENTS_MAX: Final = 1_000


class Show(NamedTuple):
    """One kind of demo."""

    title: str
    beats: Callable[[], Iterator[Beat]]
    policies: tuple[PolicySettings, ...]
    opens_something: bool
    story: Story | None = None


SHOWS: Final = {
    "shop": Show(
        f"detector demo · a shop's metrics and logs, {(STORY.end_ms - STORY.begin_ms) // 60_000} minutes "
        f"in about {SHOP_SECONDS:.0f} s",
        shop_beats,
        (),
        opens_something=True,
        story=STORY,
    ),
    "water": Show(
        f"detector demo · WaterFlow: a pipeline's hourly flow [l/s], 1,268 hours in about {WATER_SECONDS:.0f} s",
        water_beats,
        (),
        opens_something=True,
    ),
    "host": Show(
        "detector demo · this machine, every second · Ctrl-C ends",
        host_beats,
        # Of a live view one expects news within seconds, and a quiet machine moves in tiny steps.
        (PolicySettings(name="host", update_interval_s=5, cooldown_s=60, rel_min=0.2),),
        opens_something=False,
    ),
}


@dataclass(slots=True)
class Progress:
    """Counters, each written by one thread and read by the main one."""

    sent: int = 0
    processed: int = 0
    emitted: int = 0
    feed_ended: bool = False
    feed_whole: bool = False
    failures: list[BaseException] = field(default_factory=list)

    def on_output(self, _place: TopicPartition, batch: RecordBatch, output: Output) -> None:
        """Count what the worker has handed over; called on its thread."""
        self.emitted += len(output.events)
        self.processed += len(batch)


def run_demo(source: str, speed: float) -> None:
    """Run to the end of the data, or until Ctrl-C.

    Raises ``DetectorError`` when nothing came of it, or when a story has run to its end and what must be found was not.
    """
    configure_logs("console", "error")
    show, console, progress, stop = SHOWS[source], Console(), Progress(), Signal()
    board = Board(show.title, show.story)
    with _stop_on_signals(stop), EmbeddedBroker() as broker:
        settings = _settings(broker.bootstrap_servers, show.policies)
        broker.create_topics(
            METRICS_TOPIC, LOGS_TOPIC, settings.output.events_topic, settings.output.dead_letters_topic
        )
        with console.status("compiling kernels (a minute or two, the first time)"):
            warm_up(settings)
        _play(show, settings, _Stage(console, board, progress, stop), speed)
    if progress.failures:
        raise progress.failures[0]
    if show.opens_something and progress.feed_whole and not board.opened:
        raise DetectorError(f"demo: {progress.processed} records, 0 episodes opened; there should be some")
    if board.verdict is not None and progress.feed_whole:
        console.print(board.verdict.summary(), highlight=False, soft_wrap=True)
        if board.verdict.missing:
            raise DetectorError(f"demo: not found, and should be: {', '.join(board.verdict.missing)}")
    console.print(f"demo: {progress.processed} records, {board.opened} episodes opened", highlight=False)


class _Stage(NamedTuple):
    console: Console
    board: Board
    progress: Progress
    stop: Signal


def _settings(bootstrap_servers: str, policies: tuple[PolicySettings, ...]) -> Settings:
    """Make settings of the demo's own: files and environment variables are for real clusters."""
    return Settings.model_construct(
        kafka=KafkaSettings(
            bootstrap_servers=(bootstrap_servers,), topics=(METRICS_TOPIC,), librdkafka={"log_level": 0}
        ),
        logs=LogsSettings(topics=(LOGS_TOPIC,)),
        policies=policies,
        state=StateSettings(enabled=False),  # the broker and its topics end with the demo
        delivery=DeliverySettings(mode="at_least_once"),  # an embedded broker keeps no transactions
        telemetry=TelemetrySettings(http_host="127.0.0.1", http_port=0),
    )


def _play(show: Show, settings: Settings, stage: _Stage, speed: float) -> None:
    """Run producer, worker and table together; the worker is stopped and joined whatever happens."""
    process = build_worker(settings, on_output=stage.progress.on_output)
    connection = connection_of(settings.kafka)
    feed = Thread(target=_guarded, args=(stage.progress, lambda: _feed(show, connection, stage, speed)), daemon=True)
    work = Thread(target=_guarded, args=(stage.progress, process.run), daemon=True)
    events = KafkaSource(connection, ConsumerGroup("demo-table", (settings.output.events_topic,)))
    events.subscribe(_AnyAssignment())
    work.start()
    try:
        with stage.console.status("the worker joins its group"):
            _wait_until_ready(process, events, stage)
        feed.start()
        _watch(events, stage)
    finally:
        stage.stop.set()
        if feed.ident is not None:
            feed.join(FLUSH_TIMEOUT_S)
        process.worker.stop()
        work.join(settings.worker.shutdown_timeout_s)
        events.close()


def _wait_until_ready(process: WorkerProcess, events: KafkaSource, stage: _Stage) -> None:
    """Serve the table's own consumer until the worker has its partitions, so that nothing is streamed unwatched."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not (process.worker.ready or stage.progress.failures or stage.stop.is_set()):
        if time.monotonic() > deadline_s:
            raise DetectorError(f"demo: the worker has not joined its group within {START_TIMEOUT_S:.0f} s")
        events.fetch(EVENTS_MAX, 1 / FRAMES_PER_S)


def _guarded(progress: Progress, work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # raised again on the main thread
        progress.failures.append(error)


def _feed(show: Show, connection: KafkaConnection, stage: _Stage, speed: float) -> None:
    """Produce every beat at its time: samples keyed by series, lines by service."""
    sink = KafkaSink(connection)
    due_s = time.monotonic()
    for beat in show.beats():
        for line in beat.lines:
            sink.send(Message(LOGS_TOPIC, line.service.encode(), line.record))
        for point in beat.points:
            sink.send(Message(METRICS_TOPIC, point.key, point.record()))
        stage.board.add_beat(beat)
        stage.progress.sent += len(beat.points) + len(beat.lines)
        sink.poll(0)
        due_s += beat.pause_s / speed
        if stage.stop.wait(max(0.0, due_s - time.monotonic())):
            break
    else:
        stage.progress.feed_whole = True
    sink.flush(FLUSH_TIMEOUT_S)
    sink.close()
    stage.progress.feed_ended = True


def _watch(events: KafkaSource, stage: _Stage) -> None:
    """Consume the events topic and draw, until everything that was sent has been told."""
    console, board, progress, _ = stage
    ended_s: float | None = None
    announced = False
    with ExitStack() as stack:
        live: Live | None = None
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, auto_refresh=False, transient=False))
        while not progress.failures:
            lines = _taken(events, board)
            if live is None:
                for line in (*board.turns(progress.processed), *lines):
                    console.print(line, highlight=False, soft_wrap=True)
            if live is None and progress.processed and not announced:
                announced = True
                console.print("demo: records are flowing", highlight=False)
            if live is not None:
                live.update(board.render(console.width, console.height, progress.processed), refresh=True)
            if progress.feed_ended:
                ended_s = ended_s or time.monotonic()
                if progress.processed >= progress.sent and board.events >= progress.emitted:
                    return
                if time.monotonic() - ended_s > DRAIN_TIMEOUT_S:
                    raise DetectorError(
                        f"demo: {progress.sent} records were sent, {progress.processed} processed; "
                        f"{progress.emitted} events were sent, {board.events} received"
                    )


def _taken(events: KafkaSource, board: Board) -> list[str]:
    """Give the board what has come, and return its lines about it."""
    values = [value for batch in events.fetch(EVENTS_MAX, 1 / FRAMES_PER_S) for value in batch.values if value]
    return [line for line in map(board.add_event, values) if line]


class _AnyAssignment:
    """The table reads whatever partition it is given."""

    def assigned(self, partitions: object) -> None:
        """Nothing to prepare."""

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to hand over."""

    def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing to drop."""

    def out_of_range(self, partition: TopicPartition, offset: int) -> None:
        """Leave it: the embedded broker has thrown away more than the table could follow."""


@contextmanager
def _stop_on_signals(stop: Signal) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the stream; everything after it ends by itself."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
