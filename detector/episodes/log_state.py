"""What is kept of a service and of its open episodes, and how snapshots hold it.

Version 1: ``version`` int64[1] and ``services`` uint8[], one JSON array with an object per service, in the order of the
slots that the copy was made of. Field names are those of the classes below. Floats keep every digit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.batches import Severity
from detector.columns import Columns, taken
from detector.errors import SnapshotRefusedError
from detector.log_batches import LOG_KINDS, LogKind, LogSample, LogTemplate, WindowFindings

VERSION: Final = 1

Leaving = Literal["evicted", "expired"]
"""Why a service is forgotten."""

NEVER_MS: Final = -(2**62)
"""Before any window."""

SERVICE_BYTES: Final = 700
EPISODE_BYTES: Final = 3_000
TEMPLATE_BYTES: Final = 1_000
SAMPLE_BYTES: Final = 300
"""Of the Python objects, in CPython 3.12, without their texts; a template's are mostly its last windows."""


@dataclass(slots=True)
class LogEpisode:
    """One open episode. ``peak``, ``templates`` and ``samples`` are of the window with the most evidence.

    ``joint`` where all signals together opened it; ``is_back`` what the windows since the last anomalous one say of
    the lines: as they were before (True), as they have become (False), or nothing (None). ``told_ms`` is the end of
    the window of its last transition, ``told_severity`` what that said, ``quiet_lines`` the lines of the
    ``quiet_windows``.
    """

    kind: LogKind
    number: int
    joint: bool
    started_ms: int
    detected_ms: int
    ended_ms: int
    told_ms: int
    windows: int
    anomalous_windows: int
    peak_evidence: float
    severity: Severity
    peak: WindowFindings
    templates: tuple[LogTemplate, ...]
    samples: tuple[LogSample, ...]
    told_severity: Severity = "warning"
    sequence: int = 0
    quiet_windows: int = 0
    quiet_lines: int = 0
    is_back: bool | None = None


@dataclass(slots=True)
class LogService:
    """What is kept of one service.

    ``runs`` are digits of the last few windows running, by ``LOG_KINDS`` and last of all signals; ``lengths`` is how
    many windows each has run.
    ``window_ms`` is the start of the last window judged, ``reworded_ms`` of the last that saw lines being reworded,
    ``closed_ms`` by ``LOG_KINDS`` the end of the one in which an episode closed. ``open`` has the most specific first.
    """

    policy: int
    begun: int = 0
    window_ms: int = NEVER_MS
    reworded_ms: int = NEVER_MS
    lengths: list[int] = field(default_factory=lambda: [0] * (len(LOG_KINDS) + 1))
    runs: list[list[float]] = field(default_factory=lambda: [[] for _ in range(len(LOG_KINDS) + 1)])
    closed_ms: list[int] = field(default_factory=lambda: [NEVER_MS] * len(LOG_KINDS))
    open: list[LogEpisode] = field(default_factory=list)

    def copy(self) -> "LogService":
        """The same, apart from this one; what never changes is shared."""
        open_ = [replace(episode) for episode in self.open]
        return replace(
            self,
            lengths=self.lengths.copy(),
            runs=[run.copy() for run in self.runs],
            closed_ms=self.closed_ms.copy(),
            open=open_,
        )

    def nbytes(self) -> int:
        """About what it takes in memory."""
        total = SERVICE_BYTES
        for episode in self.open:
            templates = len(episode.templates) + len(episode.peak.templates)
            total += EPISODE_BYTES + TEMPLATE_BYTES * templates + SAMPLE_BYTES * len(episode.samples)
            total += sum(len(template.text) for template in episode.templates)
            total += sum(len(sample.text) for sample in episode.samples)
        return total

    def is_sound(self) -> bool:
        """Whether the numbers of a stored service can be those of one."""
        kinds = [LOG_KINDS.index(episode.kind) for episode in self.open]
        return (
            len(self.runs) == len(self.lengths) == len(LOG_KINDS) + 1
            and len(self.closed_ms) == len(LOG_KINDS)
            and kinds == sorted(set(kinds))
            and len(self.open) <= self.begun
            and all(min(episode.sequence, episode.anomalous_windows) >= 1 for episode in self.open)
        )


class LogCopy:
    """A copy of services, taken whole, because it is small."""

    def __init__(self, services: Sequence[LogService]) -> None:
        self._services = [service.copy() for service in services]

    def take(self, positions: NDArray[np.int64]) -> None:
        """Nothing: all of it is there."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """The state, laid out; may be asked for in another thread."""
        packed = msgspec.json.encode(self._services, enc_hook=_plain)
        return {"version": np.array([VERSION], np.int64), "services": np.frombuffer(packed, np.uint8)}


def services_of(columns: Columns, slots: Sequence[int], policies: int) -> Mapping[int, LogService]:
    """Undo :meth:`LogCopy.columns`: the services by their new slots.

    Raises ``SnapshotRefusedError`` for columns that it did not make, for another number of services than ``slots``, or
    for a policy beyond the ``policies`` that there are.
    """
    if taken(columns, "version", np.dtype(np.int64), (1,))[0] != VERSION:
        raise SnapshotRefusedError(f"the snapshot's log episodes have a version other than {VERSION}")
    packed = columns.get("services")
    if packed is None or packed.dtype != np.uint8 or packed.ndim != 1:
        raise SnapshotRefusedError("the snapshot lacks the column services")
    try:
        services = msgspec.json.decode(packed.tobytes(), type=list[LogService], dec_hook=_column)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, ValueError) as error:
        raise SnapshotRefusedError(f"the snapshot's log episodes cannot be read: {error}") from error
    if len(services) != len(slots):
        raise SnapshotRefusedError(f"the snapshot has log episodes of {len(services)} services, not of {len(slots)}")
    if not all(0 <= service.policy < policies for service in services):
        raise SnapshotRefusedError("the snapshot names a log policy that these settings do not have")
    if not all(service.is_sound() for service in services):
        raise SnapshotRefusedError("the snapshot has log episodes that cannot be")
    for slot, service in zip(slots, services, strict=True):
        for episode in service.open:
            episode.peak = replace(episode.peak, slot=slot)
    return dict(zip(slots, services, strict=True))


def _plain(numbers: object) -> object:
    """NumPy's columns and numbers as Python's."""
    assert isinstance(numbers, np.ndarray | np.generic), "nothing else needs help"
    return numbers.tolist()


def _column(kind: Callable[..., object], numbers: object) -> NDArray[np.uint32]:
    if not isinstance(numbers, list) or not all(isinstance(each, int) for each in numbers):
        raise ValueError(f"expected whole numbers for {kind}")
    return np.array(numbers, np.uint32)
