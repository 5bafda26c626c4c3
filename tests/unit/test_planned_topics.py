"""Which topics should exist: snapshots need a partition for each of the widest input topic."""

from detector.commands.planned import planned_topics
from detector.settings import KafkaSettings, Settings, StateSettings


def plans(topics: tuple[str, ...], existing: dict[str, int], *, enabled: bool = True) -> dict[str, int]:
    settings = Settings.model_construct(kafka=KafkaSettings(topics=topics), state=StateSettings(enabled=enabled))
    planned = planned_topics(settings, partitions=6, replicas=1, existing=existing)
    return {plan.name: plan.partitions for plan in planned}


def test_the_state_topic_is_as_wide_as_the_widest_input() -> None:
    assert plans(("a", "b"), {"a": 12, "b": 3, "c": 40})["detector.state"] == 12
    assert plans(("^b.*",), {"a": 40, "b1": 9})["detector.state"] == 9
    assert plans(("a",), {"a": 2})["detector.state"] == 6
    assert plans(("a",), {})["detector.state"] == 6


def test_the_state_topic_is_compacted() -> None:
    settings = Settings.model_construct(kafka=KafkaSettings(topics=("a",)))
    (state,) = [plan for plan in planned_topics(settings, partitions=1, replicas=1) if plan.name == "detector.state"]
    assert state.settings["cleanup.policy"] == "compact"


def test_without_kept_models_there_is_no_state_topic() -> None:
    assert "detector.state" not in plans(("a",), {}, enabled=False)
