"""``detector topics``: the topics that are read and written, as they should be and as they are."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from detector.commands.planned import planned_topics
from detector.errors import DetectorError, GateFailedError
from detector.io.topics import BROKER_DEFAULT, TopicFinding, Topics
from detector.settings import Settings
from detector.wiring import connection_of


def create_topics(settings: Settings, *, partitions: int, replicas: int) -> None:
    """Create what is missing and print a row per topic. Raises ``DetectorError`` where the broker refuses one."""
    topics = Topics(connection_of(settings.kafka))
    existing = topics.partition_counts()
    findings = topics.create(planned_topics(settings, partitions=partitions, replicas=replicas, existing=existing))
    _print(findings)
    wrong = [finding.topic for finding in findings if not finding.fine]
    if wrong:
        raise DetectorError(f"topics: not as planned: {', '.join(wrong)}")


def check_topics(settings: Settings) -> None:
    """Print a row per topic. Raises ``GateFailedError`` where one is missing."""
    topics = Topics(connection_of(settings.kafka))
    existing = topics.partition_counts()
    plans = planned_topics(settings, partitions=BROKER_DEFAULT, replicas=BROKER_DEFAULT, existing=existing)
    findings = topics.check(plans)
    _print(findings)
    wrong = [finding.topic for finding in findings if not finding.fine]
    if wrong:
        raise GateFailedError(f"topics: missing: {', '.join(wrong)}; `detector topics create` makes them")


def _print(findings: Sequence[TopicFinding]) -> None:
    table = Table("topic", "state", "detail")
    for finding in findings:
        table.add_row(
            finding.topic, f"[green]{finding.kind}" if finding.fine else f"[red]{finding.kind}", finding.detail
        )
    Console().print(table)
