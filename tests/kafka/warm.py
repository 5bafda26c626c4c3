"""Imported once by the server of :mod:`tests.kafka.forked`: everything that a worker needs before its first client."""

import detector.commands.run
from detector.commands.warmup import warm_up
from detector.settings import Settings
from tests.kafka import faulty

__all__ = ["detector", "faulty"]

warm_up(Settings())
