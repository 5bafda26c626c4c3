"""docs/extending.md does what it says: its files and diffs make a package that passes the laws and runs."""

import hashlib
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.batches import RejectReason, ScoreColumns
from detector.decoders import Decoder, DecoderLimits, JsonPaths, LabelFault, NamedLabels
from detector.encoders import CloudEventsEncoder
from detector.episodes import EpisodeJudge, PolicyBook
from detector.errors import UsageError
from detector.learners import Learner, LearnerBank
from detector.pipeline import PartitionPipeline
from detector.series import SeriesTable
from tests import test_architecture as architecture
from tests.contracts.learner_cases import Stream, bits
from tests.streams import TOPIC, batch_of, cuts

ROOT: Final = Path(__file__).parents[2]
FENCE: Final = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
START_S: Final = 1_750_000_000


class Block(NamedTuple):
    """A fenced block with a file's name."""

    kind: str
    title: str
    text: str


def blocks(kind: str) -> list[Block]:
    found = [Block(*match.groups()) for match in FENCE.finditer((ROOT / "docs/extending.md").read_text("utf-8"))]
    return [block for block in found if block.kind == kind]


def patched(source: str, diff: str) -> str:
    """``source`` with every hunk applied; the lines that a hunk shows must stand in it exactly once."""
    for hunk in diff.split("@@\n")[1:]:
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert source.count(before) == 1, f"stands {source.count(before)} times:\n{before}"
        source = source.replace(before, after)
    return source


class Extended:
    """A copy of the package and its tests with everything done that the document says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("detector", "tests"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "libs"))
        shutil.copy(ROOT / "pyproject.toml", root)
        for block in blocks("python"):
            (root / block.title).write_text(block.text, "utf-8")
        for block in blocks("diff"):
            path = root / block.title
            path.write_text(patched(path.read_text("utf-8"), block.text), "utf-8")
        for block in blocks("yaml"):
            (root / block.title).write_text(block.text, "utf-8")

    def run(self, *arguments: str, jit: bool = True) -> str:
        """What ``python`` with these arguments prints, in the copy."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DETECTOR_")}
        environment = {
            **inherited,
            "NUMBA_CACHE_DIR": str(self.root / "kernels"),
            "NUMBA_DISABLE_JIT": str(int(not jit)),
        }
        done = subprocess.run(  # noqa: S603  # our own package
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def module(self, path: str) -> ModuleType:
        """One of the new files as a module of this process."""
        spec = importlib.util.spec_from_file_location(f"docs_extending_{Path(path).stem}", self.root / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return module


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extended]:
    extended = Extended(tmp_path_factory.mktemp("extended"))
    with pytest.MonkeyPatch.context() as patch:
        # Apart from that of the copy's own runs: cached kernels remember the name of their module.
        patch.setattr("numba.core.config.CACHE_DIR", str(extended.root / "kernels_here"))
        yield extended


@pytest.fixture(scope="module")
def decoder(extended: Extended) -> Decoder:
    kind = extended.module("detector/decoders/graphite.py").GraphiteDecoder
    decoder: Decoder = kind(JsonPaths(), DecoderLimits(record_bytes_max=200, labels_max=2, ahead_max_ms=60_000))
    return decoder


@pytest.fixture(scope="module")
def zscore(extended: Extended) -> ModuleType:
    return extended.module("detector/learners/zscore.py")


class TestTheDocument:
    def test_holds_both_files_and_the_diffs_around_them(self) -> None:
        assert [block.title for block in blocks("python")] == [
            "detector/decoders/graphite.py",
            "detector/learners/zscore.py",
        ]
        assert len(blocks("diff")) == 5
        assert len(blocks("yaml")) == 2

    def test_its_code_is_clean(self, extended: Extended) -> None:
        files = [block.title for block in blocks("python")]
        extended.run("-m", "ruff", "check", "--no-cache", *files)
        extended.run("-m", "ruff", "format", "--no-cache", "--check", *files)

    def test_its_code_keeps_to_its_rooms(self, extended: Extended, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(architecture, "PACKAGE", extended.root / "detector")
        laws = architecture.TestEveryFile()
        for block in blocks("python"):
            path = extended.root / block.title
            laws.test_imports_only_what_the_table_allows(path)
            laws.test_keeps_third_party_packages_to_their_rooms(path)
            laws.test_has_no_clock_randomness_or_io_when_it_is_core(path)

    def test_its_members_pass_the_contract_tests(self, extended: Extended) -> None:
        laws = ("tests/contracts/test_decoder_laws.py", "tests/contracts/test_learner_laws.py")
        told = extended.run(
            "-m", "pytest", "-q", "-p", "no:cacheprovider", *laws, "-k", "graphite or zscore or registered"
        )
        passed = re.search(r"(\d+) passed", told)
        assert passed is not None
        assert int(passed[1]) >= 20
        assert "skipped" not in told


class TestTheCommandLine:
    def test_runs_with_the_new_format_and_the_new_model(self, extended: Extended) -> None:
        lines = [
            f"queue.depth;queue=q{i % 2} {10 + i % 3 + 500 * (150 <= i < 160)} {START_S + 30 * i}" for i in range(200)
        ]
        (extended.root / "lines.jsonl").write_text("\n".join([*lines, "garbage"]), "utf-8")
        rows = [f"{START_S + 60 * i},{5 + i % 2}" for i in range(30)]
        (extended.root / "rows.csv").write_text("\n".join(["timestamp,value", *rows]), "utf-8")
        configs = ("--config", "graphite.yaml", "--config", "zscore.yaml")
        outputs = ("--events", "events.jsonl", "--rejects", "rejects.jsonl")
        extended.run("-m", "detector", "replay", "lines.jsonl", "rows.csv", *outputs, *configs, jit=False)
        events = [json.loads(line) for line in (extended.root / "events.jsonl").read_text("utf-8").splitlines()]
        rejects = (extended.root / "rejects.jsonl").read_text("utf-8").splitlines()
        opened = [event["data"] for event in events if event["data"]["state"] == "opened"]
        assert {data["series"]["labels"]["queue"] for data in opened} == {"q0", "q1"}
        assert {data["series"]["metric"] for data in opened} == {"queue.depth"}
        assert {data["model"]["name"] for data in opened} == {"zscore"}
        assert len(rejects) == 1, "one line of garbage; the rows of the CSV file are no Graphite lines and need not be"

    def test_names_a_wrong_parameter(self, zscore: ModuleType) -> None:
        with pytest.raises(UsageError, match="edge must lie between"):
            zscore.ZScoreLearner(edge=0.0)
        with pytest.raises(UsageError, match="half_life_samples must lie between"):
            zscore.ZScoreLearner(half_life_samples="long")


class TestTheDecoder:
    def test_reads_lines_and_rejects_the_others(self, decoder: Decoder) -> None:
        stamp_ms = START_S * 1000
        record = b"cpu;host=a 1.5 1750000000\n\nbad line\r\ncpu;host=b -2 1750000030\n"
        found = decoder.decode(batch_of([record, b"cpu 3 1750000000.5", None], timestamp_ms=stamp_ms))
        assert found.rows.tolist() == [0, 0, 1]
        assert list(found.keys) == [("cpu", b"host=a"), ("cpu", b"host=b"), ("cpu", b"")]
        assert found.times_ms.tolist() == [stamp_ms, stamp_ms + 30_000, stamp_ms + 500]
        assert found.values.tolist() == [1.5, -2.0, 3.0]
        assert [(reject.row, reject.reason) for reject in found.rejects] == [(0, "missing_field"), (2, "empty")]

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"cpu 1", "missing_field"),
            (b";host=a 1 1750000000", "missing_field"),
            (b"cpu x 1750000000", "wrong_type"),
            (b"\xff 1 1750000000", "wrong_type"),
            (b"cpu nan 1750000000", "not_finite"),
            (b"cpu 1e999 1750000000", "not_finite"),
            (b"cpu 1 -1", "time_unreadable"),
            (b"cpu 1 1750000061", "too_far_ahead"),
            (b"c" * 201, "too_large"),
            (b" \n ", "empty"),
        ],
    )
    def test_tells_what_is_wrong(self, decoder: Decoder, line: bytes, reason: str) -> None:
        found = decoder.decode(batch_of([line], timestamp_ms=START_S * 1000))
        assert [reject.reason for reject in found.rejects] == [reason]
        assert len(found) == 0

    def test_parses_tags(self, decoder: Decoder) -> None:
        assert decoder.labels(("cpu", b"host=a;env=")) == NamedLabels("cpu", {"host": "a", "env": ""})
        assert decoder.labels(("cpu", b"")) == NamedLabels("cpu", {})
        for raw in (b"host", b"=a", b"a=1;a=2", b"a=1;", b"\xff=1", b"a=1;b=2;c=3"):
            assert isinstance(decoder.labels(("cpu", raw)), LabelFault)


DIGEST: Final = """
from detector.learners.zscore import ZScoreLearner
from tests.unit.test_docs_extending import digest
print(digest(ZScoreLearner()))
"""


def digest(learner: Learner) -> str:
    """Hash of scores over eight series of all sizes, with outliers."""
    rng = np.random.default_rng(5)
    size = 1200
    slots = rng.integers(0, 8, size)
    scale = np.array([1.0, 1e-300, 1e300, 1e12, 0.0, 1e-5, -3.0, 1e150])[slots]
    values = scale * (1.0 + 0.1 * rng.normal(size=size)) + (rng.random(size) < 0.02) * scale * 50.0
    learner.reserve(8)
    out = ScoreColumns.empty(size)
    learner.score(slots, np.arange(size, dtype=np.int64), values, out)
    return hashlib.sha256(b"".join(column.tobytes() for column in out.columns())).hexdigest()


class TestTheLearner:
    def test_gives_the_same_bits_compiled_and_in_plain_python(self, extended: Extended, zscore: ModuleType) -> None:
        assert extended.run("-c", DIGEST, jit=False).strip() == digest(zscore.ZScoreLearner())

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=21, max_size=80))
    def test_answers_any_finite_values_with_finite_numbers(self, zscore: ModuleType, values: list[float]) -> None:
        learner = zscore.ZScoreLearner()
        learner.reserve(1)
        size = len(values)
        out = ScoreColumns.empty(size)
        learner.score(np.zeros(size, dtype=np.int64), np.arange(size, dtype=np.int64), np.array(values), out)
        for column in (out.score, out.deviation, out.expected, out.lower, out.upper):
            assert np.isnan(column[:20]).all()
            assert np.isfinite(column[20:]).all()
        assert (out.score[20:] < 100.0).all()

    def test_goes_on_from_its_columns_with_the_same_bits(self, zscore: ModuleType) -> None:
        stream, slots = Stream(600), np.array([2, 0, 1])
        first, second, undisturbed = (zscore.ZScoreLearner() for _ in range(3))
        for learner in (first, second, undisturbed):
            learner.reserve(3)
        whole, head, tail = (ScoreColumns.empty(size) for size in (600, 200, 400))
        undisturbed.score(stream.slots, stream.times_ms, stream.values, whole)
        first.score(stream.slots[:200], stream.times_ms[:200], stream.values[:200], head)
        copy = first.begin_copy(slots)
        copy.take(np.arange(3))
        second.restore(slots, copy.columns())
        second.score(stream.slots[200:], stream.times_ms[200:], stream.values[200:], tail)
        assert bits(head) == bits(whole, slice(0, 200))
        assert bits(tail) == bits(whole, slice(200, None))

    def test_finds_outliers_and_little_else(self, zscore: ModuleType) -> None:
        values = 50.0 + np.random.default_rng(1).normal(size=20_000)
        values[10_000] += 12.0
        learner = zscore.ZScoreLearner()
        learner.reserve(1)
        out = ScoreColumns.empty(len(values))
        learner.score(np.zeros(len(values), dtype=np.int64), np.arange(len(values), dtype=np.int64), values, out)
        assert np.flatnonzero(out.deviation > 1.0).tolist() == [10_000]

    def test_gets_used_to_a_lasting_shift(self, zscore: ModuleType) -> None:
        learner = zscore.ZScoreLearner()
        learner.reserve(1)
        values = np.append(np.random.default_rng(2).normal(size=300), np.full(400, 1000.0))
        out = ScoreColumns.empty(len(values))
        learner.score(np.zeros(len(values), dtype=np.int64), np.arange(len(values), dtype=np.int64), values, out)
        assert out.deviation[300] > 1.0
        assert out.deviation[-1] < 1.0


def new_pipeline(decoder: Decoder, learner: Learner) -> PartitionPipeline:
    book = PolicyBook(())
    return PartitionPipeline(
        topic=TOPIC,
        partition=0,
        decoder=decoder,
        series=SeriesTable(100, 200),
        bank=LearnerBank([learner]),
        learner_of_policy=[0],
        policies=book,
        judge=EpisodeJudge(book.policies),
        encoder=CloudEventsEncoder("/detector/test"),
        config_hash="test",
        timer=lambda: 0.0,
        keep_scores=True,
    )


def stream() -> list[bytes]:
    """Three series, an incident in one, some garbage, and records of three lines."""
    values: list[bytes] = []
    for turn in range(150):
        incident = 40.0 if 80 <= turn < 90 else 0.0
        lines = [
            f"load;host=h{host} {10 + math.sin(7 * turn + host) + incident * (host == 1)} {START_S + 30 * turn}"
            for host in range(3)
        ]
        values += ["\n".join(lines).encode()] if turn % 2 else [line.encode() for line in lines]
        if turn % 20 == 0:
            values.append(b"not a line of ours")
    return values


@settings(derandomize=True, deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 60), max_size=30))
def test_both_together_give_the_same_events_for_any_cut(decoder: Decoder, zscore: ModuleType, sizes: list[int]) -> None:
    def told(sizes: list[int]) -> tuple[list[bytes], list[tuple[int, RejectReason]], int]:
        subject = new_pipeline(decoder, zscore.ZScoreLearner())
        outputs = [subject.process(batch) for batch in cuts(stream(), sizes)]
        events = [event.value for output in outputs for event in output.events]
        rejects = [(reject.offset, reject.reason) for output in outputs for reject in output.rejects]
        return events, rejects, sum(output.counts.scored for output in outputs)

    events, rejects, scored = told(sizes)
    states = [json.loads(event)["data"]["state"] for event in events]
    assert (states[0], states[-1], states.count("opened")) == ("opened", "closed", 1)
    assert len(rejects) == 8
    assert scored == 450
    assert (events, rejects, scored) == told([])
