"""What counts as an episode of log lines: evidence, persistence and severity, chosen per service."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final

from detector.batches import SeriesIdentity
from detector.episodes.books import Book
from detector.episodes.matchers import Matcher
from detector.episodes.policies import DURATION_MAX_S
from detector.errors import UsageError
from detector.log_batches import LOG_KINDS, LogKind

EVIDENCE_MAX: Final = 300.0
"""Beyond 300 digits no probability is told apart from 0; a larger threshold is a mistake in units."""

WINDOWS_MAX: Final = 60
"""Windows to wait for something: an hour of minutes."""

SAMPLES_MAX: Final = 10
"""Lines that an event may show."""


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """How the windows of the matching services become episodes. Raises ``UsageError`` for values that make no sense.

    Thresholds are evidence, -log10 p of a window. An episode opens where all signals together reach ``combined_min``,
    or a single one ``single_min``, or where windows running are together as rare as ``sustained_windows`` of
    ``sustained_min``. A window below ``sustained_min`` that belongs to no such run is quiet; ``close_windows`` of them
    in a row close the episode. Most faults last for longer than a minute: waiting for the second window finds more of
    them than any lower threshold for one.

    Windows in which the service has, and was expected to have, less than ``lines_min`` lines are quiet. Only ``kinds``
    open. For ``cooldown_s`` of event time after a close only a more specific kind opens. An open episode is told again
    every ``update_interval_s`` while it lasts, and at once where its severity rises.

    Severity is bounded by what the lines say of themselves and by the evidence of the peak: ``severity_error`` digits
    make an error of warnings, of lines that do not tell, and of lines that are missing; of lines of errors
    ``severity_critical`` make it critical. Whatever information and debugging do is a warning
    (docs/decisions/0019-log-episodes.md). ``samples_max`` lines are shown.
    """

    name: str
    matchers: tuple[Matcher, ...] = ()
    _: KW_ONLY
    combined_min: float = 6.0
    single_min: float = 8.0
    sustained_min: float = 4.0
    sustained_windows: int = 2
    close_windows: int = 3
    lines_min: float = 0.0
    cooldown_s: float = 600.0
    update_interval_s: float = 300.0
    severity_error: float = 12.0
    severity_critical: float = 30.0
    kinds: tuple[LogKind, ...] = LOG_KINDS
    samples_max: int = 3

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a policy needs a name")
        if not (0.0 < self.sustained_min <= EVIDENCE_MAX):
            raise self._fault("sustained_min", self.sustained_min, f"above 0 and at most {EVIDENCE_MAX:g}")
        self._check_range("combined_min", self.sustained_min, EVIDENCE_MAX)
        self._check_range("single_min", self.sustained_min, EVIDENCE_MAX)
        self._check_range("sustained_windows", 1, WINDOWS_MAX)
        self._check_range("close_windows", 1, WINDOWS_MAX)
        self._check_range("lines_min", 0.0, math.inf)
        self._check_range("cooldown_s", 0.0, DURATION_MAX_S)
        self._check_range("update_interval_s", 0.0, DURATION_MAX_S)
        self._check_range("severity_error", 0.0, EVIDENCE_MAX)
        self._check_range("severity_critical", self.severity_error, EVIDENCE_MAX)
        self._check_range("samples_max", 0, SAMPLES_MAX)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds) or not set(self.kinds) <= set(LOG_KINDS):
            raise self._fault("kinds", list(self.kinds), f"some of {', '.join(LOG_KINDS)}, each once")

    def matches(self, identity: SeriesIdentity) -> bool:
        """Whether every matcher holds; without matchers, always."""
        return all(matcher.matches(identity) for matcher in self.matchers)

    def _check_range(self, field: str, smallest: float, largest: float) -> None:
        value = getattr(self, field)
        if not smallest <= value <= largest or math.isinf(value):
            wanted = f"{smallest:g} or more" if math.isinf(largest) else f"between {smallest:g} and {largest:g}"
            raise self._fault(field, value, wanted)

    def _fault(self, field: str, value: object, wanted: str) -> UsageError:
        return UsageError(f"log policy {self.name!r}: {field} must be {wanted}, not {value!r}")


DEFAULT_LOG_POLICY: Final = LogPolicy(name="default")
"""What applies where no other policy does."""


class LogPolicyBook(Book[LogPolicy]):
    """The policies of services; :data:`DEFAULT_LOG_POLICY` is the default where none is given."""

    def __init__(self, policies: Sequence[LogPolicy] = ()) -> None:
        super().__init__(policies, DEFAULT_LOG_POLICY)
