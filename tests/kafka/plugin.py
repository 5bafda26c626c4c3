"""pytest's side of the real broker: one for the session, and a loud line where there can be none."""

import os
from collections.abc import Iterator

import pytest

from tests.kafka.broker import REQUIRE_VARIABLE, Broker, missing, missing_cluster, running_broker
from tests.kafka.cluster import ClusterOfJars, running_cluster


def _skip_or_fail(lacking: str | None, needs: str) -> None:
    if lacking is not None and os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"real Kafka is required, but here is {lacking}", pytrace=False)
    if lacking is not None:
        pytest.skip(f"real Kafka needs {needs}; here is {lacking}")


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A real broker, started with the first test that asks for it."""
    _skip_or_fail(missing(), "Java with Maven, or Docker")
    with running_broker() as broker:
        yield broker


@pytest.fixture(scope="session")
def running_three() -> Iterator[ClusterOfJars]:
    """Three real brokers, started with the first test that asks for them."""
    _skip_or_fail(missing_cluster(), "Java with Maven for three nodes")
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running_three: ClusterOfJars) -> ClusterOfJars:
    """Three real brokers, whole and in sync whatever the test before has done to them."""
    running_three.heal()
    return running_three


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, in red, when real-broker tests did not run."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "kafka" in report.keywords]
    if skipped:
        terminalreporter.write_line(
            f"REAL KAFKA TESTS DID NOT RUN: {len(skipped)} of them need Java with Maven, or Docker "
            f"({REQUIRE_VARIABLE}=1 makes this a failure)",
            red=True,
            bold=True,
        )
