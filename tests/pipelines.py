"""Real pipelines for tests: every room as wiring would build it, with small limits."""

from collections.abc import Sequence

from detector.decoders import DecoderLimits, JsonMetricsDecoder, JsonPaths
from detector.encoders import CloudEventsEncoder
from detector.episodes import EpisodeJudge, Policy, PolicyBook
from detector.learners import Learner, LearnerBank, ResidualLearner
from detector.pipeline import PartitionPipeline
from detector.series import SeriesTable
from tests.streams import TOPIC


def no_time() -> float:
    """Stage timer for tests: time stands still."""
    return 0.0


def pipeline(
    *,
    partition: int = 0,
    series_limit: int = 1000,
    aliases_max: int = 2000,
    idle_expiry_ms: int = 0,
    policies: Sequence[Policy] = (),
    learners: Sequence[Learner] | None = None,
    learner_of_policy: Sequence[int] | None = None,
    keep_scores: bool = False,
) -> PartitionPipeline:
    """A pipeline over ``tests.streams.TOPIC`` with the compiled learner unless told otherwise."""
    book = PolicyBook(policies or [Policy("default", open_points=3, open_window=5)])
    return PartitionPipeline(
        topic=TOPIC,
        partition=partition,
        decoder=JsonMetricsDecoder(JsonPaths(), DecoderLimits()),
        series=SeriesTable(series_limit, aliases_max, idle_expiry_ms),
        bank=LearnerBank(learners or [ResidualLearner()]),
        learner_of_policy=learner_of_policy or [0] * len(book.policies),
        policies=book,
        judge=EpisodeJudge(book.policies),
        encoder=CloudEventsEncoder("/detector/test"),
        config_hash="sha256:test",
        timer=no_time,
        keep_scores=keep_scores,
    )
