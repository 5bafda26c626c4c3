"""The event: its ids, its words, its numbers."""

import doctest
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from detector.batches import TIMESTAMP_UNKNOWN, SeriesIdentity, Transition
from detector.encoders import CloudEventsEncoder, Provenance, wording
from detector.encoders.examples import CLOSED, IDENTITY, MINUTE_MS, MODEL, NO_DATA, OPENED, RESUMED, STARTED_MS, UPDATED
from detector.encoders.topology import topology_of
from detector.encoders.wording import reasons_for, rfc3339, subject_of, summarise
from detector.errors import UsageError

PROVENANCE = Provenance("metrics", 3, 9_918_231, OPENED.time_ms + 1_000)
BARE = SeriesIdentity("queue.depth", {}, "queue.depth", "00000000000000aa")


def encoded(
    transition: Transition = OPENED, identity: SeriesIdentity = IDENTITY, provenance: Provenance = PROVENANCE
) -> dict[str, Any]:
    event = CloudEventsEncoder("/detector/prod-eu").encode(transition, identity, "default", MODEL, provenance)
    decoded: dict[str, Any] = json.loads(event.value)
    return decoded


class TestEnvelope:
    def test_attributes_are_those_of_cloudevents(self) -> None:
        event = encoded()
        data = event.pop("data")
        assert event.pop("id")
        assert event == {
            "specversion": "1.0",
            "source": "/detector/prod-eu",
            "type": "detector.anomaly.opened.v1",
            "subject": f"series/{IDENTITY.fingerprint}",
            "time": "2026-11-22T00:04:00.000Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:detector:schemas:anomaly.v1#/$defs/Anomaly",
            "partitionkey": IDENTITY.fingerprint,
            "sequence": "00000001",
            "severitytext": "ERROR",
            "severitynumber": 17,
        }
        assert (data["state"], data["kind"], data["direction"]) == ("opened", "metric.spike", "up")

    def test_severities_have_opentelemetrys_words_and_numbers(self) -> None:
        warning = encoded(replace(OPENED, severity="warning"))
        critical = encoded(replace(OPENED, severity="critical"))
        assert (warning["severitytext"], warning["severitynumber"]) == ("WARN", 13)
        assert (critical["severitytext"], critical["severitynumber"]) == ("FATAL", 21)

    @pytest.mark.parametrize("source", ["", "two words", "/x\n"])
    def test_a_source_that_is_no_uri_is_refused(self, source: str) -> None:
        with pytest.raises(UsageError, match="without white space"):
            CloudEventsEncoder(source)


class TestIds:
    def test_the_id_changes_with_every_fact_that_makes_a_transition(self) -> None:
        others = [
            encoded(replace(OPENED, sequence=2)),
            encoded(replace(OPENED, kind="metric.dip")),
            encoded(replace(OPENED, started_ms=STARTED_MS + 1)),
            encoded(identity=replace(IDENTITY, fingerprint="0" * 16)),
            encoded(provenance=PROVENANCE._replace(topic="other")),
            encoded(provenance=PROVENANCE._replace(partition=4)),
            encoded(provenance=PROVENANCE._replace(offset=5)),
        ]
        assert len({event["id"] for event in (encoded(), *others)}) == 8

    def test_the_id_does_not_change_with_scores_or_models(self) -> None:
        event = CloudEventsEncoder("/elsewhere").encode(
            replace(OPENED, score=1.0, deviation=9.0), IDENTITY, "p", MODEL._replace(version=2), PROVENANCE
        )
        assert json.loads(event.value)["id"] == encoded()["id"]

    def test_one_episode_keeps_its_id_and_key_through_its_life(self) -> None:
        for name in ("episode_id", "dedupe_key", "fingerprint"):
            assert encoded(OPENED)["data"][name] == encoded(UPDATED)["data"][name] == encoded(CLOSED)["data"][name]

    def test_fingerprints_tell_kinds_apart_and_nothing_else(self) -> None:
        spike, dip = encoded()["data"], encoded(replace(OPENED, kind="metric.dip"))["data"]
        later = encoded(replace(OPENED, started_ms=0, score=51.0))["data"]
        assert spike["fingerprint"] != dip["fingerprint"]
        assert spike["fingerprint"] == later["fingerprint"]
        assert spike["episode_id"] != later["episode_id"]


class TestNumbers:
    def test_every_digit_survives(self) -> None:
        value = 0.1 + 0.2
        assert encoded(replace(OPENED, observed=value))["data"]["observed"] == value

    def test_unknown_numbers_are_null(self) -> None:
        nan = math.nan
        evicted = replace(CLOSED, end_reason="evicted", score=nan, deviation=nan, expected=nan, lower=nan, upper=nan)
        data = encoded(replace(evicted, interval_ms=nan))["data"]
        assert [data[name] for name in ("score", "deviation", "expected", "lower", "upper")] == [None] * 5
        assert data["impact"] == {"abs": None, "rel": None}
        assert data["evidence"]["band"] == [None, None]
        assert data["window"]["interval_s"] is None
        assert data["quality"]["warm_up"]

    def test_impact_is_signed_and_relative_to_the_size_of_the_expected(self) -> None:
        data = encoded(replace(OPENED, observed=-6.0, expected=-4.0))["data"]
        assert data["impact"] == {"abs": -2.0, "rel": -0.5}
        assert encoded(replace(OPENED, expected=0.0))["data"]["impact"]["rel"] is None

    def test_times_beyond_the_calendar_are_clamped(self) -> None:
        assert rfc3339(-(2**62)) == "0001-01-01T00:00:00.000Z"
        assert rfc3339(2**62) == "9999-12-31T23:59:59.999Z"
        assert rfc3339(-1) == "1969-12-31T23:59:59.999Z"

    def test_late_is_more_than_two_intervals_behind(self) -> None:
        at = OPENED.time_ms + 2 * MINUTE_MS
        assert not encoded(provenance=PROVENANCE._replace(record_timestamp_ms=at))["data"]["quality"]["late"]
        assert encoded(provenance=PROVENANCE._replace(record_timestamp_ms=at + 1))["data"]["quality"]["late"]
        unknown = PROVENANCE._replace(record_timestamp_ms=TIMESTAMP_UNKNOWN)
        assert not encoded(provenance=unknown)["data"]["quality"]["late"]


class TestSilence:
    def test_it_stands_in_events_about_silence_and_in_no_others(self) -> None:
        assert encoded(NO_DATA)["data"]["silence"] == {
            "since": "2026-11-22T00:26:00.000Z",
            "length_s": 360.0,
            "gap_s": 61.0,
            "last_value": 0.31,
        }
        assert encoded(RESUMED)["data"]["silence"]["length_s"] == 1500.0
        for reason in ("silent", "expired"):
            assert encoded(replace(CLOSED, end_reason=reason))["data"]["silence"]["last_value"] == 0.33
        for transition in (OPENED, UPDATED, CLOSED, replace(CLOSED, end_reason="evicted")):
            assert encoded(transition)["data"]["silence"] is None

    def test_it_has_neither_direction_nor_peak_nor_numbers_of_a_sample(self) -> None:
        data = encoded(NO_DATA)["data"]
        assert (data["direction"], data["peak"]) == (None, None)
        assert [data[name] for name in ("observed", "score", "expected", "lower", "upper")] == [None] * 5
        assert (data["window"]["points"], data["window"]["anomalous_points"]) == (0, 0)

    def test_it_is_the_only_reason(self) -> None:
        (reason,) = reasons_for(NO_DATA)
        assert (reason.code, reason.weight) == ("silent", 1.0)
        assert reason.text == "no sample for 6 min; usually at most 1 min 1 s apart"

    def test_its_fingerprint_is_its_own_and_its_ids_hold(self) -> None:
        opened, closed = encoded(NO_DATA), encoded(RESUMED)
        assert opened["data"]["fingerprint"] != encoded(OPENED)["data"]["fingerprint"]
        assert opened["data"]["episode_id"] == closed["data"]["episode_id"]
        assert opened["id"] != closed["id"]


class TestReasons:
    def test_the_deviation_is_weighed_against_the_share_of_anomalous_points(self) -> None:
        reasons = reasons_for(replace(OPENED, peak_deviation=3.0, points=8, anomalous_points=6))
        assert [(reason.code, reason.weight) for reason in reasons] == [("above_band", 0.5), ("sustained", 0.5)]
        short = reasons_for(replace(OPENED, peak_deviation=9.0, points=10, anomalous_points=1))
        assert [(reason.code, reason.weight) for reason in short] == [("above_band", 0.9), ("sustained", 0.1)]

    def test_novelty_is_a_reason_where_the_learner_has_it(self) -> None:
        reasons = reasons_for(replace(OPENED, novelty=99.0))
        assert reasons[1].code == "novel"
        assert [reason.code for reason in reasons_for(replace(OPENED, novelty=0.0))] == ["sustained", "above_band"]

    def test_the_side_is_named_where_it_is_known(self) -> None:
        dip = reasons_for(replace(OPENED, kind="metric.dip", peak_deviation=math.inf))
        assert {reason.code for reason in dip} == {"below_band", "sustained"}
        assert reasons_for(replace(OPENED, peak_expected=math.nan))[1].code == "outside_band"

    @pytest.mark.parametrize("deviation", [1e-9, 1.0, 1.7, 3.14159, 1e300, math.inf])
    @pytest.mark.parametrize(("points", "anomalous"), [(1, 1), (7, 3), (10_000, 1)])
    @pytest.mark.parametrize("novelty", [math.nan, 0.3, math.inf])
    def test_weights_sum_to_one_heaviest_first(
        self, deviation: float, points: int, anomalous: int, novelty: float
    ) -> None:
        reasons = reasons_for(
            replace(OPENED, peak_deviation=deviation, points=points, anomalous_points=anomalous, novelty=novelty)
        )
        weights = [reason.weight for reason in reasons]
        assert math.isclose(sum(weights), 1.0, abs_tol=1e-12)
        assert weights == sorted(weights, reverse=True)
        assert all(0.0 <= weight <= 1.0 for weight in weights)


class TestSummary:
    def test_an_opening_says_how_bad_what_is_normal_and_since_when(self) -> None:
        assert encoded()["data"]["summary"] == (
            "http.server.request.duration.p95 of checkout is 1.84 s, 3.12 times its band above the expected 0.31 s "
            "(normal 0.18 to 0.8 s), since 2026-11-22 00:02:00Z; 3 of 3 points anomalous"
        )

    def test_a_dip_without_a_unit_is_below(self) -> None:
        dip = replace(OPENED, kind="metric.dip", observed=0.0, expected=120.0, lower=80.0, upper=160.0, deviation=3.0)
        assert summarise(dip, BARE, topology_of({})) == (
            "queue.depth is 0, 3 times its band below the expected 120 (normal 80 to 160), "
            "since 2026-11-22 00:02:00Z; 3 of 3 points anomalous"
        )

    def test_an_update_inside_the_band_tells_the_peak_instead(self) -> None:
        lull = replace(UPDATED, observed=0.4, deviation=0.2, flapping=True)
        assert summarise(lull, BARE, topology_of({})) == (
            "queue.depth is 0.4, inside its band for the moment (normal 0.18 to 0.8), flapping between normal and "
            "anomalous; peak 5.25, 10.1 times its band above the expected 0.31, at 2026-11-22 00:06:00Z; "
            "5 of 5 points anomalous since 2026-11-22 00:02:00Z"
        )

    def test_a_recovery_says_how_long_it_lasted(self) -> None:
        assert summarise(CLOSED, BARE, topology_of({})).startswith(
            "queue.depth is back to normal at 0.33 (normal 0.18 to 0.8) after 9 min; peak 5.25"
        )

    def test_an_eviction_claims_no_recovery(self) -> None:
        text = summarise(replace(CLOSED, end_reason="evicted", expected=math.nan), BARE, topology_of({}))
        assert text.startswith("queue.depth had not recovered when the detector stopped following it (last value 0.33)")

    def test_an_episode_that_ends_in_silence_claims_no_recovery_either(self) -> None:
        later = replace(CLOSED, time_ms=CLOSED.time_ms + 90 * MINUTE_MS, observed=math.nan)
        silent = summarise(replace(later, end_reason="silent"), BARE, topology_of({}))
        assert silent.startswith(
            "queue.depth had not recovered when it fell silent (last value 0.33, nothing for 1 h 30 min); peak 5.25"
        )
        expired = summarise(replace(later, end_reason="expired"), BARE, topology_of({}))
        assert "had not recovered when it was forgotten (last value 0.33, nothing for 1 h 30 min)" in expired

    def test_no_data_says_for_how_long_and_what_came_last(self) -> None:
        assert encoded(NO_DATA)["data"]["summary"] == (
            "http.server.request.duration.p95 of checkout has sent nothing for 6 min "
            "(usually at most 1 min 1 s apart), last value 0.31 s at 2026-11-22 00:26:00Z"
        )
        assert encoded(RESUMED)["data"]["summary"] == (
            "http.server.request.duration.p95 of checkout sends again: 0.3 s after 25 min without data; "
            "last value 0.31 s at 2026-11-22 00:26:00Z"
        )
        evicted = replace(RESUMED, end_reason="evicted", observed=math.nan)
        assert summarise(evicted, BARE, topology_of({})) == (
            "queue.depth had not sent again when the detector stopped following it; "
            "last value 0.31 at 2026-11-22 00:26:00Z"
        )

    def test_a_learner_without_expected_values_makes_sense_too(self) -> None:
        blind = replace(OPENED, expected=math.nan, lower=math.nan, upper=math.nan)
        assert summarise(blind, BARE, topology_of({})).startswith(
            "queue.depth is 1.84, 3.12 times the edge of its normal band, since"
        )

    def test_a_series_without_an_owner_is_named_by_its_first_labels(self) -> None:
        identity = replace(BARE, labels={"zone": "a", "queue": "mail", "disk": "sda", "b": "1"})
        assert subject_of(identity, topology_of(identity.labels)) == "queue.depth{b=1, disk=sda, queue=mail}"

    def test_documented_examples_hold(self) -> None:
        outcome = doctest.testmod(wording)
        assert outcome.attempted > 0
        assert outcome.failed == 0


class TestTopology:
    @pytest.mark.parametrize(
        ("labels", "expected"),
        [
            (
                {
                    "service.name": "a",
                    "k8s.namespace.name": "b",
                    "k8s.cluster.name": "c",
                    "host.name": "d",
                    "job": "other",
                },
                ("a", "b", "c", "d"),
            ),
            ({"job": "a", "namespace": "b", "cluster": "c", "instance": "d:9100"}, ("a", "b", "c", "d:9100")),
            ({"app_kubernetes_io_name": "a", "k8s_namespace_name": "b", "node": "d"}, ("a", "b", None, "d")),
            ({"service": "", "app": "a"}, ("a", None, None, None)),
            ({}, (None, None, None, None)),
        ],
    )
    def test_well_known_labels_tell_where_a_series_belongs(
        self, labels: dict[str, str], expected: tuple[str | None, ...]
    ) -> None:
        topology = topology_of(labels)
        assert (topology.service, topology.namespace, topology.cluster, topology.host) == expected
