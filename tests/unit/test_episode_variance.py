"""``metric.variance``: a scatter that lasts is one episode, told apart from levels, outliers and swings."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import EndReason, FloatArray, Transition
from detector.encoders.examples import CALMED, IDENTITY, SCATTERED
from detector.encoders.wording import direction_of, reasons_for, summarise
from detector.episodes import LevelShift, Policy, Variance
from detector.errors import UsageError
from tests.unit.episodes_feed import MINUTE_MS, START_MS, Row, facts, feed, judge_minutes, minutes, new_judge
from tests.unit.test_encoders import BARE
from tests.unit.test_episode_kinds import nowhere

CALM = 1_440
SIGMA = 0.2
"""Of what a learner calls usual; a band is about four of it."""


def scatter(factor: float, rows: int = 120, *, seed: int = 1, after: int = 300) -> FloatArray:
    """A day of noise, then noise of ``factor`` times its size for ``rows`` rows, then noise as before."""
    values = np.random.default_rng(seed).normal(0.0, SIGMA, CALM + rows + after)
    values[CALM : CALM + rows] *= factor
    return values


def kinds(transitions: Sequence[Transition]) -> list[tuple[str, str, EndReason | None]]:
    """Kind, state and reason of what is no update."""
    return [(it.kind, it.state, it.end_reason) for it in transitions if it.state != "updated"]


class TestOpening:
    @pytest.mark.parametrize("factor", [4.0, 6.0])
    @pytest.mark.parametrize("seed", range(10))
    def test_says_a_scatter_once_and_closes_when_it_is_over(self, factor: float, seed: int) -> None:
        told = [it for it in judge_minutes(scatter(factor, seed=seed)) if it.kind == "metric.variance"]
        assert [(it.state, it.end_reason) for it in told] == [("opened", None), ("closed", "recovered")]
        opened, closed = told
        assert START_MS + CALM * MINUTE_MS <= opened.started_ms <= START_MS + (CALM + 30) * MINUTE_MS
        assert opened.time_ms <= START_MS + (CALM + 90) * MINUTE_MS
        assert opened.usual_spread == pytest.approx(0.16, rel=0.35)
        assert opened.spread >= 2.2 * opened.usual_spread
        assert closed.ended_ms is not None
        assert (CALM + 100) * MINUTE_MS <= closed.ended_ms - START_MS <= (CALM + 180) * MINUTE_MS
        assert closed.points - closed.anomalous_points == 30
        assert closed.peak_spread >= opened.spread

    @pytest.mark.parametrize("seed", range(5))
    def test_noise_as_ever_is_none(self, seed: int) -> None:
        assert all(it.kind != "metric.variance" for it in judge_minutes(scatter(1.0, 2_000, seed=seed)))

    def test_a_level_is_none(self) -> None:
        values = scatter(1.0)
        values[CALM : CALM + 120] += 1.5
        assert all(it.kind != "metric.variance" for it in judge_minutes(values))

    def test_a_lone_outlier_is_none(self) -> None:
        values = scatter(1.0)
        values[CALM], values[CALM + 1] = 50.0, -50.0
        assert all(it.kind != "metric.variance" for it in judge_minutes(values))

    def test_a_scatter_far_inside_the_band_is_no_matter(self) -> None:
        assert judge_minutes(0.1 * scatter(6.0)) == []

    def test_nothing_is_judged_before_a_series_is_known(self) -> None:
        assert all(it.kind != "metric.variance" for it in judge_minutes(scatter(6.0, 60)[CALM - 200 : CALM + 60]))

    def test_without_an_expected_value_there_are_no_sides(self) -> None:
        rows = [row._replace(expected=float("nan")) for row in minutes(scatter(6.0))]
        assert all(it.kind != "metric.variance" for it in feed(new_judge(), rows))

    def test_can_be_switched_off(self) -> None:
        told = judge_minutes(scatter(4.0), Policy("off", variance=None))
        assert all(it.kind != "metric.variance" and it.end_reason != "superseded" for it in told)

    def test_a_series_that_was_constant_may_begin_to_move(self) -> None:
        assert judge_minutes([0.0] * CALM + [0.1, -0.1] * 60) == []


class TestOneCauseOneEpisode:
    def test_ends_the_spike_or_dip_that_its_first_rows_opened(self) -> None:
        values = scatter(10.0)
        values[CALM : CALM + 3] = 1.4, 1.3, -1.2
        told = kinds(judge_minutes(values, Policy("p")))
        assert told[0] == ("metric.spike", "opened", None)
        assert [it for it in told if it[0] == "metric.variance"] == [
            ("metric.variance", "opened", None),
            ("metric.variance", "closed", "recovered"),
        ]
        assert ("metric.spike", "closed", "superseded") in told

    def test_begins_with_what_it_ends(self) -> None:
        values = scatter(10.0)
        values[CALM : CALM + 3] = 1.4, 1.3, -1.2
        told = judge_minutes(values, Policy("p"))
        (variance,) = (it for it in told if it.kind == "metric.variance" and it.state == "opened")
        ended = [it for it in told if it.end_reason == "superseded"]
        assert variance.started_ms == min(it.started_ms for it in ended)
        assert {it.row for it in ended} == {variance.row}

    def test_while_it_is_open_its_rows_open_nothing_else(self) -> None:
        told = judge_minutes(scatter(10.0, 600), Policy("p"))
        (begin,) = (it.time_ms for it in told if it.kind == "metric.variance" and it.state == "opened")
        (end,) = (it.time_ms for it in told if it.kind == "metric.variance" and it.state == "closed")
        late = [it for it in told if it.state == "opened" and begin + 20 * MINUTE_MS < it.time_ms <= end]
        assert late == []

    def test_what_stands_out_from_it_opens_beside_it(self) -> None:
        values = scatter(4.0)
        values[CALM + 90 : CALM + 93] = 30.0
        told = judge_minutes(values, Policy("p"))
        assert [it.time_ms for it in told if it.kind == "metric.spike" and it.peak_deviation == 30.0]

    def test_a_swing_over_both_edges_opens_on_one_side(self) -> None:
        values = scatter(1.0)
        values[CALM : CALM + 12 : 2], values[CALM + 1 : CALM + 12 : 2] = 1.5, -1.5
        told = [it for it in judge_minutes(values, Policy("p")) if it.state == "opened"]
        assert [it.kind for it in told] == ["metric.spike"]

    def test_goes_on_for_days_until_it_is_usual(self) -> None:
        told = [it for it in judge_minutes(scatter(4.0, 5_000)) if it.kind == "metric.variance"]
        assert [(it.state, it.end_reason) for it in told] == [("opened", None), ("closed", "accepted")]
        assert told[1].time_ms - told[0].time_ms > 86_400_000


class TestEnds:
    def test_without_samples_closes_by_silence(self) -> None:
        rows = minutes(scatter(6.0)[: CALM + 100])
        others = [Row(rows[-1].time_ms + index * MINUTE_MS, 0.0, 0.0, slot=1) for index in range(100)]
        judge = new_judge(slots=2)
        told = [it for it in feed(judge, [*rows, *others]) if it.kind == "metric.variance"]
        assert [(it.state, it.end_reason) for it in told] == [("opened", None), ("closed", "silent")]
        assert judge.open_count() == 0

    @pytest.mark.parametrize("reason", ["evicted", "expired"])
    def test_ends_with_its_series(self, reason: str) -> None:
        judge = new_judge()
        rows = minutes(scatter(6.0)[: CALM + 100])
        feed(judge, rows)
        assert judge.open_count() >= 1
        told = judge.evict(np.array([0]), 0, rows[-1].time_ms, "evicted" if reason == "evicted" else "expired")
        assert ("metric.variance", reason) in [(it.kind, it.end_reason) for it in told]
        assert judge.open_count() == 0

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(cuts=st.lists(st.integers(1, CALM + 419), max_size=4, unique=True), factor=st.sampled_from([4.0, 10.0]))
    def test_any_cut_tells_the_same_in_every_bit(self, cuts: list[int], factor: float) -> None:
        rows = minutes(scatter(factor))
        whole = [facts(it) for it in feed(new_judge(Policy("p")), rows)]
        judge, told = new_judge(Policy("p")), []
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(rows)], strict=True):
            told += [facts(it) for it in feed(judge, rows[start:stop], start)]
        assert told == whole

    def test_a_level_shift_may_follow(self) -> None:
        values = scatter(6.0, 60, after=400)
        values[CALM + 60 :] += 5.0
        policy = Policy("p", level_shift=LevelShift(after_s=3_600.0))
        ends = kinds(judge_minutes(values, policy))
        assert ("metric.level_shift", "opened", None) in ends


class TestWords:
    def test_name_the_ratio_the_sides_and_both_means(self) -> None:
        text = summarise(SCATTERED, IDENTITY, nowhere())
        assert "scatters 3 times as far as usual around the expected 0.3 s, on both sides" in text
        assert "mean deviation 0.75, usually 0.25; 30 points since 2026-11-22 00:02:00Z" in text
        assert direction_of(SCATTERED) is None

    def test_have_one_reason_of_all_the_weight(self) -> None:
        assert [(reason.code, reason.weight) for reason in reasons_for(SCATTERED)] == [("scattered", 1.0)]

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("recovered", "scatters as usual again around the expected 0.3 s after 1 h 30 min; at most 3.5 times"),
            ("accepted", "that is usual for it now"),
            ("silent", "had not calmed down when it fell silent"),
            ("expired", "had not calmed down when it was forgotten"),
            ("evicted", "had not calmed down when the detector stopped following it"),
        ],
    )
    def test_say_why_it_ended(self, reason: EndReason, words: str) -> None:
        assert words in summarise(replace(CALMED, end_reason=reason), IDENTITY, nowhere())

    def test_of_a_superseded_spike_say_what_it_is(self) -> None:
        values = scatter(10.0)
        values[CALM : CALM + 3] = 1.4, 1.3, -1.2
        ended = next(it for it in judge_minutes(values, Policy("p")) if it.end_reason == "superseded")
        assert "leaves its band on both sides" in summarise(ended, BARE, nowhere())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (Variance(ratio=1.1), "variance.ratio"),
        (Variance(ratio=6.1), "variance.ratio"),
        (Variance(points=1), "variance.points"),
        (Variance(severity="bad"), "variance.severity"),  # type: ignore[arg-type] # on purpose
    ],
)
def test_values_that_make_no_sense_are_named(values: Variance, field: str) -> None:
    with pytest.raises(UsageError, match=field):
        Policy("bad", variance=values)
