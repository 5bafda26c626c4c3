"""One partition's pipeline: accounting, eviction, watermark and events that explain themselves."""

import msgspec
import numpy as np
import pytest

from detector.batches import WATERMARK_NONE, Output
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
