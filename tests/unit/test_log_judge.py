"""Episodes of log lines: when they open, of which kind, how bad, and how they end."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, Final, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import SeriesIdentity
from detector.episodes import DEFAULT_LOG_POLICY, LogJudge, LogPolicy, LogPolicyBook, parse_matchers
from detector.errors import SnapshotRefusedError, UsageError
from detector.log_batches import (
    LOG_KINDS,
    SIGNALS,
    LogKind,
    LogSample,
    LogTemplate,
    LogTransition,
    TemplateFinding,
    WindowFindings,
)
from tests.log_findings import MINUTE_MS, START_MS, describe, findings, template

PLAIN = LogPolicy("plain", cooldown_s=0.0)


def new_judge(*policies: LogPolicy, slots: int = 1) -> LogJudge:
    judge = LogJudge(policies or (PLAIN,))
    for slot in range(slots):
        judge.open_slot(slot, 0)
    return judge


def feed(judge: LogJudge, windows: Iterable[WindowFindings], row: int = 0) -> list[LogTransition]:
    return [each for at, found in enumerate(windows) for each in judge.judge(row + at, found, MINUTE_MS, describe)]


def quiet(*minutes: int) -> list[WindowFindings]:
    return [findings(minute) for minute in minutes]


def steps(transitions: Iterable[LogTransition]) -> list[str]:
    return [f"{each.state} {each.kind.removeprefix('log.')}" for each in transitions]


class TestOpening:
    def test_one_signal_far_out_opens(self) -> None:
        judge = new_judge()
        assert feed(judge, [findings(0, count_up=7.9, combined=5.9)]) == []
        (opened,) = feed(judge, [findings(2, template(7, 900, 300.0, up=8.0), count_up=8.0)], row=5)
        assert (opened.state, opened.kind, opened.sequence, opened.row) == ("opened", "log.surge", 1, 5)
        assert (opened.evidence, opened.peak_evidence) == (8.0, 8.0)
        assert (opened.started_ms, opened.time_ms) == (START_MS + 2 * MINUTE_MS, START_MS + 3 * MINUTE_MS)
        assert opened.detected_ms == opened.time_ms
        assert (opened.ended_ms, opened.end_reason) == (None, None)
        assert (opened.windows, opened.anomalous_windows) == (1, 1)
        assert judge.open_count() == 1

    def test_all_signals_together_open_as_the_kind_of_the_strongest(self) -> None:
        weak: Any = {"severity": 3.5, "mix": 3.0, "count_up": 3.0}
        assert feed(new_judge(), [findings(0, combined=5.9, **weak)]) == []
        (opened,) = feed(new_judge(), [findings(0, combined=6.0, **weak)])
        assert (opened.kind, opened.evidence) == ("log.severity_surge", 6.0)

    def test_two_windows_running_open_at_less_and_begin_with_the_first(self) -> None:
        judge = new_judge()
        assert feed(judge, [findings(0, mix=4.0), findings(1), findings(2, mix=4.5)]) == []
        (opened,) = feed(judge, [findings(3, mix=4.0)])
        assert (opened.kind, opened.started_ms) == ("log.mix_shift", START_MS + 2 * MINUTE_MS)
        assert (opened.windows, opened.anomalous_windows) == (2, 2)

    def test_windows_with_a_gap_between_them_are_not_running(self) -> None:
        assert feed(new_judge(), [findings(0, mix=4.5), findings(2, mix=4.5)]) == []

    def test_windows_that_say_little_each_open_when_they_are_as_rare_together(self) -> None:
        weak = [findings(minute, severity=digits) for minute, digits in enumerate((3.7, 2.6, 2.5, 2.3))]
        (opened,) = feed(new_judge(), weak)
        assert (opened.kind, opened.windows, opened.detected_ms) == (
            "log.severity_surge",
            4,
            START_MS + 4 * MINUTE_MS,
        )
        assert not feed(new_judge(), [*weak[:2], findings(2, severity=0.5), *weak[3:]])
        assert not feed(new_judge(), [findings(minute, mix=1.5) for minute in range(30)])

    def test_an_episode_goes_on_while_its_windows_are_rare_together(self) -> None:
        weak = [findings(minute, severity=3.0) for minute in range(20)]
        (opened, *_, last) = feed(new_judge(), weak)
        assert (opened.state, last.state) == ("opened", "updated")
        assert feed(new_judge(), [*weak, *quiet(20, 21, 22)])[-1].ended_ms == START_MS + 20 * MINUTE_MS

    def test_different_signals_run_together(self) -> None:
        (opened,) = feed(new_judge(), [findings(0, count_up=4.5), findings(1, new=4.2)])
        assert opened.kind == "log.new_template"

    def test_counts_far_off_are_a_busy_or_quiet_hour_where_as_many_lines_came_just_before(self) -> None:
        for up, down in ((20.0, 0.0), (0.0, 20.0)):
            drift = [
                findings(minute, lines=280, before=200, combined=19.0, count_up=up, count_down=down)
                for minute in range(10)
            ]
            assert feed(new_judge(), drift) == []
            assert feed(new_judge(), [findings(0, lines=310, before=200, count_up=up, count_down=down)])
        mixed = feed(new_judge(), [findings(0, lines=280, before=200, count_up=20.0, mix=9.0)])
        assert [each.kind for each in mixed] == ["log.mix_shift"]

    def test_a_surge_that_is_open_goes_on_while_its_lines_do(self) -> None:
        found = [findings(0, count_up=20.0), *(findings(at, count_up=20.0, before=200) for at in range(1, 20))]
        assert set(steps(feed(new_judge(), found))) == {"opened surge", "updated surge"}

    def test_a_service_that_is_not_ready_opens_nothing(self) -> None:
        judge = new_judge()
        assert feed(judge, [findings(minute, new=50.0, ready=False) for minute in range(10)]) == []
        assert steps(feed(judge, [findings(10, new=4.5)])) == []

    def test_few_lines_open_nothing_where_the_policy_says_so(self) -> None:
        policy = replace(PLAIN, lines_min=50.0)
        assert feed(new_judge(policy), [findings(0, new=20.0, lines=49, expected_lines=3.0)]) == []
        for lines, expected in ((50, 0.0), (0, 50.0)):
            assert feed(new_judge(policy), [findings(0, new=20.0, lines=lines, expected_lines=expected)])

    @pytest.mark.parametrize(
        ("signal", "kind"),
        [
            ("count_up", "log.surge"),
            ("share_up", "log.surge"),
            ("count_down", "log.vanished"),
            ("share_down", "log.vanished"),
            ("mix", "log.mix_shift"),
            ("severity", "log.severity_surge"),
            ("rare", "log.new_template"),
            ("new", "log.new_template"),
            ("format_change", "log.format_change"),
        ],
    )
    def test_every_signal_has_its_kind(self, signal: str, kind: str) -> None:
        values: Any = {signal: 9.0}
        assert [each.kind for each in feed(new_judge(), [findings(0, **values)])] == [kind]

    def test_of_several_kinds_the_most_specific_opens_alone(self) -> None:
        everything: Any = {name: 20.0 for name in SIGNALS if name != "format_change"}
        assert steps(feed(new_judge(), [findings(0, **everything)])) == ["opened new_template"]

    def test_shares_go_the_way_of_the_counts(self) -> None:
        lost = findings(0, count_down=9.0, share_up=60.0, share_down=30.0)
        assert steps(feed(new_judge(), [lost, findings(1, count_down=9.0, share_up=60.0)])) == ["opened vanished"]
        judge = new_judge()
        assert steps(feed(judge, [findings(0, count_up=9.0, share_down=60.0)])) == ["opened surge"]
        assert [each.peak_evidence for each in judge.evict([0], 0, START_MS + MINUTE_MS)] == [60.0]

    def test_only_the_kinds_of_the_policy_open(self) -> None:
        policy = replace(PLAIN, kinds=("log.surge",))
        assert feed(new_judge(policy), [findings(0, severity=20.0)]) == []
        assert steps(feed(new_judge(policy), [findings(0, severity=20.0, count_up=9.0)])) == ["opened surge"]

    def test_what_it_shows_is_led_by_the_template_of_its_kind_and_has_so_many_lines(self) -> None:
        loud = template(1, 900, 400.0, up=6.0)
        gone = template(2, 0, 90.0, down=20.0)
        born = template(3, 12, new=True, severity=4)
        leaders = {"new": 3, "count_up": 1, "count_down": 2}
        for signal, leader in leaders.items():
            values: Any = {signal: 20.0}
            (opened,) = feed(new_judge(), [findings(0, loud, gone, born, **values)])
            assert opened.templates[0].finding.number == leader
            assert sorted(each.finding.number for each in opened.templates) == [1, 2, 3]
            assert [sample.number for sample in opened.samples[:2]] == [leader, leader]
            assert len(opened.samples) == 3
        assert feed(new_judge(replace(PLAIN, samples_max=0)), [findings(0, born, new=9.0)])[0].samples == ()


class TestOneCauseOneEpisode:
    def test_beside_an_open_episode_only_a_more_specific_kind_opens(self) -> None:
        judge = new_judge()
        assert steps(feed(judge, [findings(0, severity=9.0)])) == ["opened severity_surge"]
        assert feed(judge, [findings(1, severity=9.0, count_up=300.0, mix=50.0, count_down=50.0)]) == []
        assert steps(feed(judge, [findings(2, severity=9.0, new=7.9)])) == []
        assert steps(feed(judge, [findings(3, severity=9.0, new=8.0)])) == ["opened new_template"]
        assert judge.open_count() == 2

    def test_a_surge_and_a_loss_are_one_cause(self) -> None:
        judge = new_judge(replace(PLAIN, cooldown_s=600.0))
        assert steps(feed(judge, [findings(0, count_down=9.0)])) == ["opened vanished"]
        assert feed(judge, [findings(1, count_up=50.0, count_down=9.0)]) == []
        assert steps(feed(judge, quiet(2, 3, 4))) == ["closed vanished"]
        assert feed(judge, [findings(5, count_up=50.0)]) == []
        assert steps(feed(judge, [findings(6, severity=9.0)])) == ["opened severity_surge"]

    def test_all_signals_together_open_nothing_beside_an_open_episode(self) -> None:
        judge = new_judge()
        feed(judge, [findings(0, mix=9.0)])
        assert feed(judge, [findings(1, new=3.9, combined=9.0)]) == []

    def test_what_belongs_to_no_open_kind_holds_the_loudest_open_one(self) -> None:
        judge = new_judge()
        feed(judge, [findings(0, severity=9.0)])
        assert steps(feed(judge, [findings(minute, mix=5.0) for minute in range(1, 5)])) == []
        assert steps(feed(judge, quiet(5, 6, 7))) == ["closed severity_surge"]

    def test_after_a_close_only_a_more_specific_kind_opens_for_a_while(self) -> None:
        judge = new_judge(replace(PLAIN, cooldown_s=600.0))
        closed = feed(judge, [findings(0, severity=9.0), *quiet(1, 2, 3)])
        assert steps(closed) == ["opened severity_surge", "closed severity_surge"]
        assert feed(judge, [findings(4, severity=30.0, count_up=30.0)]) == []
        assert steps(feed(judge, [findings(5, new=9.0)])) == ["opened new_template"]

    def test_what_lasts_longer_than_the_cooldown_opens_after_it_with_its_whole_length(self) -> None:
        judge = new_judge(replace(PLAIN, cooldown_s=600.0))
        feed(judge, [findings(0, severity=9.0), *quiet(1, 2, 3)])
        again = feed(judge, [findings(minute, severity=9.0) for minute in range(5, 15)])
        assert steps(again) == ["opened severity_surge"]
        assert again[0].detected_ms == START_MS + 14 * MINUTE_MS
        assert (again[0].started_ms, again[0].windows) == (START_MS + 5 * MINUTE_MS, 9)
        assert again[0].episode_number == 2


REWORDED: Final[Any] = {"new": 40.0, "count_down": 60.0, "mix": 90.0, "share_up": 30.0, "share_down": 20.0, "rare": 9.0}


class TestNewWording:
    def test_many_new_and_vanished_templates_are_one_episode(self) -> None:
        windows = [findings(minute, format_change=12.0, **REWORDED) for minute in range(3)]
        windows += [findings(minute, count_down=60.0, mix=50.0) for minute in range(3, 10)]
        transitions = feed(new_judge(LogPolicy("default")), [*windows, *quiet(10, 11, 12), *quiet(*range(13, 40))])
        assert set(steps(transitions)) == {"opened format_change", "updated format_change", "closed format_change"}
        assert [each.state for each in transitions].count("opened") == 1
        assert transitions[-1].end_reason == "accepted"

    def test_a_weak_signal_of_it_takes_over_what_it_explains(self) -> None:
        opened = feed(new_judge(), [findings(0, format_change=4.0, **REWORDED)])
        assert steps(opened) == ["opened format_change"]
        assert opened[0].evidence == 90.0

    def test_it_ends_what_its_first_windows_opened_and_begins_with_that(self) -> None:
        judge = new_judge()
        assert steps(feed(judge, [findings(0, new=9.0)])) == ["opened new_template"]
        closed, opened = feed(judge, [findings(1), findings(5, format_change=9.0)])
        assert (closed.kind, closed.state, closed.end_reason) == ("log.new_template", "closed", "superseded")
        assert (opened.kind, opened.started_ms) == ("log.format_change", START_MS)
        assert closed.time_ms == opened.time_ms
        assert (opened.windows, opened.anomalous_windows) == (3, 2)
        assert judge.open_count() == 1

    def test_what_began_long_before_it_goes_on(self) -> None:
        judge = new_judge()
        feed(judge, [findings(minute, new=9.0) for minute in range(6)])
        assert steps(feed(judge, [findings(6, format_change=9.0)])) == ["opened format_change"]
        assert judge.open_count() == 2

    def test_more_lines_and_worse_lines_are_not_its_doing(self) -> None:
        judge = new_judge()
        feed(judge, [findings(0, severity=9.0)])
        assert steps(feed(judge, [findings(1, format_change=9.0)])) == ["opened format_change"]
        shares, counts = new_judge(), new_judge()
        feed(shares, [findings(0, share_up=9.0, count_up=3.0)])
        feed(counts, [findings(0, share_up=3.0, count_up=9.0)])
        assert len(feed(shares, [findings(1, format_change=9.0)])) == 2
        assert len(feed(counts, [findings(1, format_change=9.0)])) == 1

    def test_windows_after_it_that_it_explains_open_nothing_else(self) -> None:
        for later, kinds in ((5, ["opened format_change"]), (6, ["opened new_template"])):
            judge = new_judge()
            assert feed(judge, [findings(0, format_change=4.5, combined=4.0)]) == []
            assert steps(feed(judge, [findings(later, new=9.0)])) == kinds

    def test_where_its_kind_is_switched_off_it_opens_nothing(self) -> None:
        policy = replace(PLAIN, kinds=LOG_KINDS[1:])
        windows = [findings(minute, format_change=12.0, **REWORDED) for minute in range(3)]
        assert feed(new_judge(policy), windows) == []

    def test_a_deploy_that_breaks_something_is_told_after_it(self) -> None:
        judge = new_judge(replace(PLAIN, cooldown_s=600.0))
        feed(judge, [findings(0, format_change=9.0), *quiet(1, 2, 3)])
        assert feed(judge, [findings(4, new=50.0)]) == []
        assert steps(feed(judge, [findings(5, severity=9.0)])) == ["opened severity_surge"]

    def test_worse_lines_raise_its_severity_and_are_told_at_once(self) -> None:
        judge = new_judge()
        (opened,) = feed(judge, [findings(0, template(3, 90, new=True, severity=4), format_change=90.0)])
        assert opened.severity == "warning"
        worse = findings(1, severity=31.0, severities=(0, 0, 100, 0, 100, 0))
        (updated,) = feed(judge, [worse])
        assert (updated.state, updated.severity) == ("updated", "critical")


class TestSeverity:
    def opened(self, found: WindowFindings, policy: LogPolicy = PLAIN) -> str:
        return feed(new_judge(policy), [found])[0].severity

    @pytest.mark.parametrize(
        ("line_class", "at_9", "at_12", "at_30"),
        [
            (0, "warning", "error", "error"),
            (1, "warning", "warning", "warning"),
            (2, "warning", "warning", "warning"),
            (3, "warning", "error", "error"),
            (4, "error", "error", "critical"),
            (5, "error", "error", "critical"),
        ],
    )
    def test_lines_bound_what_evidence_says(self, line_class: int, at_9: str, at_12: str, at_30: str) -> None:
        lead = template(1, 42, new=True, severity=line_class)
        assert [self.opened(findings(0, lead, new=digits)) for digits in (9.0, 12.0, 30.0)] == [at_9, at_12, at_30]

    def test_missing_lines_of_any_class_may_be_an_error(self) -> None:
        gone = template(1, 0, 90.0, down=40.0, severity=2)
        assert self.opened(findings(0, gone, count_down=40.0)) == "error"
        assert self.opened(findings(0, gone, count_down=9.0)) == "warning"

    def test_a_surge_of_errors_is_as_bad_as_they_are(self) -> None:
        errors = (0, 0, 100, 0, 100, 0)
        assert self.opened(findings(0, severity=31.0, severities=errors)) == "critical"
        warnings = (0, 0, 100, 100, 0, 0)
        assert self.opened(findings(0, severity=31.0, severities=warnings)) == "error"

    def test_it_never_falls_and_a_rise_is_told_at_once(self) -> None:
        bad = template(1, 42, new=True, severity=4)
        windows = [findings(minute, bad, new=digits) for minute, digits in enumerate((9.0, 13.0, 9.0, 31.0, 9.0))]
        transitions = feed(new_judge(), windows)
        assert [(each.state, each.severity) for each in transitions] == [("opened", "error"), ("updated", "critical")]
        (closed,) = feed(new_judge(), [windows[3], *quiet(4, 5, 6)])[1:]
        assert closed.severity == "critical"


class TestLife:
    def test_it_is_told_again_after_the_interval_while_it_lasts(self) -> None:
        windows = [findings(minute, mix=9.0) for minute in range(11)]
        transitions = feed(new_judge(), windows)
        assert [(each.state, (each.time_ms - START_MS) // MINUTE_MS) for each in transitions] == [
            ("opened", 1),
            ("updated", 6),
            ("updated", 11),
        ]
        assert [each.sequence for each in transitions] == [1, 2, 3]
        assert len({each.episode_number for each in transitions}) == 1

    def test_it_closes_after_quiet_windows_and_ended_with_the_last_other(self) -> None:
        windows = [findings(0, mix=9.0), findings(1, mix=4.0), *quiet(2, 3), findings(4, mix=4.0), *quiet(5, 6, 7)]
        opened, closed = feed(new_judge(), windows)
        assert (closed.state, closed.end_reason, closed.sequence) == ("closed", "recovered", 2)
        assert (closed.ended_ms, closed.time_ms) == (START_MS + 5 * MINUTE_MS, START_MS + 8 * MINUTE_MS)
        assert (closed.windows, closed.anomalous_windows) == (8, 3)
        assert (closed.evidence, closed.peak_evidence, closed.peak_ms) == (0.0, 9.0, opened.started_ms)

    def test_it_shows_the_window_with_the_most_evidence(self) -> None:
        windows = [
            findings(0, template(1), mix=9.0),
            findings(1, template(2), mix=12.0),
            findings(2, template(3), mix=8.0),
        ]
        closed = feed(new_judge(), [*windows, *quiet(3, 4, 5)])[-1]
        assert (closed.peak_evidence, closed.peak_ms) == (12.0, START_MS + MINUTE_MS)
        assert closed.peak == windows[1]
        assert [each.finding.number for each in closed.templates] == [2]
        assert closed.samples[0].text == "template 2 0"
        assert closed.findings is not None
        assert closed.findings.window_ms == START_MS + 5 * MINUTE_MS

    def test_lines_are_fetched_where_it_opens_or_gets_worse_and_not_else(self) -> None:
        asked: list[int] = []

        def watched(found: WindowFindings) -> tuple[tuple[LogTemplate, ...], tuple[LogSample, ...]]:
            asked.append((found.window_ms - START_MS) // MINUTE_MS)
            return describe(found)

        judge = new_judge()
        for minute, mix in enumerate((3.0, 9.0, 9.0, 12.0, 10.0, 0.0, 0.0, 0.0)):
            judge.judge(0, findings(minute, template(), mix=mix), MINUTE_MS, watched)
        assert asked == [1, 3]

    def test_eviction_and_expiry_close_and_forget(self) -> None:
        reasons: tuple[Literal["evicted"], Literal["expired"]] = ("evicted", "expired")
        for reason in reasons:
            judge = new_judge(slots=2)
            feed(judge, [findings(0, template(), slot=1, new=9.0)])
            (closed,) = judge.evict(np.array([0, 1]), row=17, time_ms=START_MS + 9 * MINUTE_MS, reason=reason)
            assert (closed.slot, closed.row, closed.state, closed.end_reason) == (1, 17, "closed", reason)
            assert (closed.findings, closed.time_ms) == (None, START_MS + 9 * MINUTE_MS)
            assert closed.ended_ms == START_MS + MINUTE_MS
            assert np.isnan(closed.evidence)
            assert closed.peak_evidence == 9.0
            assert (judge.open_count(), judge.state_bytes()) == (0, 0)
            judge.open_slot(1, 0)
            (again,) = feed(judge, [findings(0, template(), slot=1, new=9.0)])
            assert (again.sequence, again.episode_number) == (1, 1)

    def test_state_grows_with_what_is_open(self) -> None:
        judge = new_judge()
        before = judge.state_bytes()
        feed(judge, [findings(0, template(), new=9.0)])
        assert judge.state_bytes() > before > 0


class TestEnd:
    def lasting(self, windows: int, ending: Sequence[WindowFindings], **found: Any) -> str | None:
        judge = new_judge()
        lead = found.pop("lead")
        transitions = feed(judge, [findings(minute, lead, **found) for minute in range(windows)])
        transitions += feed(judge, ending)
        assert transitions[-1].state == "closed"
        return transitions[-1].end_reason

    GONE = template(1, 0, 40.0, down=20.0)

    def test_what_vanished_for_good_is_accepted_once_it_is_the_new_normal(self) -> None:
        found = {"lead": self.GONE, "count_down": 20.0}
        assert self.lasting(30, quiet(30, 31, 32), **found) == "accepted"
        assert self.lasting(29, quiet(29, 30, 31), **found) == "recovered"

    def test_what_the_last_windows_show_counts_more_than_how_long_it_took(self) -> None:
        found = {"lead": self.GONE, "count_down": 20.0}
        back = [findings(30, template(1, 35, 38.0)), *quiet(31, 32)]
        assert self.lasting(30, back, **found) == "recovered"
        away = [findings(5, template(1, 2, 38.0)), *quiet(6, 7)]
        assert self.lasting(5, away, **found) == "accepted"

    def test_the_services_lines_tell_where_most_of_them_had_gone(self) -> None:
        found: dict[str, Any] = {"lead": template(1, 0, 40.0, down=2.0), "count_down": 20.0, "lines": 10}
        assert self.lasting(40, [findings(minute, lines=190) for minute in (40, 41, 42)], **found) == "recovered"
        assert self.lasting(5, [findings(minute, lines=12) for minute in (5, 6, 7)], **found) == "accepted"

    def test_a_surge_that_stays_is_accepted(self) -> None:
        found: dict[str, Any] = {"lead": template(1, 900, 100.0, up=50.0), "count_up": 50.0, "lines": 1_000}
        assert self.lasting(31, [findings(minute, lines=990) for minute in (31, 32, 33)], **found) == "accepted"
        assert self.lasting(31, [findings(minute, lines=210) for minute in (31, 32, 33)], **found) == "recovered"

    def test_a_service_that_says_nothing_any_more_has_fallen_silent(self) -> None:
        nothing = [findings(minute, lines=0, expected_lines=0.1) for minute in (1, 2, 3)]
        assert self.lasting(1, nothing, lead=template(), severity=9.0) == "silent"
        assert self.lasting(1, nothing, lead=template(), severity=9.0, expected_lines=0.5) == "recovered"


kinds_of_numbers = st.sampled_from([0.0, 0.0, 3.9, 4.0, 5.5, 8.0, 13.0, 31.0, 400.0])


@st.composite
def streams(draw: st.DrawFn) -> list[WindowFindings]:
    """Windows of three services with any evidence, some of them missing."""
    found: list[WindowFindings] = []
    for minute in range(draw(st.integers(1, 25))):
        for slot in range(3):
            if draw(st.integers(0, 9)) == 0:
                continue
            loud = draw(st.booleans())
            values: Any = {name: draw(kinds_of_numbers) for name in draw(st.sets(st.sampled_from(SIGNALS), max_size=3))}
            templates = draw(
                st.lists(st.builds(template, number=st.integers(0, 5), severity=st.integers(0, 5)), max_size=3)
            )
            lines = draw(st.integers(0, 500))
            found.append(
                findings(minute, *templates, slot=slot, ready=draw(st.integers(0, 9)) > 0, lines=lines, **values)
                if loud
                else findings(minute, slot=slot, lines=lines)
            )
    return found


policies = st.builds(
    LogPolicy,
    name=st.just("any"),
    single_min=st.sampled_from([4.0, 8.0, 20.0]),
    sustained_windows=st.integers(1, 4),
    close_windows=st.integers(1, 5),
    lines_min=st.sampled_from([0.0, 100.0]),
    cooldown_s=st.sampled_from([0.0, 300.0]),
    update_interval_s=st.sampled_from([0.0, 120.0]),
    kinds=st.sampled_from([LOG_KINDS, LOG_KINDS[1:], LOG_KINDS[2:5]]),
)


def plain(transition: LogTransition) -> list[Any]:
    """A transition with columns as bytes, so that two may be compared."""
    return [_plain(getattr(transition, each.name)) for each in fields(transition)]


def _plain(value: Any) -> Any:
    if isinstance(value, WindowFindings):
        return [_plain(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if isinstance(value, tuple):
        return type(value).__name__, [_plain(each) for each in value]
    return value


class TestLaws:
    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(windows=streams(), policy=policies)
    def test_every_life_is_whole_and_no_kind_is_open_twice(
        self, windows: list[WindowFindings], policy: LogPolicy
    ) -> None:
        judge = new_judge(policy, slots=3)
        transitions = feed(judge, windows)
        still_open = judge.open_count()
        evicted = judge.evict(range(3), 0, START_MS + 10**9)
        assert len(evicted) == still_open
        lives: dict[tuple[int, LogKind], LogTransition] = {}
        for each in (*transitions, *evicted):
            before = lives.pop((each.slot, each.kind), None)
            assert (before is None) == (each.state == "opened")
            if before is None:
                assert each.sequence == 1
                assert each.kind in policy.kinds
                others = [kind for slot, kind in lives if slot == each.slot]
                assert all(LOG_KINDS.index(each.kind) < LOG_KINDS.index(kind) for kind in others)
            else:
                assert (each.sequence, each.episode_number) == (before.sequence + 1, before.episode_number)
                assert (each.started_ms, each.detected_ms) == (before.started_ms, before.detected_ms)
                assert each.peak_evidence >= before.peak_evidence
            assert (each.end_reason is not None) == (each.ended_ms is not None) == (each.state == "closed")
            assert 1 <= each.anomalous_windows <= each.windows
            assert each.started_ms <= each.peak_ms < each.time_ms
            assert each.started_ms < each.detected_ms <= each.time_ms
            if each.state != "closed":
                lives[each.slot, each.kind] = each
        assert not lives
        numbers = [(each.slot, each.episode_number) for each in transitions if each.state == "opened"]
        assert len(numbers) == len(set(numbers))
        episodes = [(each.slot, each.kind, each.started_ms) for each in transitions if each.state == "opened"]
        assert len(episodes) == len(set(episodes))

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(windows=streams(), policy=policies, data=st.data())
    def test_a_judge_restored_at_any_window_goes_on_as_if_nothing_had_been(
        self, windows: list[WindowFindings], policy: LogPolicy, data: st.DataObject
    ) -> None:
        at = data.draw(st.integers(0, len(windows)))
        whole = new_judge(policy, slots=3)
        feed(whole, windows[:at])
        copy = whole.copy()
        rest = feed(whole, windows[at:]) + whole.evict(range(3), 0, START_MS + 10**9)
        restored = LogJudge((policy,))
        restored.restore(copy.columns(), np.array([2, 0, 1]))
        moved = [replace(found, slot=(found.slot + 2) % 3) for found in windows[at:]]
        again = feed(restored, moved) + restored.evict([2, 0, 1], 0, START_MS + 10**9)
        assert [plain(_back(each)) for each in again] == [plain(each) for each in rest]


def _back(transition: LogTransition) -> LogTransition:
    slot = (transition.slot + 1) % 3
    found = transition.findings
    return replace(
        transition,
        slot=slot,
        peak=replace(transition.peak, slot=slot),
        findings=None if found is None else replace(found, slot=slot),
        templates=tuple(transition.templates),
    )


class TestSnapshots:
    def filled(self) -> LogJudge:
        judge = new_judge(slots=2)
        feed(judge, [findings(0, template(), slot=1, new=9.0)])
        return judge

    def refused(self, columns: dict[str, Any], slots: Sequence[int] = (0, 1), **settings: Any) -> str:
        with pytest.raises(SnapshotRefusedError) as caught:
            LogJudge((PLAIN,), **settings).restore(columns, slots)
        return str(caught.value)

    def test_a_copy_does_not_change_afterwards(self) -> None:
        judge = self.filled()
        copy = judge.copy()
        before = copy.columns()["services"].tobytes()
        feed(judge, [findings(minute, slot=1, new=20.0) for minute in range(1, 9)])
        assert copy.columns()["services"].tobytes() == before

    def test_the_same_state_has_the_same_bytes(self) -> None:
        first, second = self.filled(), LogJudge((PLAIN,))
        second.restore(first.copy().columns(), [0, 1])
        assert second.copy().columns()["services"].tobytes() == first.copy().columns()["services"].tobytes()
        assert second.open_count() == 1

    def test_slots_may_be_given_in_any_order(self) -> None:
        judge = self.filled()
        second = LogJudge((PLAIN,))
        second.restore(judge.copy([1, 0]).columns(), [7, 3])
        assert [each.slot for each in second.evict([3, 7], 0, START_MS)] == [7]

    def test_what_does_not_fit_is_refused(self) -> None:
        columns = self.filled().copy().columns()
        text = columns["services"].tobytes()

        def changed(before: bytes, after: bytes) -> dict[str, Any]:
            assert before in text
            return {**columns, "services": np.frombuffer(text.replace(before, after, 1), np.uint8)}

        assert "version" in self.refused({**columns, "version": np.array([2])})
        assert "lacks the column services" in self.refused({"version": columns["version"]})
        assert "lacks the column services" in self.refused({**columns, "services": np.zeros(3)})
        assert "cannot be read" in self.refused({**columns, "services": np.frombuffer(text[:-1], np.uint8)})
        assert "cannot be read" in self.refused(changed(b"log.new_template", b"log.nonsense"))
        assert "cannot be read" in self.refused(changed(b'"recent":[', b'"recent":["x",'))
        assert "cannot be read" in self.refused(changed(b'"recent":[', b'"recent":[-1,'))
        assert "of 2 services, not of 1" in self.refused(columns, [0])
        assert "policy" in self.refused(changed(b'"policy":0', b'"policy":1'))
        assert "cannot be" in self.refused(changed(b'"begun":1', b'"begun":0'))
        assert "cannot be" in self.refused(changed(b'"lengths":[0', b'"lengths":[0,0'))


class TestPolicies:
    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("sustained_min", 0.0, "above 0"),
            ("sustained_min", float("nan"), "above 0"),
            ("combined_min", 3.9, "between 4 and 300"),
            ("single_min", 301.0, "between 4 and 300"),
            ("sustained_windows", 0, "between 1 and 60"),
            ("close_windows", 61, "between 1 and 60"),
            ("lines_min", -1.0, "0 or more"),
            ("lines_min", float("inf"), "0 or more"),
            ("cooldown_s", -1.0, "between 0"),
            ("update_interval_s", 1e9, "between 0"),
            ("severity_error", 31.0, "severity_critical must be between 31"),
            ("kinds", (), "each once"),
            ("kinds", ("log.surge", "log.surge"), "each once"),
            ("kinds", ("metric.spike",), "each once"),
            ("samples_max", 11, "between 0 and 10"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, field: str, value: Any, message: str) -> None:
        values: Any = {field: value}
        with pytest.raises(UsageError, match=message) as caught:
            LogPolicy("odd", **values)
        assert str(caught.value).startswith("log policy 'odd': ")

    def test_a_policy_needs_a_name(self) -> None:
        with pytest.raises(UsageError, match="needs a name"):
            LogPolicy("")

    def test_the_most_specific_applies_and_there_is_always_one(self) -> None:
        shop = LogPolicy("shop", parse_matchers('{service.name="checkout"}'))
        some = LogPolicy("some", parse_matchers('{service.name=~"c.*"}'))
        book = LogPolicyBook([some, shop])
        assert book.policies == (some, shop, DEFAULT_LOG_POLICY)

        def chosen(name: str) -> str:
            return book.policies[book.choose(SeriesIdentity("logs", {"service.name": name}, name, "0" * 16))].name

        assert [chosen(name) for name in ("checkout", "cart", "orders")] == ["shop", "some", "default"]
        with pytest.raises(UsageError, match="defined twice"):
            LogPolicyBook([shop, shop])


def test_findings_for_tests_have_the_shape_that_the_room_expects() -> None:
    found = findings(0, template(), mix=9.0)
    assert len(found.signals) == len(SIGNALS)
    assert isinstance(found.templates[0], TemplateFinding)
