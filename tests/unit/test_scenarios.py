"""The promises of benchmarks/scenarios.py, those that are quick to try."""

import pytest

from benchmarks.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_promise_holds(scenario: Scenario) -> None:
    found = scenario.run(quick=True)
    assert found.holds, found.numbers
