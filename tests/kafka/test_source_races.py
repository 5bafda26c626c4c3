"""A moment that only a real group produces: a partition is taken away between the two calls of one fetch."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from detector.io import ConsumerGroup, KafkaConnection, KafkaSource
from tests.contracts.test_source_sink import Reader, until
from tests.kafka.broker import Broker
from tests.kafka.workers import Stage

pytestmark = pytest.mark.kafka

HEARD_OF_S: Final = 4.0
"""Longer than a heartbeat interval: by then the first member has heard of the second."""


class PausingConsumer:
    """The real client, with something happening before its next ``consume``."""

    def __init__(self, consumer: Any, before_consume: Callable[[], None]) -> None:
        self._consumer = consumer
        self._before: Callable[[], None] | None = before_consume

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def consume(self, count: int, timeout_s: float) -> Any:
        if self._before is not None:
            before, self._before = self._before, None
            before()
        return self._consumer.consume(count, timeout_s)


def race(stage: Stage, *, record_partition: int) -> tuple[Reader, Reader]:
    """One record, fetched by the first member while the second joins; every turn asserts that it owns what came."""

    def source() -> KafkaSource:
        group = ConsumerGroup(stage.group, [stage.input], session_timeout_ms=6_000)
        return KafkaSource(KafkaConnection(stage.bootstrap_servers), group)

    def second_joins() -> None:
        end_s = time.monotonic() + HEARD_OF_S
        while time.monotonic() < end_s:
            second.turn()

    member = source()
    first = Reader(member)
    until(lambda: len(first.listener.owned) == 2, first.turn)
    stage.write([b"record"], partition=record_partition)
    second = Reader(source())
    member._consumer = PausingConsumer(member._consumer, second_joins)  # type: ignore[assignment]  # wraps the real one
    until(lambda: len(first.listener.owned) == len(second.listener.owned) == 1, lambda: (first.turn(), second.turn()))
    return first, second


def test_a_record_whose_partition_leaves_during_the_fetch_is_the_next_owner_s(kafka: Broker, tmp_path: Path) -> None:
    dropped = []
    for partition in range(2):
        first, second = race(Stage(kafka.bootstrap_servers, tmp_path), record_partition=partition)
        try:
            gone = partition in {place.partition for place in second.listener.owned}
            if gone:
                second.read(1)
            dropped.append(gone and first.count() == 0)
        finally:
            first.source.close()
            second.source.close()
    assert any(dropped), "no race took place"
