"""Workers that begin as copies of a warm process: imports and kernels cost seconds, which each of many lives would pay.

The server imports what a worker imports, runs the kernels once and has no thread and no Kafka client; each worker forks
from it, and goes on with the command line like any other. Only the start is not a fresh interpreter's.
"""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.kafka.warm"])
PR_SET_PDEATHSIG: Final = 1
"""Of Linux' prctl(2)."""


class ForkedProcess:
    """The part of ``subprocess.Popen`` that is used here."""

    def __init__(self, settings: Path, environment: Mapping[str, str], log: Path) -> None:
        self._process = CONTEXT.Process(target=_live, args=(str(settings), dict(environment), str(log)), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("detector run", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at this very instruction."""
        self.send_signal(signal.SIGKILL)


def _live(settings: str, environment: Mapping[str, str], log: str) -> None:
    """In the new process: become ``detector run``."""
    from detector.cli import main  # noqa: PLC0415  # in the server this is imported already, and nowhere else needed
    from tests.kafka.faults import Fault  # noqa: PLC0415
    from tests.kafka.faulty import Trap, set_trap  # noqa: PLC0415

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the server ends with the tests, and we with the server
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    if "FAULT_POINT" in environment:
        set_trap(Trap(Fault.of_environment()))
    sys.argv = ["detector", "run", "--config", settings]
    main()
