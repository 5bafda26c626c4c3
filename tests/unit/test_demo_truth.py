"""What a scripted demo says was found, and what was told beside it."""

from typing import Any

import pytest

from detector.commands.demo_truth import Effect, Incident, Verdict

MINUTE_MS = 60_000
INCIDENT = Incident(
    what="a leak",
    start_ms=10 * MINUTE_MS,
    end_ms=20 * MINUTE_MS,
    settled_ms=22 * MINUTE_MS,
    effects=(
        Effect("pool", "shop", metric="pool", required=True),
        Effect("lines", "shop", phrase="pool exhausted", required=True),
        Effect("latency", "gate", metric="latency"),
    ),
)


def at(minute: float) -> str:
    seconds = round(minute * 60)
    return f"1970-01-01T00:{seconds // 60:02d}:{seconds % 60:02d}.000Z"


def anomaly(
    kind: str,
    service: str,
    *,
    start: float,
    detected: float,
    end: float | None = None,
    state: str = "opened",
    metric: str = "logs",
    templates: tuple[str, ...] = (),
) -> dict[str, Any]:
    return {
        "episode_id": f"{kind}/{service}/{metric}/{start}",
        "kind": kind,
        "state": state,
        "series": {"metric": metric, "labels": {"service": service}},
        "topology": {"service": service},
        "started_at": at(start),
        "detected_at": at(detected),
        "window": {"start": at(start), "end": at(detected if end is None else end)},
        "templates": [{"text": text} for text in templates],
    }


@pytest.fixture
def verdict() -> Verdict:
    return Verdict(INCIDENT)


class TestVerdict:
    def test_everything_is_missing_at_first(self, verdict: Verdict) -> None:
        assert verdict.missing == ["pool", "lines"]
        assert verdict.summary() == (
            "incident 00:10-00:20: nothing found; not found: pool, lines, latency; episodes outside of it: 0"
        )

    def test_an_effect_is_found_when_its_episode_opens(self, verdict: Verdict) -> None:
        verdict.add(anomaly("metric.spike", "shop", metric="pool", start=11, detected=11.5))
        assert verdict.missing == ["lines"]
        assert "found pool after 1:30; not found: lines, latency" in verdict.summary()

    def test_the_first_telling_counts(self, verdict: Verdict) -> None:
        for minute in (13.0, 11.0, 12.0):
            verdict.add(anomaly("metric.spike", "shop", metric="pool", start=minute, detected=minute + 1))
        assert "found pool after 2:00" in verdict.summary()

    def test_a_phrase_is_found_in_any_template_and_when_an_episode_is_updated(self, verdict: Verdict) -> None:
        verdict.add(anomaly("log.mix_shift", "shop", start=11, detected=12, templates=("order <*> done",)))
        assert "lines" in verdict.missing
        verdict.add(
            anomaly(
                "log.mix_shift",
                "shop",
                start=11,
                detected=12,
                end=14.5,
                state="updated",
                templates=("order <*> done", "connection pool exhausted after <*> ms"),
            )
        )
        assert "lines" not in verdict.missing
        assert "lines after 4:30" in verdict.summary()

    @pytest.mark.parametrize(
        "other",
        [
            anomaly("metric.spike", "gate", metric="pool", start=11, detected=12),
            anomaly("metric.spike", "shop", metric="latency", start=11, detected=12),
            anomaly("log.new_template", "gate", start=11, detected=12, templates=("pool exhausted",)),
        ],
    )
    def test_what_another_service_or_metric_does_is_not_it(self, verdict: Verdict, other: dict[str, Any]) -> None:
        verdict.add(other)
        assert verdict.missing == ["pool", "lines"]
        assert verdict.outside == 0

    @pytest.mark.parametrize(("start", "outside"), [(9.9, 1), (10, 0), (22, 0), (22.1, 1)])
    def test_what_begins_before_or_after_is_outside_and_finds_nothing(
        self, verdict: Verdict, start: float, outside: int
    ) -> None:
        event = anomaly("metric.spike", "shop", metric="pool", start=start, detected=start + 1)
        verdict.add(event)
        verdict.add({**event, "state": "closed"})
        assert verdict.outside == outside
        assert ("pool" in verdict.missing) == bool(outside)
        assert verdict.summary().endswith(f"episodes outside of it: {outside}")
