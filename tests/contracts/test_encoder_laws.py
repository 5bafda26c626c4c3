"""What every registered encoder must do."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import TIMESTAMP_UNKNOWN, SeriesIdentity, Transition
from detector.encoders import ENCODERS, Encoder, ModelFacts, Provenance
from detector.encoders.examples import CLOSED, IDENTITY, MODEL, NO_DATA, OPENED, RESUMED, UPDATED

PROVENANCE = Provenance("metrics", 3, 9_918_231, OPENED.time_ms + 1_000)

numbers = st.floats(allow_nan=True, allow_infinity=True)
times = st.integers(-(2**62), 2**62)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def transitions(draw: st.DrawFn) -> Transition:
    """Transitions with every number that a column can hold."""
    points = draw(st.integers(1, 10_000))
    closed = [replace(CLOSED, end_reason=reason) for reason in ("evicted", "expired", "silent")]
    base = draw(st.sampled_from([OPENED, UPDATED, CLOSED, NO_DATA, RESUMED, *closed]))
    return replace(
        base,
        kind=base.kind if base.kind == "metric.no_data" else draw(st.sampled_from(["metric.spike", "metric.dip"])),
        severity=draw(st.sampled_from(["warning", "error", "critical"])),
        flapping=draw(st.booleans()),
        sequence=draw(st.integers(1, 10**9)),
        time_ms=draw(times),
        started_ms=draw(times),
        detected_ms=draw(times),
        ended_ms=draw(times) if base.state == "closed" else None,
        peak_time_ms=draw(times),
        points=points,
        anomalous_points=draw(st.integers(1, points)),
        interval_ms=draw(numbers),
        gap_ms=draw(st.floats(min_value=0.0, allow_infinity=True)),
        last_sample_ms=draw(times),
        observed=draw(st.floats(allow_nan=False, allow_infinity=False)),
        expected=draw(numbers),
        lower=draw(numbers),
        upper=draw(numbers),
        score=draw(numbers),
        deviation=draw(numbers),
        novelty=draw(numbers),
        peak_score=draw(numbers),
        peak_deviation=draw(st.floats(min_value=1e-300, allow_infinity=True)),
        peak_expected=draw(numbers),
        recent_values=np.array(draw(st.lists(numbers, max_size=16)), dtype=np.float64),
    )


@st.composite
def identities(draw: st.DrawFn) -> SeriesIdentity:
    """Series with any text in name and labels."""
    labels = draw(st.dictionaries(texts | st.sampled_from(["service.name", "host", "namespace"]), texts, max_size=5))
    name = draw(texts)
    return SeriesIdentity(name, labels, f"{name}{labels}", "0123456789abcdef", draw(st.none() | texts))


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param]("/detector/test")


@pytest.mark.parametrize("name", sorted(ENCODERS))
@settings(max_examples=150, deadline=None, derandomize=True)
@given(transition=transitions(), identity=identities(), timestamp_ms=st.just(TIMESTAMP_UNKNOWN) | times)
def test_any_numbers_make_strict_json_under_the_series_key(
    name: str, transition: Transition, identity: SeriesIdentity, timestamp_ms: int
) -> None:
    provenance = Provenance("metrics", 0, 0, timestamp_ms)
    event = ENCODERS[name]("/detector/test").encode(transition, identity, "default", MODEL, provenance)
    assert event.key == identity.fingerprint.encode()
    decoded = json.loads(event.value, parse_constant=refuse)
    assert isinstance(decoded, dict)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_equal_arguments_give_equal_bytes(name: str) -> None:
    one, other = ENCODERS[name]("/detector/test"), ENCODERS[name]("/detector/test")
    other.encode(CLOSED, replace(IDENTITY, fingerprint="0" * 16), "other", MODEL, PROVENANCE)
    twin = replace(OPENED, recent_values=OPENED.recent_values.copy())
    expected = one.encode(OPENED, IDENTITY, "default", MODEL, PROVENANCE)
    copies = (ModelFacts(*MODEL), Provenance(*PROVENANCE))
    assert expected == other.encode(twin, replace(IDENTITY), "default", *copies)


def test_every_transition_of_an_episode_has_bytes_of_its_own(encoder: Encoder) -> None:
    values = {
        encoder.encode(transition, IDENTITY, "default", MODEL, PROVENANCE).value
        for transition in (OPENED, UPDATED, CLOSED, NO_DATA, RESUMED)
    }
    assert len(values) == 5


def test_a_transition_without_a_sample_behind_it_is_encoded(encoder: Encoder) -> None:
    nan = math.nan
    evicted = replace(
        CLOSED, end_reason="evicted", score=nan, deviation=nan, novelty=nan, expected=nan, lower=nan, upper=nan
    )
    assert encoder.encode(evicted, IDENTITY, "default", MODEL, PROVENANCE).value


def test_the_media_type_is_named(encoder: Encoder) -> None:
    main, _, rest = encoder.content_type.partition("/")
    assert main == "application"
    assert rest


def test_it_names_the_episode_and_what_happened_to_it(encoder: Encoder) -> None:
    opened, updated, closed = (
        encoder.encode(each, IDENTITY, "default", MODEL, PROVENANCE) for each in (OPENED, UPDATED, CLOSED)
    )
    assert (opened.state, updated.state, closed.state) == ("opened", "updated", "closed")
    assert opened.episode == updated.episode == closed.episode != ""
    other = encoder.encode(replace(OPENED, started_ms=OPENED.started_ms + 1), IDENTITY, "default", MODEL, PROVENANCE)
    assert other.episode != opened.episode
