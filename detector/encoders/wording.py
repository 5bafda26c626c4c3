"""The words of an event: numbers, times, the summary sentence and the reasons."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from detector.batches import EpisodeKind, SeriesIdentity, Transition
from detector.encoders.event import EventDirection, Reason, ReasonCode, Topology

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIME_MIN_MS: Final = -62_135_596_800_000
"""0001-01-01, the first day that RFC 3339 and the calendar know."""
TIME_MAX_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""

PLAIN_EXPONENT_MIN: Final = -4
PLAIN_EXPONENT_MAX: Final = 9
"""Between these powers of ten a number is written out; beyond, in scientific notation."""

LABELS_NAMED_MAX: Final = 3
"""Labels named in a summary where no service, host or namespace is known."""

WEIGHT_DIGITS: Final = 4

WITHOUT_PEAK: Final[frozenset[EpisodeKind]] = frozenset({"metric.no_data", "metric.stuck", "metric.variance"})
"""Kinds that follow no single scores, and have no direction."""


def rfc3339(time_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC; clamped to the years 1 to 9999.

    >>> rfc3339(1_795_305_720_000)
    '2026-11-22T00:02:00.000Z'
    """
    time = EPOCH + timedelta(milliseconds=min(max(time_ms, TIME_MIN_MS), TIME_MAX_MS))
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z".rjust(24, "0")


def number(value: float) -> str:
    """A number with three significant digits, whole part in full.

    >>> number(1.8449), number(0.31), number(12345.6), number(3e-7)
    ('1.84', '0.31', '12346', '3e-07')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    exponent = int(f"{value:.2e}".partition("e")[2])
    if not PLAIN_EXPONENT_MIN <= exponent <= PLAIN_EXPONENT_MAX:
        return f"{value:.3g}"
    text = f"{value:.{max(0, 2 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(length_ms: int) -> str:
    """A length of time in its two largest units.

    >>> duration(45_000), duration(14 * 60_000), duration(93_780_000)
    ('45 s', '14 min', '1 d 2 h')
    """
    seconds = max(length_ms, 0) // 1000
    if seconds == 0:
        return f"{max(length_ms, 0)} ms"
    parts = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    first = next(index for index, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def subject_of(identity: SeriesIdentity, topology: Topology) -> str:
    """The series as an operator calls it: the metric, and the service, host or namespace; else its first labels."""
    owner = topology.service or topology.host or topology.namespace
    if owner is not None:
        return f"{identity.name} of {owner}"
    labels = ", ".join(f"{name}={identity.labels[name]}" for name in sorted(identity.labels)[:LABELS_NAMED_MAX])
    return f"{identity.name}{{{labels}}}" if labels else identity.name


def summarise(transition: Transition, identity: SeriesIdentity, topology: Topology) -> str:
    """The transition as one sentence for the person on call: how bad, what is normal, since when."""
    subject = subject_of(identity, topology)
    unit = f" {identity.unit}" if identity.unit else ""
    words = WORDS_WITHOUT_LANE.get(transition.kind)
    if words is not None:
        return f"{subject} {words(transition, unit)}"
    share = f"{transition.anomalous_points} of {transition.points} points anomalous"
    started = moment(transition.started_ms)
    if transition.state == "closed":
        return f"{subject} {_ending(transition, unit)}; {_peak(transition, unit)}; {share} since {started}"
    observed = f"{subject} is {number(transition.observed)}{unit}"
    flapping = ", flapping between normal and anomalous" if transition.flapping else ""
    band = _band(transition, unit)
    if transition.state == "opened" or is_outside(transition):
        distance = _distance(transition.deviation, transition.expected, transition, unit)
        return f"{observed}, {distance}{band}{flapping}, since {started}; {share}"
    inside = f"{observed}, inside its band for the moment{band}{flapping}"
    return f"{inside}; {_peak(transition, unit)}; {share} since {started}"


def level_before(transition: Transition) -> float:
    """What a new level is told against: the one before it where that is known, else what was expected."""
    return transition.expected if math.isnan(transition.old_level) else transition.old_level


def direction_of(transition: Transition) -> EventDirection | None:
    """Up for a spike and a higher level, down for a dip and a lower one; others have none."""
    if transition.kind in WITHOUT_PEAK:
        return None
    if transition.kind == "metric.level_shift":
        return "up" if transition.new_level > level_before(transition) else "down"
    return "up" if transition.kind == "metric.spike" else "down"


def is_outside(transition: Transition) -> bool:
    """Whether the sample of the transition is itself beyond the band, on the side of the episode."""
    if not transition.deviation >= 1.0:
        return False
    return math.isnan(transition.expected) or (transition.observed > transition.expected) == (
        direction_of(transition) == "up"
    )


def is_silent(transition: Transition) -> bool:
    """Whether the transition is about a silence, or came of one."""
    return transition.kind == "metric.no_data" or transition.end_reason in {"silent", "expired"}


def _absence(transition: Transition, unit: str) -> str:
    lasted = duration(transition.time_ms - transition.last_sample_ms)
    before = f"{_last_value(transition, unit)} at {moment(transition.last_sample_ms)}"
    usual = f"usually at most {duration(_rounded(transition.gap_ms))} apart"
    if transition.state != "closed":
        return f"has sent nothing for {lasted} ({usual}), {before}"
    if transition.end_reason == "resumed":
        return f"sends again: {number(transition.observed)}{unit} after {lasted} without data; {before}"
    return f"had not sent again when the detector stopped following it; {before}"


def _standstill(transition: Transition, unit: str) -> str:
    usual = f"usually at most {duration(_rounded(transition.usual_run_ms))}"
    lasted = duration(transition.time_ms - transition.started_ms)
    value = f"{_last_value(transition, unit)}, {transition.points} equal samples since {moment(transition.started_ms)}"
    if transition.state != "closed":
        return f"has not changed for {lasted} ({usual}); {value}"
    if transition.end_reason == "recovered":
        return f"moves again: {number(transition.observed)}{unit} after {lasted} without a change"
    return f"had not changed again when {_departure(transition)}; {value}"


def _scatter(transition: Transition, unit: str) -> str:
    ratio = number(transition.spread / transition.usual_spread)
    around = "" if math.isnan(transition.expected) else f" around the expected {number(transition.expected)}{unit}"
    since = moment(transition.started_ms)
    if transition.state == "opened":
        mean, usual = number(transition.spread), number(transition.usual_spread)
        share = f"mean deviation {mean}, usually {usual}; {transition.points} points since {since}"
        return f"scatters {ratio} times as far as usual{around}, on both sides{_band(transition, unit)}: {share}"
    assert transition.ended_ms is not None, "a closed episode has an end"
    largest = f"at most {number(transition.peak_spread / transition.usual_spread)} times as far as usual since {since}"
    lasted = duration(transition.ended_ms - transition.started_ms)
    if transition.end_reason == "recovered":
        return f"scatters as usual again{around} after {lasted}; {largest}"
    if transition.end_reason == "accepted":
        return f"has scattered {ratio} times as far as it used to for {lasted}: that is usual for it now; {largest}"
    return f"had not calmed down when {_departure(transition)}; {largest}"


def _departure(transition: Transition) -> str:
    if transition.end_reason == "silent":
        return "it fell silent"
    return "it was forgotten" if transition.end_reason == "expired" else "the detector stopped following it"


def _new_level(transition: Transition, unit: str) -> str:
    level = f"{number(transition.new_level)}{unit}"
    if transition.state == "closed":
        return f"is taken as normal at {level} from here on"
    side = "up" if direction_of(transition) == "up" else "down"
    lasted = duration(transition.time_ms - transition.started_ms)
    if not math.isnan(transition.old_level):
        return (
            f"has moved {side} to a new level of {level} inside its band, from {number(transition.old_level)}{unit}; "
            f"steady for {lasted}, since {moment(transition.started_ms)}"
        )
    share = f"{transition.anomalous_points} of {transition.points} points anomalous"
    return (
        f"has moved {side} to a new level of {level}, where {number(transition.expected)}{unit} was expected; "
        f"steady for {lasted}, since {moment(transition.started_ms)}; {share}"
    )


WORDS_WITHOUT_LANE: Final[Mapping[EpisodeKind, Callable[[Transition, str], str]]] = {
    "metric.no_data": _absence,
    "metric.stuck": _standstill,
    "metric.level_shift": _new_level,
    "metric.variance": _scatter,
}
"""What kinds other than spike and dip say after their subject, in the unit of the series."""


def _last_value(transition: Transition, unit: str) -> str:
    values = transition.recent_values
    return f"last value {number(float(values[-1]))}{unit}" if len(values) else "no last value"


def _rounded(length_ms: float) -> int:
    return round(length_ms) if math.isfinite(length_ms) else 0


def _ending(transition: Transition, unit: str) -> str:
    assert transition.ended_ms is not None, "a closed episode has an end"
    if is_silent(transition):
        silent = duration(transition.time_ms - transition.last_sample_ms)
        end = "fell silent" if transition.end_reason == "silent" else "was forgotten"
        return f"had not recovered when it {end} ({_last_value(transition, unit)}, nothing for {silent})"
    observed = f"{number(transition.observed)}{unit}"
    if transition.end_reason == "evicted":
        return f"had not recovered when the detector stopped following it (last value {observed})"
    lasted = duration(transition.ended_ms - transition.started_ms)
    if transition.end_reason == "superseded":
        return f"leaves its band on both sides, now at {observed}, after {lasted}: its values scatter"
    if transition.end_reason == "accepted":
        return f"has stayed outside of its band, now at {observed}, for {lasted}: that is its new level"
    return f"is back to normal at {observed}{_band(transition, unit)} after {lasted}"


def _peak(transition: Transition, unit: str) -> str:
    distance = _distance(transition.peak_deviation, transition.peak_expected, transition, unit)
    at = moment(transition.peak_time_ms)
    return f"peak {number(transition.peak_observed)}{unit}, {distance}, at {at}"


def _distance(deviation: float, expected: float, transition: Transition, unit: str) -> str:
    if math.isnan(expected):
        return f"{number(deviation)} times the edge of its normal band"
    side = "above" if transition.kind == "metric.spike" else "below"
    return f"{number(deviation)} times its band {side} the expected {number(expected)}{unit}"


def _band(transition: Transition, unit: str) -> str:
    if math.isnan(transition.lower) or math.isnan(transition.upper):
        return ""
    return f" (normal {number(transition.lower)} to {number(transition.upper)}{unit})"


def moment(time_ms: int) -> str:
    """A time to the second, for a sentence."""
    text = rfc3339(time_ms)
    return f"{text[:10]} {text[11:19]}Z"


def reasons_for(transition: Transition) -> list[Reason]:
    """Why this is an episode: distance from the band, share of anomalous points, novelty; the heaviest first.

    Each strength lies between 0 and 1: d / (1 + d) of the peak's deviation d, the share of points, and n / (1 + n) of
    the largest novelty n, where the learner has one. Weights are strengths divided by their sum, in four digits; the
    heaviest takes what rounding leaves, so that they sum to 1. Silence, standstill, a scatter and a settled level are
    reasons by themselves.
    """
    if transition.kind == "metric.stuck":
        lasted = duration(transition.time_ms - transition.started_ms)
        usual = f"usually at most {duration(_rounded(transition.usual_run_ms))}"
        return [Reason("unchanged", 1.0, f"{transition.points} equal samples over {lasted}; {usual}")]
    if transition.kind == "metric.level_shift":
        lasted = duration(transition.time_ms - transition.started_ms)
        text = f"values have settled near {number(transition.new_level)} and stayed there for {lasted}"
        return [Reason("settled", 1.0, text)]
    if transition.kind == "metric.variance":
        mean, usual = number(transition.spread), number(transition.usual_spread)
        text = f"mean deviation {mean} over the last samples, usually {usual}, on both sides of what is expected"
        return [Reason("scattered", 1.0, text)]
    if transition.kind == "metric.no_data":
        text = f"no sample for {duration(transition.time_ms - transition.last_sample_ms)}"
        return [Reason("silent", 1.0, f"{text}; usually at most {duration(_rounded(transition.gap_ms))} apart")]
    strengths: list[tuple[float, ReasonCode, str]] = [
        (_saturate(transition.peak_deviation), _band_code(transition), _band_text(transition)),
        (
            transition.anomalous_points / transition.points,
            "sustained",
            f"{transition.anomalous_points} of {transition.points} points since the start are anomalous",
        ),
    ]
    novelty = transition.novelty if math.isnan(transition.peak_novelty) else transition.peak_novelty
    if novelty > 0:
        text = f"novelty {number(novelty)}: unlike anything this series has shown"
        strengths.append((_saturate(novelty), "novel", text))
    strengths.sort(key=lambda strength: -strength[0])
    weights = weights_of([strength for strength, _, _ in strengths])
    reasons = [Reason(code, weight, text) for weight, (_, code, text) in zip(weights, strengths, strict=True)]
    return sorted(reasons, key=lambda reason: -reason.weight)


def weights_of(strengths: Sequence[float]) -> list[float]:
    """Strengths, the largest first, as shares in four digits that sum to 1: the first takes what rounding leaves."""
    total = sum(strengths)
    weights = [round(strength / total, WEIGHT_DIGITS) for strength in strengths]
    weights[0] = round(1.0 - sum(weights[1:]), WEIGHT_DIGITS)
    return weights


def _saturate(strength: float) -> float:
    return strength / (1.0 + strength) if math.isfinite(strength) else 1.0


def _band_code(transition: Transition) -> ReasonCode:
    if math.isnan(transition.peak_expected):
        return "outside_band"
    return "above_band" if transition.kind == "metric.spike" else "below_band"


def _band_text(transition: Transition) -> str:
    times = number(transition.peak_deviation)
    return f"peak {number(transition.peak_observed)} is {times} times as far from the expected value as the band's edge"
