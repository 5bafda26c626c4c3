"""The event of log lines: its ids, its words, its numbers, its schema."""

import doctest
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from detector.batches import TIMESTAMP_UNKNOWN, SeriesIdentity
from detector.encoders import (
    LOG_ENCODERS,
    CloudEventsEncoder,
    LogCloudEventsEncoder,
    Provenance,
    log_wording,
    schema_documents,
)
from detector.encoders.examples import IDENTITY as METRIC_IDENTITY
from detector.encoders.examples import MINUTE_MS, OPENED, STARTED_MS
from detector.encoders.examples import MODEL as METRIC_MODEL
from detector.encoders.log_event import LogReasonCode
from detector.encoders.log_examples import (
    CALM,
    EXHAUSTED,
    FINDINGS,
    LOG_CLOSED,
    LOG_EPISODES,
    LOG_FORMAT,
    LOG_IDENTITY,
    LOG_MIX,
    LOG_MODEL,
    LOG_OPENED,
    LOG_SEVERITY,
    LOG_SURGE,
    LOG_UPDATED,
    LOG_VANISHED,
    TRACE,
)
from detector.encoders.log_wording import log_reasons_for, score_of, summarise_log
from detector.encoders.topology import topology_of
from detector.episodes import LogJudge, LogPolicy
from detector.errors import UsageError
from detector.log_batches import LOG_KINDS, SIGNALS, LogSample, LogTransition
from tests.log_findings import describe
from tests.unit.test_log_judge import feed, streams

PROVENANCE = Provenance("logs", 3, 9_918_231, LOG_OPENED.time_ms + 1_000)
SCHEMA = json.loads(schema_documents()["log_anomaly.v1.json"])
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
BARE = SeriesIdentity("logs", {}, "logs", "00000000000000aa")


def encoded(
    transition: LogTransition = LOG_OPENED,
    identity: SeriesIdentity = LOG_IDENTITY,
    provenance: Provenance = PROVENANCE,
) -> dict[str, Any]:
    event = LogCloudEventsEncoder("/detector/prod-eu").encode(transition, identity, "default", LOG_MODEL, provenance)
    decoded: dict[str, Any] = json.loads(event.value, parse_constant=refuse)
    VALIDATOR.validate(decoded)
    return decoded


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def summary(transition: LogTransition, identity: SeriesIdentity = LOG_IDENTITY) -> str:
    return summarise_log(transition, identity, topology_of(identity.labels), MINUTE_MS)


class TestEnvelope:
    def test_it_is_that_of_metrics_but_for_type_and_schema(self) -> None:
        event = encoded()
        data = event.pop("data")
        assert event.pop("id")
        assert event == {
            "specversion": "1.0",
            "source": "/detector/prod-eu",
            "type": "detector.log_anomaly.opened.v1",
            "subject": f"series/{LOG_IDENTITY.fingerprint}",
            "time": "2026-11-22T00:03:00.000Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:detector:schemas:log_anomaly.v1#/$defs/LogAnomaly",
            "partitionkey": LOG_IDENTITY.fingerprint,
            "sequence": "00000001",
            "severitytext": "ERROR",
            "severitynumber": 17,
        }
        assert (data["state"], data["kind"], data["direction"]) == ("opened", "log.new_template", "up")

    def test_what_is_the_same_as_in_the_event_of_metrics_has_the_same_name_and_type(self) -> None:
        metrics = json.loads(schema_documents()["anomaly.v1.json"])["$defs"]
        ours = SCHEMA["$defs"]
        common = set(metrics["Anomaly"]["properties"]) & set(ours["LogAnomaly"]["properties"])
        assert common >= {
            *("schema_version", "state", "kind", "summary", "fingerprint", "episode_id", "dedupe_key", "sequence"),
            *(
                "series",
                "topology",
                "window",
                "started_at",
                "detected_at",
                "ended_at",
                "end_reason",
                "score",
                "severity",
            ),
            *("direction", "observed", "expected", "peak", "reasons", "evidence", "model", "quality", "policy"),
            "provenance",
        }
        assert ours["Series"] == metrics["Series"]
        assert ours["Source"] == metrics["Source"]
        assert set(ours["LogAnomalyEvent"]["properties"]) == set(metrics["AnomalyEvent"]["properties"])

    @pytest.mark.parametrize("source", ["", "two words", "/x\n"])
    def test_a_source_that_is_no_uri_is_refused(self, source: str) -> None:
        with pytest.raises(UsageError, match="without white space"):
            LogCloudEventsEncoder(source)


class TestIds:
    def test_the_id_changes_with_every_fact_that_makes_a_transition(self) -> None:
        others = [
            encoded(replace(LOG_OPENED, sequence=2)),
            encoded(replace(LOG_OPENED, kind="log.surge")),
            encoded(replace(LOG_OPENED, started_ms=STARTED_MS + 1)),
            encoded(identity=replace(LOG_IDENTITY, fingerprint="0" * 16)),
            encoded(provenance=PROVENANCE._replace(topic="other")),
            encoded(provenance=PROVENANCE._replace(partition=4)),
            encoded(provenance=PROVENANCE._replace(offset=5)),
        ]
        assert len({event["id"] for event in (encoded(), *others)}) == 8

    def test_the_id_does_not_change_with_evidence_or_texts(self) -> None:
        assert encoded(replace(LOG_OPENED, evidence=9.0, templates=(), samples=()))["id"] == encoded()["id"]

    def test_one_episode_keeps_its_id_and_key_through_its_life(self) -> None:
        life = [encoded(each)["data"] for each in (LOG_OPENED, LOG_UPDATED, LOG_CLOSED)]
        for name in ("episode_id", "dedupe_key", "fingerprint"):
            assert len({data[name] for data in life}) == 1

    def test_fingerprints_tell_kinds_apart(self) -> None:
        assert len({encoded(replace(LOG_OPENED, kind=kind))["data"]["fingerprint"] for kind in LOG_KINDS}) == 6


class TestLaws:
    """Those of every encoder (tests/contracts/test_encoder_laws.py), for transitions of log lines."""

    @pytest.mark.parametrize("name", sorted(LOG_ENCODERS))
    def test_equal_arguments_give_equal_bytes_under_the_series_key(self, name: str) -> None:
        one, other = LOG_ENCODERS[name]("/detector/test"), LOG_ENCODERS[name]("/detector/test")
        other.encode(LOG_CLOSED, BARE, "other", LOG_MODEL, PROVENANCE)
        event = one.encode(LOG_OPENED, LOG_IDENTITY, "default", LOG_MODEL, PROVENANCE)
        assert event == other.encode(replace(LOG_OPENED), replace(LOG_IDENTITY), "default", LOG_MODEL, PROVENANCE)
        assert event.key == LOG_IDENTITY.fingerprint.encode()
        assert one.content_type == "application/cloudevents+json; charset=utf-8"

    @pytest.mark.parametrize("name", sorted(LOG_ENCODERS))
    def test_an_event_names_its_episode_and_what_happened_to_it(self, name: str) -> None:
        encoder = LOG_ENCODERS[name]("/detector/test")
        life = [
            encoder.encode(each, LOG_IDENTITY, "default", LOG_MODEL, PROVENANCE)
            for each in (LOG_OPENED, LOG_UPDATED, LOG_CLOSED)
        ]
        assert [event.state for event in life] == ["opened", "updated", "closed"]
        assert len({event.episode for event in life}) == 1
        assert len({event.value for event in life}) == 3

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(windows=streams(), timestamp_ms=st.just(TIMESTAMP_UNKNOWN) | st.integers(-(2**62), 2**62))
    def test_whatever_the_judge_says_makes_an_event_of_the_schema(self, windows: list[Any], timestamp_ms: int) -> None:
        judge = LogJudge((LogPolicy("any", cooldown_s=0.0, update_interval_s=0.0),))
        for slot in range(3):
            judge.open_slot(slot, 0)
        transitions = [*feed(judge, windows), *judge.evict(range(3), 0, STARTED_MS + 10**8, "expired")]
        ids = set()
        for transition in transitions:
            identity = replace(BARE, fingerprint=f"{transition.slot:016x}")
            provenance = Provenance("logs", 0, transition.row, timestamp_ms)
            ids.add(encoded(transition, identity, provenance)["id"])
        assert len(ids) == len(transitions)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(
        text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        labels=st.dictionaries(st.sampled_from(["service.name", "host", "x"]), st.text("ab\n\"'", max_size=9)),
        transition=st.sampled_from(list(LOG_EPISODES.values())),
        numbers=st.floats(allow_nan=True, allow_infinity=True),
    )
    def test_any_text_and_any_number_make_an_event_of_the_schema(
        self, text: str, labels: dict[str, str], transition: LogTransition, numbers: float
    ) -> None:
        template = EXHAUSTED._replace(text=text, finding=EXHAUSTED.finding._replace(expected=numbers, share=numbers))
        sample = LogSample(1, STARTED_MS, 0, 99, text, text)
        odd = replace(transition, templates=(template,), samples=(sample,), evidence=numbers, peak_evidence=numbers)
        data = encoded(odd, SeriesIdentity("logs", labels, "logs", "0" * 16))["data"]
        assert data["samples"][0]["trace_id"] == text
        assert "\n" not in data["summary"].replace(labels.get("service.name", ""), "").replace(
            labels.get("host", ""), ""
        )


class TestNumbers:
    def test_the_score_grows_strictly_with_the_evidence(self) -> None:
        digits = [0.0, 0.1, 4.0, 6.0, 8.0, 30.0, 300.0, 309.0, 310.0, 1e6]
        scores = [score_of(each) for each in digits]
        assert scores == sorted(set(scores))
        assert (scores[0], scores[3]) == (0.0, 50.0)
        assert max(scores) < 100.0
        assert score_of(math.inf) == 100.0
        assert math.isnan(score_of(math.nan))

    def test_this_window_and_the_worst_one_stand_beside_each_other(self) -> None:
        data = encoded(LOG_UPDATED)["data"]
        assert (data["observed"], data["expected"]) == (231, 246.5)
        assert data["peak"] == {
            "score": 80.0,
            "neg_log10_p": 24.0,
            "observed": 247,
            "expected": 246.5,
            "at": "2026-11-22T00:02:00.000Z",
        }
        assert data["contributions"] == {**dict(zip(SIGNALS, FINDINGS.signals, strict=True)), "combined": 30.5}
        assert data["evidence"] == {"neg_log10_p": 0.0, "combined": 29.25, "fault_score": 28.5, "windows_seen": 43_205}
        assert data["window"] == {
            "start": "2026-11-22T00:02:00.000Z",
            "end": "2026-11-22T00:08:00.000Z",
            "windows": 6,
            "anomalous_windows": 6,
            "length_s": 60.0,
        }

    def test_the_leading_template_and_the_others_are_told(self) -> None:
        data = encoded()["data"]
        assert data["template"] == {
            "id": "8d1f0a6e2b94c753",
            "text": "connection pool exhausted after <*> ms, <*> waiting",
            "first_seen": "2026-11-22T00:02:00.000Z",
            "total_count": 42,
            "observed": 42,
            "expected": 0.0,
            "severity": "error",
            "new": True,
        }
        assert [(each["id"], each["share"], each["usual_share"]) for each in data["templates"]] == [
            ("8d1f0a6e2b94c753", 0.17, 0.0),
            ("27c4b1e05f3d8a96", 0.25, 0.48),
        ]
        assert data["severities"][4] == {"severity": "error", "observed": 42, "usual": 0.75}
        assert data["changes"] == {"new_templates": 1, "vanished_templates": 0}

    def test_samples_know_their_record_trace_and_template(self) -> None:
        first, second, third = encoded()["data"]["samples"]
        assert first == {
            "line": "connection pool exhausted after 3000 ms, 17 waiting",
            "time": "2026-11-22T00:02:01.204Z",
            "severity": "error",
            "offset": 9_918_104,
            "trace_id": TRACE,
            "template_id": "8d1f0a6e2b94c753",
        }
        assert second["trace_id"] is None
        assert third["template_id"] == "27c4b1e05f3d8a96"
        alone = encoded(replace(LOG_OPENED, templates=()))["data"]
        assert [each["template_id"] for each in alone["samples"]] == [None] * 3
        assert alone["template"] is None

    def test_both_histograms_end_with_the_same_window(self) -> None:
        now = encoded(LOG_UPDATED)["data"]["histogram"]
        assert (now["end"], now["template"][-2:]) == ("2026-11-22T00:08:00.000Z", [44, 51])
        later = encoded(LOG_CLOSED)["data"]["histogram"]
        assert (later["end"], later["template"][-2:]) == ("2026-11-22T00:03:00.000Z", [0, 42])
        assert later["service"][-3:] == [252, 244, 247]
        bare = encoded(replace(LOG_CLOSED, templates=()))["data"]["histogram"]
        assert (bare["end"], bare["template"], len(bare["service"])) == ("2026-11-22T00:14:00.000Z", None, 30)

    def test_long_texts_are_cut(self) -> None:
        long = replace(
            LOG_OPENED,
            templates=(EXHAUSTED._replace(text="x" * 9_000),),
            samples=(LogSample(1, STARTED_MS, 0, 41, None, "y" * 9_000),),
        )
        data = encoded(long)["data"]
        texts = (data["template"]["text"], data["templates"][0]["text"], data["samples"][0]["line"])
        assert [(len(text), text[-1]) for text in texts] == [(4_096, "…")] * 3
        assert len(data["summary"]) < 250

    def test_an_eviction_has_no_window_of_its_own(self) -> None:
        data = encoded(replace(LOG_CLOSED, end_reason="evicted", findings=None, evidence=math.nan))["data"]
        assert (data["observed"], data["expected"], data["score"]) == (None, None, None)
        assert data["evidence"] == {"neg_log10_p": None, "combined": None, "fault_score": None, "windows_seen": 43_200}
        assert data["peak"]["observed"] == 247

    def test_quality_tells_what_to_keep_in_mind(self) -> None:
        assert encoded()["data"]["quality"] == {"warm_up": False, "late": False, "interim": True}
        assert not encoded(LOG_CLOSED)["data"]["quality"]["interim"]
        at = LOG_OPENED.time_ms + 2 * MINUTE_MS
        assert not encoded(provenance=PROVENANCE._replace(record_timestamp_ms=at))["data"]["quality"]["late"]
        assert encoded(provenance=PROVENANCE._replace(record_timestamp_ms=at + 1))["data"]["quality"]["late"]
        unknown = PROVENANCE._replace(record_timestamp_ms=TIMESTAMP_UNKNOWN)
        assert not encoded(provenance=unknown)["data"]["quality"]["late"]
        young = replace(LOG_CLOSED, findings=replace(CALM, ready=False))
        assert encoded(young)["data"]["quality"]["warm_up"]


POOL = '"connection pool exhausted after <*> ms, <*> waiting"'
ORDER = '"order <*> placed by <*> in <*> ms"'
REWORDED = '"order placed id=<*> user=<*> took_ms=<*>"'
SHARES = "is 25 % of 247 lines, usually 48 %"
CAME_AND_WENT = "38 new templates and 37 vanished templates"


class TestSummary:
    @pytest.mark.parametrize(
        ("transition", "words"),
        [
            (
                LOG_OPENED,
                f"checkout: new template at error: {POOL} 42 times in 60 s, never seen before",
            ),
            (
                LOG_SEVERITY,
                f"checkout: 42 lines at error in 60 s, usually 0.75; most telling {POOL}",
            ),
            (
                LOG_SURGE,
                'checkout: template at info: "order <*> placed by <*> in <*> ms" 1204 times in 60 s, 118 expected',
            ),
            (
                LOG_VANISHED,
                'checkout: template "order <*> placed by <*> in <*> ms" has vanished: no lines in 60 s, 118 expected',
            ),
            (
                LOG_MIX,
                f"checkout: its lines have shifted between templates in 60 s: {ORDER} {SHARES}",
            ),
            (
                LOG_FORMAT,
                f"checkout: its lines are worded anew: {CAME_AND_WENT} in 60 s, such as {REWORDED}",
            ),
        ],
    )
    def test_an_opening_says_what_stands_out(self, transition: LogTransition, words: str) -> None:
        assert summary(transition) == words

    def test_an_opening_after_more_windows_says_since_when(self) -> None:
        assert summary(replace(LOG_OPENED, windows=2)).endswith(", since 2026-11-22 00:02:00Z")

    def test_an_update_says_how_long_it_has_lasted_and_what_there_is_of_it(self) -> None:
        text = summary(LOG_UPDATED)
        assert text.endswith(
            "never seen before, at 2026-11-22 00:02:00Z, 51 times in the last window; for 6 min, since "
            "2026-11-22 00:02:00Z"
        )
        unlisted = replace(LOG_UPDATED, findings=replace(CALM, templates=()))
        assert ", 249 lines in the last window, 246 expected;" in summary(unlisted)
        at_its_worst = replace(LOG_UPDATED, findings=LOG_UPDATED.peak)
        assert "in the last window" not in summary(at_its_worst)

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("recovered", "checkout: is back to normal after 9 min; at its worst new template at error: "),
            ("accepted", "checkout: is taken as normal from here on, after 9 min; "),
            ("superseded", "checkout: turns out to be a change of its wording after 9 min; "),
            ("silent", "checkout: had not recovered when it fell silent after 9 min; "),
            ("expired", "checkout: had not recovered when it was forgotten after 9 min; "),
            ("evicted", "checkout: had not recovered when the detector stopped following it after 9 min; "),
        ],
    )
    def test_a_close_says_how_it_ended_and_how_bad_it_was(self, reason: Any, words: str) -> None:
        text = summary(replace(LOG_CLOSED, end_reason=reason))
        assert text.startswith(words)
        assert text.endswith(", at 2026-11-22 00:02:00Z")

    def test_a_rare_template_is_not_called_new(self) -> None:
        rare = EXHAUSTED._replace(finding=EXHAUSTED.finding._replace(new=False, observed=1, total=4))
        assert "rare template at error: " in summary(replace(LOG_OPENED, templates=(rare,)))
        assert "once in 60 s, 3 times before, since 2026-11-22" in summary(replace(LOG_OPENED, templates=(rare,)))

    def test_other_new_templates_are_counted(self) -> None:
        for count, words in ((3, "; 2 other new templates with it"), (2, "; 1 other new template with it")):
            peak = replace(FINDINGS, new_templates=count)
            assert summary(replace(LOG_OPENED, peak=peak)).endswith(words)

    def test_what_the_whole_service_does_is_told_of_the_service(self) -> None:
        quiet = EXHAUSTED._replace(finding=EXHAUSTED.finding._replace(observed=2, expected=1.5, new=False))
        loud = replace(LOG_SURGE.peak, lines=4_200, expected_lines=900.0)
        assert summary(replace(LOG_SURGE, peak=loud, templates=(quiet,))) == (
            "checkout: 4200 lines in 60 s, 900 expected"
        )
        gone = replace(LOG_VANISHED.peak, lines=0, expected_lines=900.0)
        assert summary(replace(LOG_VANISHED, peak=gone, templates=())) == "checkout: no lines in 60 s, 900 expected"

    def test_shares_that_change_without_counts_are_told_as_shares(self) -> None:
        (order,) = LOG_SURGE.templates
        fewer = replace(LOG_SURGE.peak, lines=100, expected_lines=250.0)
        lead = order._replace(finding=order.finding._replace(observed=60, expected=60.0, share=0.6, usual_share=0.24))
        assert summary(replace(LOG_SURGE, peak=fewer, templates=(lead,))) == (
            f"checkout: template {ORDER} is 60 % of 100 lines in 60 s, usually 24 %"
        )
        more = replace(LOG_VANISHED.peak, lines=500, expected_lines=250.0)
        lead = order._replace(finding=order.finding._replace(observed=60, expected=60.0, share=0.12, usual_share=0.24))
        assert summary(replace(LOG_VANISHED, peak=more, templates=(lead,))) == (
            f"checkout: template {ORDER} is 12 % of 500 lines in 60 s, usually 24 %"
        )

    def test_every_kind_has_words_without_templates(self) -> None:
        for transition in LOG_EPISODES.values():
            assert summary(replace(transition, templates=())).startswith("checkout: ")
        calm = replace(LOG_SEVERITY.peak, severities=CALM.severities, usual_severities=(0.0, 0.0, 244.0, 3.0, 1.0, 0.0))
        assert "lines of a worse severity than usual among 247 lines" in summary(replace(LOG_SEVERITY, peak=calm))

    def test_a_service_without_labels_has_a_name(self) -> None:
        assert summary(LOG_OPENED, BARE).startswith("logs: new template")


class TestReasons:
    def test_the_strongest_signals_are_told_with_their_numbers(self) -> None:
        reasons = log_reasons_for(LOG_OPENED)
        assert [reason.code for reason in reasons] == ["severity", "new", "mix", "count_down", "rare"]
        assert reasons[0].text == (
            "lines by severity: info 203 (usually 244), warning 2 (usually 2.5), error 42 (usually 0.75); p = 10^-31.2"
        )
        assert reasons[3].text == '"order <*> placed by <*> in <*> ms": 61 lines, 118 expected; p = 10^-5.75'

    @pytest.mark.parametrize("name", sorted(LOG_EPISODES))
    def test_weights_sum_to_one_and_fall(self, name: str) -> None:
        weights = [reason.weight for reason in log_reasons_for(LOG_EPISODES[name])]
        assert round(sum(weights), 9) == 1.0
        assert weights == sorted(weights, reverse=True)

    def test_where_no_signal_is_strong_all_of_them_are_the_reason(self) -> None:
        weak = replace(LOG_OPENED, peak=replace(FINDINGS, signals=(0.9,) * 9, combined=6.25))
        (reason,) = log_reasons_for(weak)
        assert (reason.code, reason.weight, reason.text) == ("combined", 1.0, "all signals together, p = 10^-6.25")

    def test_a_signal_of_no_listed_template_is_told_of_the_service(self) -> None:
        surge = replace(LOG_OPENED, peak=replace(FINDINGS, signals=(9.0, *(0.0,) * 8), lines=900))
        assert log_reasons_for(surge)[0].text == "900 lines, 246 expected; p = 10^-9"
        nothing = replace(surge, templates=())
        assert log_reasons_for(nothing)[0].text == "900 lines, 246 expected; p = 10^-9"

    def test_every_signal_has_a_code(self) -> None:
        assert {*SIGNALS, "combined"} == set(LogReasonCode.__args__)  # type: ignore[attr-defined] # a Literal has them
        assert list(log_wording.REASON_CODES) == list(SIGNALS)


class TestSchema:
    def test_every_field_is_described(self) -> None:
        for definition in SCHEMA["$defs"].values():
            for name, field in definition["properties"].items():
                assert "description" in field, name

    @pytest.mark.parametrize("path", ["data", "id", "data.summary", "data.template", "data.window.windows"])
    def test_a_missing_field_is_refused(self, path: str) -> None:
        event = encoded()
        *parents, last = path.split(".")
        holder = event
        for parent in parents:
            holder = holder[parent]
        del holder[last]
        with pytest.raises(ValidationError, match=f"'{last}' is a required property"):
            VALIDATOR.validate(event)

    def test_events_of_metrics_and_of_lines_do_not_pass_for_one_another(self) -> None:
        ours = encoded()
        theirs = Draft202012Validator(json.loads(schema_documents()["anomaly.v1.json"]))
        assert not theirs.is_valid(ours)
        metrics = CloudEventsEncoder("/detector/test")
        from_metrics = json.loads(metrics.encode(OPENED, METRIC_IDENTITY, "default", METRIC_MODEL, PROVENANCE).value)
        assert theirs.is_valid(from_metrics)
        assert not VALIDATOR.is_valid(from_metrics)


def test_examples_run() -> None:
    assert doctest.testmod(log_wording).failed == 0
    assert doctest.testmod(log_wording).attempted >= 2


def test_describe_for_tests_keeps_the_order_of_the_findings() -> None:
    templates, _ = describe(FINDINGS)
    assert [each.finding for each in templates] == list(FINDINGS.templates)
