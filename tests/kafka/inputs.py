"""Inputs that go on for as long as a test does: quiet series, incidents, poison."""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Event, Thread
from typing import Final, Self

from tests.kafka.workers import Stage
from tests.streams import record

SERIES: Final = 4
POISON_EVERY: Final = 97
"""With batches of about as many records, nearly every transaction has something to say."""
INCIDENT_EVERY: Final = 100
"""Minutes; the last fifteen of them are the incident's."""
FEED_RECORDS: Final = 60
FEED_S: Final = 0.1


def endless(seed: int) -> Iterator[bytes | None]:
    """Quiet series with a short incident in one of them and a poison record now and then."""
    chance = random.Random(seed)
    number = 0
    while True:
        minute, host = divmod(number, SERIES)
        incident = minute % INCIDENT_EVERY >= 85 and minute // INCIDENT_EVERY % SERIES == host
        level = 400.0 if incident else 10.0
        value = record("load", 1_700_000_000 + 60 * minute, level + chance.random(), {"host": f"h{host}"})
        yield b"{poison" if number % POISON_EVERY == 50 else value
        number += 1


class Feeder:
    """Writes to every partition of a stage: at once, or a little every moment while the context lasts.

    ``records_max`` says how many records a partition may have by now.
    """

    def __init__(self, stage: Stage, *, seed: int = 1, records_max: Callable[[], int] = lambda: 1_000_000) -> None:
        self.records = 0
        self._stage = stage
        self._records_max = records_max
        self._streams = [endless(seed * 100 + place.partition) for place in stage.places]
        self._ended = Event()
        self._thread = Thread(target=self._feed, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def write(self, count: int) -> None:
        """Write ``count`` records to each partition."""
        for partition, values in enumerate(self._streams):
            self._stage.write(list(islice(values, count)), partition=partition)
        self.records += count

    def stop(self) -> None:
        """End, and wait for it."""
        self._ended.set()
        self._thread.join()

    def _feed(self) -> None:
        while not self._ended.wait(FEED_S):
            if self.records < self._records_max():
                self.write(FEED_RECORDS)
