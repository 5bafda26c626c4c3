"""The whole way of log lines, as who runs it meets it: incidents, deploys, busy hours, clocks, limits."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from tests.log_lines import random_lines
from tests.log_records import (
    BEGIN_S,
    fluentbit_line,
    json_line,
    log_pipeline,
    loki_push,
    otlp_request,
    plain_line,
)
from tests.log_stories import (
    Line,
    Message,
    Told,
    calm,
    messages,
    minute_of,
    minute_reached,
    records_of,
    service_of,
    snapshot_of,
    tell,
)

INCIDENT: Final = range(45, 53)
REFUSED: Final = "payment of ann{}@shop.example refused by issuer, token=sk_live_4eC39HqLyjWDarjtT1zdp7dc"
Change = Callable[[list[Message]], list[Message]]


def deploy(seed: int, roll: int) -> list[bytes]:
    """A service rewords 200 of its 250 messages within ``roll`` windows."""
    source = np.random.default_rng(seed)
    old = messages(250, seed, rate=400.0)
    new = [
        Message(after.text, before.rate)
        for before, after in zip(old, messages(250, seed + 1_000, rate=1.0), strict=True)
    ]
    lines: list[Line] = []
    for minute in range(55):
        done = 0.0 if minute < 40 else min((minute - 39) / roll, 1.0)
        lines += minute_of(source, minute, "shop", old[200:])
        lines += minute_of(source, minute, "shop", old[:200], 1.0 - done)
        lines += minute_of(source, minute, "shop", new[:200], done)
    return records_of(lines)


def incident(change: Change, seed: int = 1, minutes: int = 60) -> list[bytes]:
    """An hour of a shop beside a calm cart; what the shop says changes for eight minutes."""
    source = np.random.default_rng(seed)
    usual = messages(30, seed, rate=100.0)
    usual[3] = usual[3]._replace(rate=20.0)
    lines = list(calm(seed, "cart", messages(20, 500 + seed, rate=60.0), minutes))
    for minute in range(minutes):
        said = change(list(usual)) if minute in INCIDENT else usual
        lines += minute_of(source, minute, "shop", said)
    return records_of(lines)


def with_new_error(said: list[Message]) -> list[Message]:
    return [*said, Message(REFUSED, 60.0, "error")]


def as_errors(said: list[Message]) -> list[Message]:
    return [each._replace(level="error") if place < 20 else each for place, each in enumerate(said)]


def without_one(said: list[Message]) -> list[Message]:
    return [*said[:3], *said[4:]]


def with_ten_times_one(said: list[Message]) -> list[Message]:
    return [*said[:3], said[3]._replace(rate=200.0), *said[4:]]


def silent(_: list[Message]) -> list[Message]:
    return []


class TestDeploys:
    @pytest.mark.parametrize("roll", [1, 3])
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_reworded_messages_are_one_change_of_format_however_it_rolls_out(self, seed: int, roll: int) -> None:
        told = tell(log_pipeline(), deploy(seed, roll))
        assert told.kinds() == [("shop", "log.format_change")]
        (opened,), (closed,) = told.opened, told.closed
        assert minute_reached(opened["detected_at"]) <= 43
        assert opened["changes"]["new_templates"] > 20
        assert opened["severity"] == "warning"
        assert closed["end_reason"] == "accepted"
        assert 440 <= told.batches[-1].templates_held <= 450


class TestIncidents:
    @pytest.mark.parametrize(
        ("change", "kind", "lead"),
        [
            (with_new_error, "log.severity_surge", "refused by issuer"),
            (as_errors, "log.severity_surge", ""),
            (without_one, "log.vanished", None),
            (with_ten_times_one, "log.surge", None),
            (silent, "log.vanished", ""),
        ],
    )
    def test_it_opens_once_within_five_windows_led_by_its_template(
        self, change: Change, kind: str, lead: str | None
    ) -> None:
        values = incident(change)
        told = tell(log_pipeline(), values)
        assert told.kinds() == [("shop", kind)]
        (opened,) = told.opened
        assert INCIDENT.start <= minute_reached(opened["started_at"])
        assert minute_reached(opened["detected_at"]) <= INCIDENT.start + 5
        expected = messages(30, 1, rate=100.0)[3].text.replace("{}", "<*>") if lead is None else lead
        assert expected in opened["template"]["text"]
        assert told.closed
        check_shown(opened, values)

    def test_what_is_new_is_told_to_be(self) -> None:
        (opened,) = tell(log_pipeline(), incident(with_new_error)).opened
        assert opened["template"]["total_count"] == sum(opened["histogram"]["template"])
        assert minute_reached(opened["template"]["first_seen"]) == INCIDENT.start
        assert opened["template"]["severity"] == "error"
        assert opened["severity"] in {"error", "critical"}
        assert len(opened["samples"]) == 3

    def test_what_vanished_and_a_surge_of_information_are_told_as_what_they_are(self) -> None:
        (gone,) = tell(log_pipeline(), incident(without_one)).opened
        (more,) = tell(log_pipeline(), incident(with_ten_times_one)).opened
        assert gone["template"]["observed"] == 0
        assert 15 < gone["template"]["expected"] < 25
        assert gone["direction"] == "down"
        assert more["template"]["observed"] > 150
        assert 15 < more["template"]["expected"] < 25
        assert more["direction"] == "up"
        assert more["severity"] == "warning"

    def test_secrets_and_persons_are_nowhere_in_an_event(self) -> None:
        told = tell(log_pipeline(), incident(with_new_error))
        text = str(told.events)
        assert "refused by issuer" in text
        assert "@shop.example" not in text
        assert "4eC39HqLyjWDarjtT1zdp7dc" not in text

    def test_trace_ids_stand_by_their_lines(self) -> None:
        values = [
            value[:-1] + b', "trace_id": "%032x"}' % place if b"refused" in value else value
            for place, value in enumerate(incident(with_new_error))
        ]
        (opened,) = tell(log_pipeline(), values).opened
        shown = [sample for sample in opened["samples"] if "refused" in sample["line"]]
        assert len(shown) == 3
        assert [sample["trace_id"] for sample in shown] == [f"{sample['offset']:032x}" for sample in shown]
        assert {sample["trace_id"] for sample in opened["samples"] if sample not in shown} <= {None}


def check_shown(event: dict[str, Any], values: list[bytes]) -> None:
    """What an event shows is in the records that it points to."""
    assert len(event["samples"]) <= 3
    for sample in event["samples"]:
        record = values[sample["offset"]].decode()
        words = re.findall(r"[a-z]{4,}", sample["line"].split(",")[0])
        assert words[-1] in record
        assert sample["template_id"] in {template["id"] for template in event["templates"]}
    histogram = event["histogram"]
    assert len(histogram["service"]) == len(histogram["template"]) == 30
    assert histogram["service"][-1] == event["observed"]
    assert histogram["template"][-1] == event["template"]["observed"]
    end = minute_reached(histogram["end"])
    first_s = BEGIN_S + 60 * (end - 1)
    counted = [value for value in values if b'"shop"' in value and 0 <= _time_s(value) - first_s < 60]
    assert len(counted) == event["observed"]


def _time_s(value: bytes) -> float:
    found = re.search(rb'"timestamp": ([0-9.]+)', value)
    assert found is not None
    return float(found[1])


class TestQuietHours:
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_a_busy_day_after_a_quiet_night_opens_nothing(self, seed: int) -> None:
        source = np.random.default_rng(seed)
        said = messages(30, seed, rate=60.0)
        lines: list[Line] = []
        for minute in range(150):
            lines += minute_of(source, minute, "shop", said, float(np.interp(minute, (60, 120), (1.0, 5.0))))
        told = tell(log_pipeline(), records_of(lines))
        assert told.kinds() == []
        assert told.total("windows_closed") == 149

    def test_a_job_that_speaks_once_a_day_opens_nothing(self) -> None:
        said = messages(6, 1, rate=2.0)
        lines = list(calm(1, "shop", said, 3 * 1_440))
        for day in range(3):
            lines += [
                Line(86_400 * day + 18_000 + 3 * k, "shop", "info", f"backup of volume {k} done") for k in range(10)
            ]
        told = tell(log_pipeline(), records_of(lines))
        assert told.kinds() == []
        assert told.total("windows_closed") > 3_000
        assert told.total("windows_skipped") > 500

    def test_windows_in_which_the_whole_partition_was_silent_open_nothing(self) -> None:
        said = messages(10, 1, rate=100.0)
        lines = [line for line in calm(1, "shop", said, 120) if not 60 * 60 <= line.time_s < 90 * 60]
        told = tell(log_pipeline(), records_of(lines))
        assert told.kinds() == []
        assert told.total("windows_skipped") == 1 + 30  # the one before the first line was still open, too
        assert told.total("windows_closed") == 89


class TestRandomText:
    def test_it_stays_within_limits_is_told_and_disturbs_no_one(self) -> None:
        cart, said = messages(20, 2, rate=40.0), messages(20, 1, rate=600.0)
        source = np.random.default_rng(1)
        beside = list(calm(5, "cart", cart, 30))
        lines = [*beside, *(line for minute in range(2) for line in minute_of(source, minute, "shop", said))]
        lines += [
            Line(120 + at / 50, "shop", "info", text.decode()) for at, text in enumerate(random_lines(6_000, seed=3))
        ]
        lines += [line for minute in range(4, 30) for line in minute_of(source, minute, "shop", said)]
        pipeline = log_pipeline(limits={"templates_per_service": 64})
        told = tell(pipeline, records_of(lines), size=500)
        (shop,) = {name for logs in told.batches for name in logs.tripped}
        assert "shop" in shop
        assert max(logs.breakers_open for logs in told.batches) == 1
        assert told.total("lines_other") > 1_000
        assert told.total("templates_evicted") > 1_000
        assert max(logs.templates_held for logs in told.batches) <= 2 * 64
        assert pipeline.state_bytes() < 2_000_000
        assert told.batches[-1].breakers_open == 0
        assert told.batches[-1].lines_other == 0
        assert {event for event in told.kinds() if event[0] == "cart"} == set()
        alone = log_pipeline(limits={"templates_per_service": 64})
        tell(alone, records_of(beside))
        assert templates_of(pipeline)["cart"] == templates_of(alone)["cart"]
        after = templates_of(pipeline)["shop"]
        assert {message.text.replace("{}", "<*>") for message in said} <= set(after.values())


def templates_of(pipeline: Any) -> dict[str, dict[str, str]]:
    """Texts of templates by their id, by service."""
    found = {}
    for slot, service in pipeline._services.items():
        miner = service.miner
        name = pipeline._series.identity(slot).labels["service.name"]
        templates = [miner.template(number) for number in miner.numbers().tolist()]
        found[name] = {template.id: template.text for template in templates}
    return found


class TestTime:
    def test_a_line_in_json_that_waits_is_late_as_any_other(self) -> None:
        pipeline = log_pipeline()
        tell(pipeline, [fluentbit_line(BEGIN_S + 60 * minute, "shop", "all is well") for minute in range(10)])
        late = [fluentbit_line(BEGIN_S + 120, "shop", line) for line in ("x broke", "\tat com.acme.X.y(X.java:1)")]
        told = tell(pipeline, [*late, fluentbit_line(BEGIN_S + 541, "shop", "all is well")], told=Told(offset=10))
        assert told.totals.late == 1
        assert told.total("lines_joined") == 1
        assert told.total("templates_created") == 0

    def test_exceptions_in_json_that_tell_their_times_move_the_watermark(self) -> None:
        pipeline = log_pipeline()
        values = [fluentbit_line(BEGIN_S + 60 * minute, "shop", "KeyError: 7") for minute in range(10)]
        told = tell(pipeline, values, stamp_ms=1_000 * (BEGIN_S + 3_600))
        assert pipeline.watermark_ms == 1_000 * (BEGIN_S + 540)
        assert told.totals.scored == 9
        assert told.totals.late == 0

    def test_late_lines_are_counted_and_not_mined(self) -> None:
        pipeline = log_pipeline()
        tell(pipeline, [json_line(BEGIN_S + 60 * minute, "shop", "info", "all is well") for minute in range(10)])
        told = tell(pipeline, [json_line(BEGIN_S + 120, "shop", "error", "something else broke")], told=Told(offset=10))
        assert told.totals.late == 1
        assert told.totals.scored == 0
        assert told.total("templates_created") == 0

    def test_a_clock_far_ahead_is_rejected_where_the_broker_tells_the_time(self) -> None:
        values = [json_line(BEGIN_S + ahead, "shop", "info", "x") for ahead in (0, 86_400, 1)]
        pipeline = log_pipeline()
        told = tell(pipeline, values, stamp_ms=BEGIN_S * 1000)
        assert [(reject.offset, reject.reason) for reject in told.rejects] == [(1, "too_far_ahead")]
        assert pipeline.watermark_ms == (BEGIN_S + 1) * 1000

    def test_an_idle_service_expires_and_its_episode_with_it(self) -> None:
        pipeline = log_pipeline()
        values = incident(with_new_error, minutes=48)
        told = tell(pipeline, values)
        assert pipeline.open_episodes == 1
        later = [
            json_line(BEGIN_S + 48 * 60 + 1_800 * step, "other", "info", "still here") for step in range(2 * 24 * 9)
        ]
        tell(pipeline, later, told=told)
        assert told.totals.series_expired == 2
        assert pipeline.open_episodes == 0
        assert pipeline.series_count == 1


class TestLimits:
    def test_services_beyond_the_limit_are_evicted_and_what_is_open_closes(self) -> None:
        pipeline = log_pipeline(limits={"services_per_partition": 3})
        told = tell(pipeline, incident(with_new_error, minutes=48))
        assert pipeline.open_episodes == 1
        crowd = [json_line(BEGIN_S + 48 * 60 + place, f"s{place}", "info", "hello there") for place in range(20)]
        tell(pipeline, crowd, told=told)
        assert told.totals.series_evicted >= 17
        assert pipeline.series_count <= 3
        (closed,) = told.closed
        assert (service_of(closed), closed["end_reason"]) == ("shop", "evicted")
        assert pipeline.open_episodes == 0

    def test_forgotten_episodes_leave_what_is_usual(self) -> None:
        pipeline = log_pipeline()
        told = tell(pipeline, incident(with_new_error, minutes=48))
        before = templates_of(pipeline)
        pipeline.forget_episodes()
        assert pipeline.open_episodes == 0
        assert templates_of(pipeline) == before
        said = messages(30, 1, rate=100.0)
        quiet = [line._replace(time_s=line.time_s + 48 * 60) for line in calm(9, "shop", said, 10)]
        after = tell(pipeline, records_of(quiet), told=Told(offset=told.offset))
        assert after.closed == []


def _otlp(time_s: float, service: str, line: str) -> bytes:
    return otlp_request(time_s, service, [line])


def _loki(time_s: float, service: str, line: str) -> bytes:
    return loki_push(time_s, service, [line])


class TestStackTraces:
    PYTHON: Final = (
        "Traceback (most recent call last):",
        '  File "/app/shop/order.py", line {}, in place',
        '  File "/app/shop/stock.py", line {}, in take',
        '  File "/usr/lib/python3.12/json/decoder.py", line {}, in decode',
        "shop.stock.OutOfStockError: no stock of {}",
    )
    JAVA: Final = (
        "order {} failed",
        "java.lang.IllegalStateException: no stock of {}",
        "\tat java.util.Objects.requireNonNull(Objects.java:{})",
        "\tat com.acme.shop.Stock.take(Stock.java:{})",
        "\tat com.acme.shop.Order.place(Order.java:{})",
    )

    def only_template(self, values: list[bytes]) -> str:
        pipeline = log_pipeline()
        told = tell(pipeline, values)
        assert not told.rejects
        (found,) = templates_of(pipeline).values()
        (text,) = found.values()
        return text

    def traces(self) -> list[list[str]]:
        return [[line.format(number) for line in self.JAVA] for number in range(1, 9)]

    def test_in_one_record_each_they_are_one_template(self) -> None:
        values = [json_line(BEGIN_S + at, "shop", "error", "\n".join(trace)) for at, trace in enumerate(self.traces())]
        assert self.only_template(values) == (
            "order <*> failed java.lang.IllegalStateException com.acme.shop.Stock.take"
        )

    def test_in_records_of_their_own_they_are_one_template_too(self) -> None:
        values = []
        for number in range(1, 9):
            values.append(plain_line(BEGIN_S + number, "error", f"order {number} failed"))
            values += [line.format(number).encode() for line in self.PYTHON]
        values.append(plain_line(BEGIN_S + 600, "info", "the end"))
        pipeline = log_pipeline()
        told = tell(pipeline, values)
        assert not told.rejects
        assert told.total("lines_joined") == 8 * 5
        (found,) = templates_of(pipeline).values()
        assert list(found.values()) == ["ERROR order <*> failed shop.stock.OutOfStockError stock.py:take"]

    @pytest.mark.parametrize("ship", [fluentbit_line, _otlp, _loki])
    def test_in_json_they_are_one_template_though_another_service_stands_between(
        self, ship: Callable[[float, str, str], bytes]
    ) -> None:
        values = []
        for number in range(1, 9):
            lines = [f"ERROR order {number} failed", *(line.format(number) for line in self.PYTHON)]
            for place, line in enumerate(lines):
                time_s = BEGIN_S + number + place / 1000
                values += [ship(time_s, "shop", line), ship(time_s, "cart", f"item {number} taken")]
        values += [ship(BEGIN_S + 600, name, "the end") for name in ("shop", "cart")]
        pipeline = log_pipeline()
        told = tell(pipeline, values)
        assert not told.rejects
        assert told.total("lines_joined") == 8 * 5
        texts = {name: list(found.values()) for name, found in templates_of(pipeline).items()}
        assert texts["shop"] == ["ERROR order <*> failed shop.stock.OutOfStockError stock.py:take"]
        assert texts["cart"] == ["item <*> taken"]

    def test_a_sample_of_one_shows_its_lines_and_where_the_first_is(self) -> None:
        trace = ["ERROR payment refused", *(line.format(7) for line in self.PYTHON)]
        lines = list(calm(1, "shop", messages(20, 1, rate=60.0), 45))
        values = [fluentbit_line(BEGIN_S + line.time_s, line.service, line.text) for line in lines]
        for number in range(60):
            moment_s = BEGIN_S + 45 * 60 + number / 2
            values += [fluentbit_line(moment_s + place / 1000, "shop", line) for place, line in enumerate(trace)]
        values += [fluentbit_line(BEGIN_S + 46 * 60 + 30 * step, "shop", "the end") for step in range(9)]
        opened, *_ = tell(log_pipeline(), values).opened
        assert opened["template"]["text"] == "ERROR payment refused shop.stock.OutOfStockError stock.py:take"
        assert opened["template"]["observed"] == 60
        sample = opened["samples"][0]
        assert sample["line"].splitlines()[:2] == trace[:2]
        assert json.loads(values[sample["offset"]])["log"] == trace[0] + "\n"

    def test_partial_lines_of_a_container_are_put_together(self) -> None:
        values = []
        for second in range(8):
            head = f"2026-01-01T00:00:{second:02d}.000000000Z stdout".encode()
            values += [head + b" P order %d was pl" % second, head + b" P aced by some", head + b" F body in a hurry"]
        values.append(b"2026-01-01T00:10:00.000000000Z stdout F order 9 was placed by somebody in a hurry")
        pipeline = log_pipeline()
        told = tell(pipeline, values)
        assert told.total("lines_joined") == 8 * 2
        (found,) = templates_of(pipeline).values()
        assert list(found.values()) == ["order <*> was placed by somebody in a hurry"]


class TestIds:
    def test_they_are_the_same_after_a_restart_and_for_another_worker(self) -> None:
        said = messages(40, 1, rate=200.0)
        values = records_of(calm(1, "shop", said, 6))
        first, other = log_pipeline(), log_pipeline()
        half = len(values) // 2
        told = tell(first, values[:half])
        restored = log_pipeline()
        assert restored.restore(snapshot_of(first, told.offset), cluster="c") == half
        assert templates_of(restored) == templates_of(first)
        tell(restored, values[half:], told=Told(offset=half))
        tell(other, values)
        assert templates_of(restored) == templates_of(other)
        assert len(templates_of(other)["shop"]) == 40
