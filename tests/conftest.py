"""What every test may ask for, and what no test leaves behind."""

import logging
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ("tests.kafka.plugin",)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Undo what a command did to the logs: it sent them to a stream that closes with its test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
