"""Imported once by the server of :mod:`tests.kafka.forked`: everything that a worker needs before its first client."""

import detector.commands.run
from detector.settings import Settings
from detector.wiring import warm_up
from tests.kafka import faulty

__all__ = ["detector", "faulty"]

warm_up(Settings())
