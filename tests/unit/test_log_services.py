"""What is kept of a service: spoilt snapshots are refused with a sentence, and hold no secret."""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.errors import SnapshotRefusedError
from detector.log_pipeline import LogPipeline
from detector.state import Snapshot
from tests.log_records import BEGIN_S, json_line, log_pipeline
from tests.log_stories import calm, messages, records_of, snapshot_of, tell

Columns = dict[str, NDArray[Any]]
SECRETS: Final = (b"ann@shop.example", b"sk_live_4eC39HqLyjWDarjtT1zdp7dc", b"hunter2secret")


def mined() -> tuple[LogPipeline, int]:
    """Two services, one of which has said what it should not have; the last window is open."""
    lines = [*calm(1, "shop", messages(10, 1, rate=60.0), 4), *calm(2, "cart", messages(10, 2, rate=60.0), 4)]
    values = records_of(lines)
    values += [
        json_line(
            BEGIN_S + 250, "shop", "error", f"login of {SECRETS[0].decode()} refused, password={SECRETS[2].decode()}"
        ),
        json_line(BEGIN_S + 251, "shop", "error", f"key {SECRETS[1].decode()} was refused"),
    ]
    pipeline = log_pipeline()
    return pipeline, tell(pipeline, values).offset


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    pipeline, offset = mined()
    return snapshot_of(pipeline, offset)


def without(name: str) -> Callable[[Columns], object]:
    return lambda columns: columns.pop(f"services.{name}")


def changed(name: str, change: Callable[[NDArray[Any]], object]) -> Callable[[Columns], object]:
    return lambda columns: columns.update({f"services.{name}": np.asarray(change(columns[f"services.{name}"]))})


SPOILT: Final = [
    (without("version"), "version"),
    (changed("version", lambda column: column + 1), "version other than 1"),
    (without("samples"), "sample lines"),
    (without("sample_bytes"), "sample_bytes"),
    (changed("samples", lambda column: column[:-1]), "sizes that it names"),
    (changed("samples", lambda column: column.astype(np.int32)), "sizes that it names"),
    (changed("sample_bytes", lambda column: column * -1), "sizes that it names"),
    (changed("sample_bytes", lambda column: column[:1]), "sample_bytes"),
    (changed("samples", lambda column: column * 0 + ord("[")), "cannot be read"),
    (changed("samples", lambda column: column * 0 + 255), "cannot be read"),
    (without("last_ms"), "last_ms"),
    (without("templates.miners"), "miners"),
    (changed("templates.version", lambda column: column + 1), "templates have a version"),
    (changed("templates.texts", lambda column: column[:-5]), "templates"),
    (changed("templates.numbers", lambda column: column * 0 + 1), "do not fit"),
    (changed("templates.numbers", lambda column: column + 100_000), "do not fit"),
]


class TestRefusals:
    @pytest.mark.parametrize(("spoil", "said"), SPOILT)
    def test_columns_that_do_not_fit_are_refused_with_a_sentence(
        self, snapshot: Snapshot, spoil: Callable[[Columns], object], said: str
    ) -> None:
        columns = dict(snapshot.columns)
        spoil(columns)
        with pytest.raises(SnapshotRefusedError, match=said) as refused:
            log_pipeline().restore(Snapshot(snapshot.header, columns), cluster="c")
        assert len(str(refused.value).splitlines()) == 1
        assert "snapshot" in str(refused.value)

    def test_one_of_other_limits_is_refused(self, snapshot: Snapshot) -> None:
        other = log_pipeline(limits={"templates_per_service": 16})
        with pytest.raises(SnapshotRefusedError):
            other.restore(snapshot, cluster="c")

    def test_one_that_is_whole_is_taken(self, snapshot: Snapshot) -> None:
        pipeline = log_pipeline()
        assert pipeline.restore(snapshot, cluster="c") == snapshot.header.offset
        assert sorted(pipeline._series.identity(slot).canonical for slot in pipeline._services) == [
            'logs{service.name="cart"}',
            'logs{service.name="shop"}',
        ]


class TestSecrets:
    def test_sample_lines_in_a_snapshot_are_redacted(self, snapshot: Snapshot) -> None:
        samples = snapshot.columns["services.samples"].tobytes()
        assert b"refused, password=" in samples
        for secret in SECRETS:
            assert secret not in samples

    def test_no_column_holds_what_has_the_form_of_a_secret(self, snapshot: Snapshot) -> None:
        held = {
            (name, secret)
            for name, column in snapshot.columns.items()
            for secret in SECRETS[:2]  # templates keep their words: one that only looks like a word stays there
            if secret in column.tobytes()
        }
        assert held == set()

    def test_words_that_are_no_secret_are_kept(self, snapshot: Snapshot) -> None:
        assert re.search(rb"login of \S+ refused", snapshot.columns["services.samples"].tobytes())
