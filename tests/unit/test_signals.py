"""Signals of one service: what each says, how it learns, and what is never said."""

from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.errors import SnapshotRefusedError
from detector.log_batches import RECENT_WINDOWS, SIGNALS, WindowFindings
from detector.signals import OPEN_MAX, KeptSignals, ServiceSignals, SignalLimits, laid_out, taken_apart

WINDOW_MS: Final = 60_000
DAY: Final = 1_440
INFO: Final = 2
ERROR: Final = 4


class Service:
    """Plays windows of lines by template, with one severity for each template."""

    def __init__(self, severities: list[int], limits: SignalLimits | None = None) -> None:
        self.signals = ServiceSignals(limits or SignalLimits())
        self.severities = np.array([0, *severities], np.int8)
        self.window = 0

    def play(self, counts: Any) -> WindowFindings:
        """One window with so many lines of each template."""
        numbers = np.repeat(np.arange(1, len(counts) + 1), counts)
        self.signals.count(self.window * WINDOW_MS, numbers, self.severities[numbers])
        found = self.signals.close(0, self.window * WINDOW_MS)
        self.window += 1
        return found

    def calm(self, rates: list[float], windows: int, seed: int = 0) -> list[WindowFindings]:
        """Windows of independent Poisson counts."""
        source = np.random.default_rng(seed)
        return [self.play(source.poisson(rates)) for _ in range(windows)]


def digits(found: WindowFindings, name: str) -> float:
    """One signal."""
    return found.signals[SIGNALS.index(name)]


RATES: Final = [60.0, 30.0, 20.0, 10.0, 5.0, 0.5]
PLAIN: Final = [INFO, INFO, INFO, INFO, ERROR, INFO]


def grown(windows: int = 200) -> Service:
    """A service that is well known."""
    service = Service([*PLAIN, *([INFO] * 60)])
    service.calm(RATES, windows)
    return service


class TestCalm:
    def test_a_calm_service_says_nothing(self) -> None:
        found = Service(PLAIN).calm(RATES, 2_000)
        assert [each.combined for each in found if each.combined > 4.0] == []
        assert sum(each.combined > 2.0 for each in found) < 20

    def test_nothing_is_said_before_the_service_is_known(self) -> None:
        found = Service(PLAIN).calm(RATES, 31)
        assert [each.ready for each in found] == [False] * 30 + [True]
        assert all(each.combined == each.score == 0.0 for each in found[:30])
        assert [each.windows_seen for each in found] == list(range(31))

    def test_a_template_that_comes_once_a_day_makes_no_noise(self) -> None:
        service = Service([INFO, INFO])
        source = np.random.default_rng(1)
        found = [service.play([source.poisson(20.0), 12 * (k % DAY == 700)]) for k in range(4 * DAY)]
        assert max(each.combined for each in found) < 5.0

    def test_very_few_lines_are_quiet(self) -> None:
        found = Service([INFO, INFO, ERROR]).calm([0.02, 0.01, 0.002], 5_000, 3)
        assert max(each.combined for each in found) < 4.0

    def test_windows_without_any_line_are_silence_not_errors(self) -> None:
        service = grown()
        found = service.play([])
        assert found.lines == 0
        assert digits(found, "count_down") > 8.0
        assert digits(found, "mix") == digits(found, "rare") == 0.0


class TestSignals:
    def test_a_burst_stands_out_as_count_and_share_of_its_template(self) -> None:
        found = grown().play([60, 30, 20, 150, 5, 0])
        assert digits(found, "count_up") > 8.0
        assert digits(found, "share_up") > 8.0
        assert found.templates[0].number == 4
        assert (found.templates[0].observed, found.lines) == (150, 265)
        assert 5.0 < found.templates[0].expected < 15.0
        assert found.combined > 8.0

    def test_twice_the_load_is_no_shift_of_the_mix(self) -> None:
        found = grown().play([180, 90, 60, 30, 15, 1])
        assert digits(found, "count_up") > 8.0
        assert max(digits(found, name) for name in ("mix", "share_up", "share_down", "severity")) < 2.0
        assert found.score < 2.0

    def test_another_mix_of_as_many_lines_is_one(self) -> None:
        found = grown().play([20, 70, 20, 10, 5, 0])
        assert digits(found, "mix") > 6.0
        assert digits(found, "share_down") > 3.0

    def test_a_share_of_most_lines_is_as_quiet_as_its_rest(self) -> None:
        # 80 % of the lines, of a template that scatters like a negative binomial with phi 0.5
        service = Service([INFO] * 4)
        source = np.random.default_rng(4)
        rates = np.array([50.0, 40.0, 30.0])
        found = [service.play([source.poisson(source.gamma(2.0, 240.0)), *source.poisson(rates)]) for _ in range(3_000)]
        assert sum(digits(each, "share_down") > 4.0 for each in found) <= 3
        assert digits(service.play([0, 50, 40, 30]), "mix") > 3.0

    def test_a_clump_beside_a_dominating_template_does_not_take_its_share(self) -> None:
        service = Service([INFO, INFO])
        source = np.random.default_rng(1)
        found = [service.play([source.poisson(20.0), 12 * (k % DAY == 700)]) for k in range(4 * DAY)]
        assert max(digits(each, "share_down") for each in found) < 4.0

    def test_a_template_that_comes_regularly_and_stays_away_has_vanished(self) -> None:
        found = grown().play([60, 0, 20, 10, 5, 1])
        assert digits(found, "count_down") > 6.0
        assert found.templates[0].number == 2
        assert found.vanished_templates == 1

    def test_errors_instead_of_what_is_usual_are_a_severity_surge(self) -> None:
        found = grown().play([50, 25, 15, 8, 45, 0])
        assert digits(found, "severity") > 6.0
        assert found.severities[ERROR] == 45
        assert found.usual_severities[ERROR] < 10.0

    def test_many_new_errors_say_more_than_one_new_line(self) -> None:
        one, many = grown(1_000), grown(1_000)
        many.severities[7:] = ERROR
        few = one.play([60, 30, 20, 10, 5, 0, 1])
        lots = many.play([60, 30, 20, 10, 5, 0, *([3] * 12)])
        assert digits(few, "new") < 4.0 < digits(lots, "new")
        assert (few.new_templates, lots.new_templates) == (1, 12)
        assert any(template.new for template in few.templates) or digits(few, "rare") < 2.0

    def test_what_comes_once_in_a_thousand_windows_is_rare(self) -> None:
        service = Service(PLAIN)
        service.calm([*RATES[:5], 0.0], 500)
        service.play([60, 30, 20, 10, 5, 1])
        service.calm([*RATES[:5], 0.0], 500, 7)
        found = service.play([60, 30, 20, 10, 5, 1])
        assert 2.0 < digits(found, "rare") < 4.0

    @pytest.mark.parametrize("roll", [1, 3])
    def test_a_deploy_that_rewords_messages_is_a_change_of_format_at_once(self, roll: int) -> None:
        service = Service([INFO] * 80)
        rates = np.linspace(2.0, 12.0, 40)
        source = np.random.default_rng(roll)
        for _ in range(300):
            service.play(source.poisson(rates))
        found = []
        for k in range(12):
            new = source.binomial(source.poisson(rates), min((k + 1) / roll, 1.0))
            old = source.poisson(rates * max(1.0 - (k + 1) / roll, 0.0))
            found.append(service.play(np.concatenate((old, new))))
        assert digits(found[0], "format_change") > 6.0
        assert max(each.combined for each in found[roll + 5 :]) < 4.0

    def test_new_errors_beside_all_that_is_usual_are_no_change_of_format(self) -> None:
        service = grown(1_000)
        service.severities[7:] = ERROR
        found = service.play([60, 30, 20, 10, 5, 0, *([4] * 30)])
        assert digits(found, "new") > 6.0
        assert digits(found, "format_change") == 0.0


class TestLearning:
    def test_an_incident_does_not_become_normal_at_once(self) -> None:
        service = grown()
        source = np.random.default_rng(5)
        found = [service.play(source.poisson([600.0, *RATES[1:]])) for _ in range(25)]
        assert min(each.combined for each in found) > 6.0
        assert found[-1].expected_lines < 250.0

    def test_what_lasts_is_the_new_normal_after_thirty_windows(self) -> None:
        service = grown()
        found = service.calm([200.0, *RATES[1:]], 60, 6)
        assert min(each.combined for each in found[:20]) > 6.0
        assert max(each.combined for each in found[40:]) < 4.0

    @pytest.mark.parametrize("shape", ["smooth", "stepped"])
    def test_a_rhythm_is_expected_once_days_were_seen(self, shape: str) -> None:
        minutes = np.arange(DAY)
        load = 1.0 + 4.0 * np.maximum(np.sin(minutes * 2 * np.pi / DAY), 0.0) ** 4
        if shape == "stepped":
            load = np.where((minutes >= 540) & (minutes < 600), 5.0, 1.0)
        service = Service([INFO] * 3)
        source = np.random.default_rng(2)
        found = [service.play(source.poisson(np.array([40.0, 10.0, 2.0]) * load[k % DAY])) for k in range(5 * DAY)]
        off = np.array([abs(each.lines - each.expected_lines) / max(each.expected_lines, 1.0) for each in found])
        assert off[-DAY:].mean() < 0.8 * off[60 : DAY + 60].mean()
        assert max(each.combined for each in found[-DAY:]) < 4.0

    def test_silence_of_the_whole_partition_teaches_nothing(self) -> None:
        service = grown()
        service.signals.skip(300)
        service.window += 300
        found = service.play([60, 30, 20, 10, 5, 0])
        assert found.windows_seen == 200
        assert found.combined < 2.0
        assert found.recent.tolist() == [0] * (RECENT_WINDOWS - 1) + [125]

    def test_histories_show_the_last_windows(self) -> None:
        service = grown()
        found = service.play([60, 30, 20, 150, 5, 0])
        template = found.templates[0]
        assert template.recent[-1] == 150
        assert template.recent.dtype == np.uint32
        assert len(template.recent) == len(found.recent) == RECENT_WINDOWS
        assert template.total == 150 + sum(int(x[3]) for x in poisson_rows(200))
        assert template.first_ms == 0


def poisson_rows(windows: int) -> NDArray[np.int64]:
    """The counts that ``grown`` has played."""
    source = np.random.default_rng(0)
    return np.array([source.poisson(RATES) for _ in range(windows)])


class TestBounds:
    def test_a_fourth_open_window_is_our_own_mistake(self) -> None:
        signals = ServiceSignals(SignalLimits())
        empty = np.zeros(0, np.int64)
        for k in range(OPEN_MAX):
            signals.count(k * WINDOW_MS, empty, empty.astype(np.int8))
        with pytest.raises(AssertionError, match="too many windows"):
            signals.count(OPEN_MAX * WINDOW_MS, empty, empty.astype(np.int8))

    def test_a_window_without_lines_is_closed_before_three_open_ones(self) -> None:
        signals = ServiceSignals(SignalLimits())
        for k in (1, 2, 3):
            signals.count(k * WINDOW_MS, np.ones(k, np.int64), np.ones(k, np.int8))
        assert [signals.close(0, k * WINDOW_MS).lines for k in range(5)] == [0, 1, 2, 3, 0]

    def test_windows_are_closed_in_order(self) -> None:
        signals = ServiceSignals(SignalLimits())
        signals.count(0, np.ones(1, np.int64), np.ones(1, np.int8))
        with pytest.raises(AssertionError, match="earlier window"):
            signals.close(0, WINDOW_MS)

    def test_numbers_beyond_the_limit_are_our_own_mistake(self) -> None:
        signals = ServiceSignals(SignalLimits(templates=20))
        signals.count(0, np.array([20]), np.array([INFO], np.int8))
        with pytest.raises(AssertionError, match="beyond the limit"):
            signals.count(0, np.array([21]), np.array([INFO], np.int8))

    def test_memory_grows_with_the_templates_and_ends(self) -> None:
        signals = ServiceSignals(SignalLimits())
        small = signals.state_bytes()
        signals.count(0, np.array([2_000]), np.array([INFO], np.int8))
        assert small < 20_000 < signals.state_bytes() < 1_000_000


class TestSnapshot:
    def test_only_templates_in_use_are_kept(self) -> None:
        service = grown()
        service.signals.evicted(3)
        assert service.signals.copy().numbers.tolist() == [1, 2, 4, 5, 6]

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("version", np.array([9], np.int64), "version"),
            ("numbers", np.array([-1], np.int32), "numbers"),
            ("rows.mean", np.zeros(1), "rows.mean"),
            ("rates.total", None, "rates.total"),
            ("open_counts", np.array([7], np.int64), "open windows"),
            ("shape", np.array([[-1, 0]], np.int64), "negative"),
        ],
    )
    def test_columns_that_do_not_fit_are_refused(self, name: str, value: NDArray[Any] | None, said: str) -> None:
        columns = laid_out([grown(40).signals.copy()])
        if value is None:
            del columns[name]
        else:
            columns[name] = value
        with pytest.raises(SnapshotRefusedError, match=said):
            taken_apart(columns)

    def test_templates_beyond_the_limits_are_refused(self) -> None:
        kept: KeptSignals = grown(40).signals.copy()
        with pytest.raises(SnapshotRefusedError, match="at most 5"):
            ServiceSignals.of(kept, SignalLimits(templates=5))

    def test_services_side_by_side_come_back_each(self) -> None:
        services = [grown(40), grown(3), Service([INFO])]
        services[0].signals.count(40 * WINDOW_MS, np.array([1, 1, 6]), np.array([2, 2, 4], np.int8))
        kept = taken_apart(laid_out([each.signals.copy() for each in services]))
        back = [ServiceSignals.of(each, SignalLimits()) for each in kept]
        assert [each.windows_seen for each in back] == [40, 3, 0]
        found = back[0].close(0, 40 * WINDOW_MS)
        assert (found.lines, found.severities) == (3, (0, 0, 2, 0, 1, 0))
        assert taken_apart(laid_out([])) == []
