"""One partition's pipeline: accounting, eviction, watermark and events that explain themselves."""

import msgspec
import numpy as np
import pytest

from detector.batches import WATERMARK_NONE, Output
from detector.episodes import Policy
from tests.pipelines import pipeline
from tests.streams import batch_of, cuts, record

START_S = 1_750_000_000


def incident(series: str = "a", turns: int = 80, step_at: int = 60) -> list[bytes]:
    """A calm series that jumps far up for twenty minutes."""
    random = np.random.default_rng(1)
    return [
        record(
            "m", START_S + 60 * turn, 10.0 + random.normal() + (90.0 if turn >= step_at else 0.0), {"service": series}
        )
        for turn in range(turns)
    ]


def events_of(output: Output) -> list[dict[str, object]]:
    return [msgspec.json.decode(event.value) for event in output.events]


class TestEpisodes:
    def test_a_jump_opens_one_episode_that_can_be_understood(self) -> None:
        output = pipeline().process(batch_of(incident()))
        first = events_of(output)[0]
        assert first["type"] == "detector.anomaly.opened.v1"
        data = first["data"]
        assert isinstance(data, dict)
        assert data["series"]["metric"] == "m"
        assert data["topology"]["service"] == "a"
        assert data["lower"] < data["expected"] < data["upper"] < data["observed"]
        assert data["provenance"] == {"input_topic": "metrics", "partition": 0, "offset": 60 + 2}
        assert output.counts.opened == 1

    def test_an_evicted_series_closes_its_episode(self) -> None:
        subject = pipeline(series_limit=1)
        subject.process(batch_of(incident()))
        assert subject.open_episodes == 1
        output = subject.process(batch_of([record("m", START_S + 99_999, 1, {"service": "b"})], first_offset=80))
        assert subject.open_episodes == 0
        closed = events_of(output)[-1]["data"]
        assert isinstance(closed, dict)
        assert (closed["state"], closed["end_reason"]) == ("closed", "evicted")
        assert output.counts.series_evicted == 1
        assert subject.series_count == 1


class TestAccounting:
    def test_rejects_of_decoder_and_labels_come_once_per_record_in_order(self) -> None:
        records = [
            b"garbage",
            record("m", START_S, 1, {"a": {"b": 1}}),
            b'[{"name":"m","time":1,"value":null},{"name":"m","time":1,"value":1,"labels":[]}]',
            record("m", START_S, 1),
        ]
        output = pipeline().process(batch_of(records))
        assert [(reject.row, reject.reason) for reject in output.rejects] == [
            (0, "invalid_json"),
            (1, "wrong_type"),
            (2, "missing_field"),
        ]
        assert output.counts.scored == 1

    def test_a_batch_that_is_decoded_in_pieces_is_counted(self) -> None:
        good = [record("m", START_S + turn, 1) for turn in range(3)]
        assert pipeline().process(batch_of(good)).counts.decoder_fallbacks == 0
        assert pipeline().process(batch_of([*good, b"garbage"])).counts.decoder_fallbacks == 1

    def test_the_next_offset_follows_the_last_record_even_over_gaps(self) -> None:
        batch = batch_of([record("m", START_S, 1)], first_offset=41)
        assert pipeline().process(batch).next_offset == 42

    def test_the_watermark_is_the_largest_accepted_time(self) -> None:
        subject = pipeline()
        assert subject.watermark_ms == WATERMARK_NONE
        subject.process(batch_of([record("m", 20, 1), record("m", 10, 1), b"garbage"]))
        assert subject.watermark_ms == 20_000

    def test_another_partitions_batch_is_our_own_mistake(self) -> None:
        with pytest.raises(AssertionError):
            pipeline(partition=1).process(batch_of([record("m", 1, 1)]))


class TestTimers:
    """Expiry of idle series, and what moves the watermark."""

    DAY_S = 86_400

    def test_an_idle_series_is_forgotten_and_its_episode_closed(self) -> None:
        subject = pipeline(idle_expiry_ms=1000 * self.DAY_S, policies=[Policy("p", silence_close_s=0.0)])
        subject.process(batch_of(incident()))
        last_s = START_S + 60 * 79
        others = [record("m", last_s + 60 * turn, 1, {"service": "b"}) for turn in range(1, 1443)]
        output = subject.process(batch_of(others, first_offset=80))
        closed = events_of(output)[-1]["data"]
        assert isinstance(closed, dict)
        assert (closed["state"], closed["end_reason"]) == ("closed", "expired")
        assert closed["provenance"]["offset"] == 80 + 1440, "the first row whose grid point is past a day of silence"
        assert closed["silence"]["length_s"] > self.DAY_S
        assert closed["ended_at"] == closed["silence"]["since"]
        assert output.counts.series_expired == 1
        assert (subject.series_count, subject.open_episodes) == (1, 0)

    def test_its_slot_is_there_for_the_row_that_made_it_expire(self) -> None:
        subject = pipeline(series_limit=2, idle_expiry_ms=1000 * self.DAY_S)
        rows = [record("m", START_S + turn * 43_000, 1, {"service": name}) for turn, name in enumerate("abbbc")]
        counts = subject.process(batch_of(rows)).counts
        assert (counts.series_expired, counts.series_evicted, counts.series_created) == (1, 0, 3)

    def test_a_series_that_comes_back_begins_anew(self) -> None:
        subject = pipeline(idle_expiry_ms=1000 * self.DAY_S, keep_scores=True)
        rows = [record("m", START_S + 60 * turn, turn % 3, {"service": "a"}) for turn in range(40)]
        rows += [record("m", START_S + 3600 * turn, 1, {"service": "b"}) for turn in range(1, 49)]
        rows += [record("m", START_S + 2 * self.DAY_S, 1, {"service": "a"})]
        output = subject.process(batch_of(rows))
        assert output.counts.series_created == 3
        assert np.isnan(pipeline_scores(output)[-1])

    def test_a_pause_of_the_whole_partition_makes_nothing_expire(self) -> None:
        subject = pipeline(idle_expiry_ms=1000 * self.DAY_S)
        rows = [record("m", START_S, 1, {"service": name}) for name in "abc"]
        rows += [record("m", START_S + 30 * self.DAY_S + 60 * turn, 1, {"service": "a"}) for turn in range(1430)]
        output = subject.process(batch_of(rows))
        assert output.counts.series_expired == 0
        assert subject.series_count == 3
        later = [record("m", START_S + 31 * self.DAY_S + 60 * turn, 1, {"service": "a"}) for turn in range(3)]
        assert subject.process(batch_of(later, first_offset=2000)).counts.series_expired == 2

    def test_zero_means_never(self) -> None:
        rows = [record("m", START_S + turn * 10 * self.DAY_S, 1, {"service": name}) for turn, name in enumerate("abab")]
        assert pipeline().process(batch_of(rows)).counts.series_expired == 0

    @pytest.mark.parametrize(
        "unaccepted",
        [
            record("m", START_S + 99_999_999, 1, {"a": {"b": 1}}),
            b"garbage",
            record("m", START_S + 60, 1, {"service": "a"}),
            record("m", START_S, 1, {"service": "a"}),
        ],
        ids=["unusable labels", "garbage", "repeated", "late"],
    )
    def test_what_is_not_accepted_does_not_move_the_watermark(self, unaccepted: bytes) -> None:
        subject = pipeline(idle_expiry_ms=1000 * self.DAY_S, policies=[Policy("p", silence_close_s=60.0)])
        rows = [record("m", START_S + 60 * turn, 1, {"service": "a"}) for turn in (0, 1)]
        output = subject.process(batch_of([*rows, unaccepted]))
        assert output.counts.series_expired == 0
        assert subject.watermark_ms == 1000 * (START_S + 60)

    def test_one_record_may_reach_several_grid_points(self) -> None:
        subject = pipeline(policies=[Policy("p", silence_close_s=600.0)])
        subject.process(batch_of(incident()))
        times = [START_S + 60 * 79 + minutes * 60 for minutes in (5, 20, 40)]
        output = subject.process(batch_of([record("c", times, [1, 2, 3])], first_offset=80))
        (closed,) = events_of(output)
        assert closed["time"] == "2025-06-15T16:45:00.000Z"
        assert output.counts.closed == 1


class TestSeriesLimit:
    def test_at_three_times_the_limit_the_cap_holds_and_the_active_keep_their_models(self) -> None:
        """Series come in three generations; each is gone for good when the next arrives."""
        subject = pipeline(series_limit=50, keep_scores=True)
        evicted = 0
        for generation in range(3):
            stream = [
                record(
                    "m", START_S + 10_000 * generation + 60 * turn, 10.0 + turn % 3, {"id": f"{generation}-{series}"}
                )
                for turn in range(60)
                for series in range(50)
            ]
            for batch in cuts(stream, [700] * 5):
                output = subject.process(batch)
                evicted += output.counts.series_evicted
                assert subject.series_count <= 50
            last = pipeline_scores(output)
            assert np.isfinite(last).all()
        assert evicted == 100

    def test_state_stays_within_what_the_limit_declares(self) -> None:
        subject = pipeline(series_limit=64)
        for start in range(0, 6400, 64):
            subject.process(
                batch_of(
                    [record("m", START_S + start + i, 1.0, {"id": str(start + i)}) for i in range(64)],
                    first_offset=start,
                )
            )
        full = subject.state_bytes()
        assert subject.series_count <= 64
        assert full <= 64 * 2 * 1200


def pipeline_scores(output: Output) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Scores of the last fifty samples of a batch."""
    assert output.scored is not None
    return output.scored.scores.score[-50:]
