"""What counts as an episode: gates, persistence and severity, chosen per series."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal

from detector.batches import SeriesIdentity, Severity
from detector.episodes.books import Book
from detector.episodes.matchers import Matcher
from detector.episodes.records import HISTORY_ROWS, OPEN_WINDOW_MAX
from detector.errors import UsageError

Direction = Literal["up", "down", "both"]
DIRECTIONS: Final[tuple[Direction, ...]] = ("up", "down", "both")

SEVERITIES: Final[tuple[Severity, Severity, Severity]] = ("warning", "error", "critical")

DURATION_MAX_S: Final = 366 * 86_400.0
"""A year; anything longer is a mistake in units."""

INTERVALS_MAX: Final = 10_000.0
"""More missing samples than this are a mistake in units, too."""

RATIO_MAX: Final = 6.0
"""A row counts as at most eight usual spreads, so that a mean of much more is never reached."""

DRIFT_DELTA_MIN: Final = 1e-12
DRIFT_DELTA_MAX: Final = 0.5
"""Below, nothing is ever found; above, chance is."""

SHIFT_AFTER_MAX_S: Final = 86_400.0
"""A day: learners get used to what lies outside of their band after that long by themselves."""


@dataclass(frozen=True, slots=True)
class NoData:
    """When silence is an episode of the kind ``metric.no_data``: see :class:`Policy`, which checks it."""

    intervals: float = 5.0
    min_s: float = 300.0
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class LevelShift:
    """When an open spike or dip is a new level, ``metric.level_shift``: see :class:`Policy`, which checks it."""

    after_s: float = 28_800.0
    points: int = 12


@dataclass(frozen=True, slots=True)
class Stuck:
    """When a value that stays the same is an episode of the kind ``metric.stuck``: see :class:`Policy`."""

    runs: float = 5.0
    min_s: float = 1_800.0
    points: int = 20
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Variance:
    """When a scatter is an episode of the kind ``metric.variance``: see :class:`Policy`, which checks it."""

    ratio: float = 2.2
    points: int = 30
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True)
class Drift:
    """How drifts of the deviations are found, which let levels be told: see :class:`Policy`, which checks it."""

    delta: float = 0.002


@dataclass(frozen=True, slots=True)
class Policy:
    """How the scored rows of the matching series become episodes. Raises ``UsageError`` for values that make no sense.

    A row is anomalous when its deviation reaches ``deviation_min`` (1.0 is the edge of the normal band), in an allowed
    ``direction``, and it passes the gates: ``abs_min`` (unit of the series) and ``rel_min`` (share of the expected
    value) on its distance from the expected value, and ``volume_min`` on the larger of observed and expected, which
    keeps low-traffic series quiet. ``model`` names the learner to use and means nothing here.

    An episode opens when ``open_points`` of the last ``open_window`` scored rows are anomalous and closes when
    ``close_points`` of the last ``close_window`` are normal. Nine of ten, because a value that swings around the band's
    edge with up to eight rows on each side is then one episode, not many, while one straggler does not keep an episode
    open. For ``cooldown_s`` of event time after a close nothing opens.

    ``novelty_min`` opens an episode at one row whose novelty reaches it, where the deviation is at least 1 and the
    other gates hold; None means never, and learners without a novelty never do. It is off by default: it opens at
    single samples, of young series above all (docs/decisions/0013-typed-episodes.md).

    ``flap_crossings`` changes between normal and anomalous within ``flap_window`` rows make an open episode flapping;
    it then closes only when fewer than half as many are left. Six changes with eight rows between them span 42 rows, so
    the window is 48. Windows count rows with a score, not time.

    An open episode closes when its series has had no sample for ``silence_close_s``, nor for three of its longest usual
    pauses; 0 means never. An hour, because a page that nobody can close is worse than one that comes again. ``no_data``
    opens an episode when a series has had no sample for ``intervals`` of its longest usual pauses, nor for ``min_s``.

    ``level_shift`` ends an episode that has been open for ``after_s``, with ``points`` anomalous values or more, which
    keep within a quarter of their distance from the expected value on average: that is the new level, and the learner
    is told. Eight hours, so that an incident of six does not become normal. ``stuck`` opens an episode when the value
    of a series that has changed 200 times stays the same for ``runs`` of its longest usual runs, for ``min_s`` and for
    ``points`` samples at least; its next change closes it.

    ``variance`` opens an episode when the mean deviation of the last rows has been ``ratio`` times the usual one for
    ``points`` rows, on both sides of the expected value; it ends what is open as a spike or dip, and closes when the
    deviations have been below 0.6 of that for as many rows. None switches any of the three off.

    ``drift`` looks for changes of the mean deviation by ADWIN at significance ``delta``; it is off by default, since it
    keeps 1.3 kB per series. Where one was found since an episode began, ``level_shift`` judges it after a quarter of
    ``after_s``; where none is open, a level that has moved inside the band is told, if it has settled by then.

    Severity follows the score of the peak. With the learners' scale of 100 d / (1 + d) for a deviation d, 75 is three
    times the distance to the band's edge and 90 is nine times.
    """

    name: str
    matchers: tuple[Matcher, ...] = ()
    _: KW_ONLY
    model: str = "auto"
    direction: Direction = "both"
    deviation_min: float = 1.0
    abs_min: float = 0.0
    rel_min: float = 0.0
    volume_min: float = 0.0
    open_points: int = 2
    open_window: int = 3
    close_points: int = 9
    close_window: int = 10
    cooldown_s: float = 600.0
    flap_crossings: int = 6
    flap_window: int = 48
    update_interval_s: float = 300.0
    severity_error_score: float = 75.0
    severity_critical_score: float = 90.0
    silence_close_s: float = 3600.0
    no_data: NoData | None = None
    novelty_min: float | None = None
    level_shift: LevelShift | None = LevelShift()
    stuck: Stuck | None = Stuck()
    variance: Variance | None = Variance()
    drift: Drift | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a policy needs a name")
        if self.direction not in DIRECTIONS:
            raise self._fault("direction", self.direction, "one of up, down, both")
        if not (math.isfinite(self.deviation_min) and self.deviation_min > 0):
            raise self._fault("deviation_min", self.deviation_min, "a number above 0")
        for field in ("abs_min", "rel_min", "volume_min"):
            self._check_range(field, 0.0, math.inf)
        for field in ("cooldown_s", "update_interval_s", "silence_close_s"):
            self._check_range(field, 0.0, DURATION_MAX_S)
        self._check_range("open_window", 1, OPEN_WINDOW_MAX)
        self._check_range("open_points", 1, self.open_window)
        self._check_range("close_window", 1, HISTORY_ROWS)
        self._check_range("close_points", 1, self.close_window)
        self._check_range("flap_window", 2, HISTORY_ROWS)
        self._check_range("flap_crossings", 2, HISTORY_ROWS)
        self._check_range("severity_error_score", 0.0, 100.0)
        self._check_range("severity_critical_score", self.severity_error_score, 100.0)
        if self.novelty_min is not None and not (math.isfinite(self.novelty_min) and self.novelty_min > 0):
            raise self._fault("novelty_min", self.novelty_min, "a number above 0")
        self._check_kinds()

    def _check_kinds(self) -> None:
        if self.level_shift is not None:
            self._check_range("level_shift.after_s", 1.0, SHIFT_AFTER_MAX_S, self.level_shift.after_s)
            self._check_range("level_shift.points", 2, INTERVALS_MAX, self.level_shift.points)
        if self.stuck is not None:
            self._check_range("stuck.runs", 1.0, INTERVALS_MAX, self.stuck.runs)
            self._check_range("stuck.min_s", 0.0, DURATION_MAX_S, self.stuck.min_s)
            self._check_range("stuck.points", 2, INTERVALS_MAX, self.stuck.points)
            if self.stuck.severity not in SEVERITIES:
                raise self._fault("stuck.severity", self.stuck.severity, "one of warning, error, critical")
        if self.drift is not None:
            self._check_range("drift.delta", DRIFT_DELTA_MIN, DRIFT_DELTA_MAX, self.drift.delta)
        if self.variance is not None:
            self._check_range("variance.ratio", 1.2, RATIO_MAX, self.variance.ratio)
            self._check_range("variance.points", 2, INTERVALS_MAX, self.variance.points)
            if self.variance.severity not in SEVERITIES:
                raise self._fault("variance.severity", self.variance.severity, "one of warning, error, critical")
        if self.no_data is not None:
            self._check_range("no_data.intervals", 1.0, INTERVALS_MAX, self.no_data.intervals)
            self._check_range("no_data.min_s", 0.0, DURATION_MAX_S, self.no_data.min_s)
            if self.no_data.severity not in SEVERITIES:
                raise self._fault("no_data.severity", self.no_data.severity, "one of warning, error, critical")

    def matches(self, identity: SeriesIdentity) -> bool:
        """Whether every matcher holds; without matchers, always."""
        return all(matcher.matches(identity) for matcher in self.matchers)

    def _check_range(self, field: str, smallest: float, largest: float, value: float | None = None) -> None:
        value = getattr(self, field) if value is None else value
        if not smallest <= value <= largest or math.isinf(value):
            wanted = f"{smallest:g} or more" if math.isinf(largest) else f"between {smallest:g} and {largest:g}"
            raise self._fault(field, value, wanted)

    def _fault(self, field: str, value: object, wanted: str) -> UsageError:
        return UsageError(f"policy {self.name!r}: {field} must be {wanted}, not {value!r}")


DEFAULT_POLICY: Final = Policy(name="default")
"""What applies where no other policy does."""


class PolicyBook(Book[Policy]):
    """The policies of metric series; :data:`DEFAULT_POLICY` is the default where none is given."""

    def __init__(self, policies: Sequence[Policy] = ()) -> None:
        super().__init__(policies, DEFAULT_POLICY)
