"""State survives: a pipeline restored from a snapshot goes on with the same bits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.pipeline import PartitionPipeline
from detector.state import decode, encode
from tests.pipelines import pipeline
from tests.properties.test_pipeline_properties import crowded, plain, stream
from tests.streams import batch_of

CLUSTER = "c1"


def handed_over(subject: PartitionPipeline, successor: PartitionPipeline, offset: int) -> PartitionPipeline:
    """The successor with the subject's state, by way of bytes."""
    data = encode(*subject.snapshot(offset=offset, cluster=CLUSTER))
    assert successor.restore(decode(data), cluster=CLUSTER) == offset
    again = encode(*successor.snapshot(offset=offset, cluster=CLUSTER))
    assert again == data
    return successor


def tail(subject: PartitionPipeline, start: int) -> tuple[list[bytes], list[str]]:
    """Events and scores, as exact text, of the stream from record ``start`` on."""
    output = subject.process(batch_of(stream()[start:], first_offset=start))
    assert output.scored is not None
    return [event.value for event in output.events], list(map(float.hex, output.scored.scores.score.tolist()))


cut = st.integers(1, len(stream()) - 1)


class TestHandOver:
    @settings(derandomize=True, deadline=None, max_examples=20)
    @given(at=cut)
    def test_at_any_record_changes_nothing(self, at: int) -> None:
        subject = plain()
        subject.process(batch_of(stream()[:at]))
        successor = handed_over(subject, plain(), at)
        assert tail(successor, at) == tail(subject, at)
        assert (successor.series_count, successor.open_episodes, successor.watermark_ms) == (
            subject.series_count,
            subject.open_episodes,
            subject.watermark_ms,
        )

    @settings(derandomize=True, deadline=None, max_examples=10)
    @given(at=cut)
    def test_under_constant_eviction_changes_nothing(self, at: int) -> None:
        subject = crowded()
        subject.process(batch_of(stream()[:at]))
        assert tail(handed_over(subject, crowded(), at), at) == tail(subject, at)

    def test_again_and_again_changes_nothing(self) -> None:
        whole = plain()
        output = whole.process(batch_of(stream()))
        heir = plain()
        events: list[bytes] = []
        for start in range(0, len(stream()), 200):
            part = heir.process(batch_of(stream()[start : start + 200], first_offset=start))
            events += [event.value for event in part.events]
            heir = handed_over(heir, plain(), start + 200)
        assert events == [event.value for event in output.events]

    def test_an_empty_pipeline_can_be_kept_too(self) -> None:
        assert handed_over(pipeline(), pipeline(), 0).series_count == 0
