"""Objects of river in snapshots: what is kept goes on to the bit, and nothing a forger could write is carried out."""

import os
import pickle
import pickletools
import random
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import anomaly, datasets, neighbors, optim, stats

from detector.batches import LeftOut, ScoreColumns
from detector.errors import SnapshotRefusedError
from detector.learners import RiverLearner, RiverSpec
from detector.learners import river_columns as columns
from detector.learners.pickle_scan import fault_of
from detector.learners.river_pickle import DOORS, RIVER_VERSION, dumps, loads
from tests.contracts.learner_cases import RIVER_SPECS, Stream, bits, run

SPECS: Final[dict[str, RiverSpec]] = {
    **RIVER_SPECS,
    "forest as it comes": RiverSpec(params={"n_trees": 4}),
    "gaussian in a window": RiverSpec("river.anomaly.GaussianScorer", {"window_size": 30}, features=()),
    "standard scaler": RiverSpec(
        "river.anomaly.OneClassSVM", steps=(("river.preprocessing.StandardScaler", {}),), features=("value", "lag_1")
    ),
    "seasonal forecast": RiverSpec(
        "river.anomaly.PredictiveAnomalyDetection",
        {
            "predictive_model": {
                "river": "river.time_series.HoltWinters",
                "params": {"alpha": 0.3, "beta": 0.1, "gamma": 0.2, "seasonality": 6},
            }
        },
        features=(),
    ),
    "autoregression": RiverSpec(
        "river.anomaly.PredictiveAnomalyDetection",
        {"predictive_model": {"river": "river.time_series.SNARIMAX", "params": {"p": 2, "d": 1, "q": 1}}},
        features=(),
    ),
}
ROOM: Final = 1 << 24
STREAM: Final = Stream(900)
SLOTS: Final = np.arange(3)
PLACE: Final = "detector.learners.river_pickle"


def learner_of(spec: RiverSpec, *, kept_bytes_max: int = ROOM) -> RiverLearner:
    learner = RiverLearner(spec, kept_bytes_max=kept_bytes_max)
    learner.reserve(8)
    return learner


def taught(spec: RiverSpec = SPECS["gaussian"], *, kept_bytes_max: int = ROOM) -> RiverLearner:
    learner = learner_of(spec, kept_bytes_max=kept_bytes_max)
    run(learner, STREAM)
    return learner


class TestWhatIsKeptGoesOn:
    @pytest.mark.parametrize("name", SPECS)
    @pytest.mark.parametrize("cut", [40, 450])
    def test_with_the_same_bits_as_if_it_had_never_stopped(self, name: str, cut: int) -> None:
        spec = SPECS[name]
        kept: dict[str, Any] = {}
        learner = learner_of(spec)

        def keep(row: int) -> None:
            if row == cut:
                kept.update(learner.columns(SLOTS)())

        whole = run(learner, STREAM, (cut,), between=keep)
        assert not learner.take_left_out()
        restored = learner_of(spec)
        restored.restore(SLOTS, kept)
        assert not restored.take_left_out()
        rest = Stream(900)
        rest.slots, rest.times_ms, rest.values = STREAM.slots[cut:], STREAM.times_ms[cut:], STREAM.values[cut:]
        assert bits(run(restored, rest)) == bits(whole, slice(cut, None))
        assert restored.samples_seen(1) == learner.samples_seen(1)

    def test_into_other_slots(self) -> None:
        first = taught()
        moved = learner_of(SPECS["gaussian"])
        moved.restore(np.array([5, 0]), first.columns(np.array([1, 2]))())
        assert [moved.samples_seen(slot) for slot in (5, 0, 1)] == [first.samples_seen(1), first.samples_seen(2), 0]

    def test_in_quarantine_where_it_was_in_it(self) -> None:
        learner = taught()
        assert learner._series[0] is not None
        learner._series[0].failed = True
        restored = learner_of(SPECS["gaussian"])
        restored.restore(SLOTS, learner.columns(SLOTS)())
        out = ScoreColumns.empty(1)
        assert restored.score(np.array([0]), np.array([2 * 10**12]), np.array([100.0]), out) == 0
        assert np.isnan(out.score[0])

    def test_containers_and_arrays_keep_their_kind(self) -> None:
        value: list[Any] = [
            deque([1, 2], 5),
            OrderedDict([("b", 1), ("a", 2)]),
            Counter("abca"),
            np.arange(6.0).reshape(2, 3).T,
            np.zeros((0, 3)),
            np.float32(0.1),
            {("a", 1): {1, 2}, "nested": [(1, (2, 3))]},
            (None, True, 2**70, -1, b"bytes", "\N{SNOWMAN}", 0.1),
        ]
        data = dumps(value)
        assert data is not None
        again = loads(data)
        assert [type(each) for each in again] == [type(each) for each in value]
        for old, new in zip(value, again, strict=True):
            assert np.array_equal(old, new) if isinstance(old, np.ndarray) else old == new
        assert again[0].maxlen == 5
        assert again[3].flags.f_contiguous
        assert again[3].flags.writeable

    def test_generators_and_factories_go_on(self) -> None:
        generator = random.Random(4)
        generator.random()
        data = dumps((generator, defaultdict(partial(tuple, (0, 1))), defaultdict(stats.Mean), defaultdict(list)))
        assert data is not None
        again, limits, means, lists = loads(data)
        assert again.random() == generator.random()
        assert limits["new"] == (0, 1)
        assert isinstance(means["new"], stats.Mean)
        assert lists["new"] == []

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
            max_leaves=30,
        )
    )
    def test_any_plain_data(self, value: object) -> None:
        data = dumps(value)
        assert data is not None
        assert loads(data) == value


class TestLimits:
    def test_models_beyond_the_limit_are_left_out_and_told(self) -> None:
        spec = SPECS["absolute_deviation"]
        size = int(taught(spec).columns(SLOTS)()[columns.LENGTHS][0])
        learner = taught(spec, kept_bytes_max=size + 10)
        kept = learner.columns(SLOTS)()
        assert (kept[columns.LENGTHS] > 0).tolist() == [True, False, False]
        assert len(kept[columns.OBJECTS]) <= size + 10
        (told,) = learner.take_left_out()
        assert (told.reason, told.models) == ("size_limit", 2)
        assert not learner.take_left_out(), "told once"
        restored = learner_of(spec)
        restored.restore(SLOTS, kept)
        assert [restored.samples_seen(slot) > 0 for slot in range(3)] == [True, False, False]

    def test_a_limit_that_was_lowered_holds_for_reading(self) -> None:
        kept = taught().columns(SLOTS)()
        restored = learner_of(SPECS["gaussian"], kept_bytes_max=int(kept[columns.LENGTHS][0]))
        restored.restore(SLOTS, kept)
        assert restored.take_left_out()[0].models == 2
        assert restored.samples_seen(0) > 0

    def test_a_model_that_cannot_be_kept_is_left_out_alone(self) -> None:
        learner = taught()
        assert learner._series[1] is not None
        learner._series[1].model.stranger = Path("/")
        kept = learner.columns(SLOTS)()
        assert (kept[columns.LENGTHS] > 0).tolist() == [True, False, True]
        (told,) = learner.take_left_out()
        assert (told.reason, told.models) == ("not_picklable", 1)

    def test_graphs_of_neighbours_are_not_kept_and_do_not_break_anything(self) -> None:
        engine = {"river": "river.neighbors.SWINN", "params": {}}
        learner = taught(RiverSpec("river.anomaly.LocalOutlierFactor", {"engine": engine}))
        learner.columns(SLOTS)()
        assert [each.reason for each in learner.take_left_out()] == ["not_picklable"]

    def test_another_version_of_river_is_told_and_not_read(self) -> None:
        kept = dict(taught().columns(SLOTS)())
        kept[columns.VERSION] = np.frombuffer(b"river 0.0.1", np.uint8)
        restored = learner_of(SPECS["gaussian"])
        restored.restore(SLOTS, kept)
        detail = f"the snapshot's models are of river 0.0.1, this is {RIVER_VERSION}"
        assert restored.take_left_out() == [LeftOut("river_version", 3, detail)]
        assert restored.samples_seen(0) == 0

    def test_a_snapshot_without_them_is_told(self) -> None:
        restored = learner_of(SPECS["gaussian"])
        restored.restore(SLOTS, {})
        assert [(each.reason, each.models) for each in restored.take_left_out()] == [("not_stored", 3)]

    def test_without_the_option_nothing_is_written_and_a_snapshot_with_them_is_refused_with_the_remedy(self) -> None:
        off = taught(kept_bytes_max=0)
        assert off.columns(SLOTS)() == {}
        with pytest.raises(SnapshotRefusedError, match=r"state\.river_objects: true"):
            learner_of(SPECS["gaussian"], kept_bytes_max=0).restore(SLOTS, taught().columns(SLOTS)())

    def test_models_of_other_settings_are_refused(self) -> None:
        with pytest.raises(SnapshotRefusedError, match="of these settings"):
            learner_of(SPECS["absolute_deviation"]).restore(SLOTS, taught().columns(SLOTS)())

    def test_lengths_that_do_not_fit_are_refused(self) -> None:
        kept = dict(taught().columns(SLOTS)())
        for lengths in ([-1, 5, 5], [1, 2, 3]):
            with pytest.raises(SnapshotRefusedError):
                learner_of(SPECS["gaussian"]).restore(SLOTS, {**kept, columns.LENGTHS: np.array(lengths)})


def text(value: str) -> bytes:
    """A string on the stack."""
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def program(*parts: bytes) -> bytes:
    """A pickle of protocol 5."""
    return b"\x80\x05" + b"".join(parts) + b"."


def look_up(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def door(name: str) -> bytes:
    return look_up(PLACE, name)


class Run:
    """Asks the standard unpickler to call something."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self._call


MARKER: Final = "DETECTOR_TEST_PICKLE_RAN"
SPEAK: Final = f"import os; os.environ[{MARKER!r}] = '1'"
SHELL: Final = Run(os.system, "exit 7")
EVIL: Final[dict[str, bytes]] = {
    "os.system": pickle.dumps(SHELL, protocol=5),
    "builtins.exec": pickle.dumps(Run(exec, SPEAK), protocol=5),
    "builtins.eval": pickle.dumps(Run(eval, "1"), protocol=5),
    "a chain of getattr": pickle.dumps(Run(getattr, Run(__import__, "os"), "system"), protocol=5),
    "__import__": pickle.dumps(Run(__import__, "os"), protocol=5),
    "text protocol": b"cos\nsystem\n(S'true'\ntR.",
    "INST": b"\x80\x05(S'true'\nios\nsystem\n.",
    "OBJ": b"\x80\x05(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "nested attribute": program(look_up("river.base", "sys.modules"), b")R"),
    "door with dots": program(look_up(PLACE, "sys.modules"), b")R"),
    "module of a door": program(look_up(PLACE, "pickle"), b")R"),
    "function behind a door": program(look_up(PLACE, "_fill"), b")R"),
    "module of river as a door": program(look_up("river.base", "NEW"), b")R"),
    "dots through NEW": program(door("NEW"), text("river.base"), text("Base.__class__"), b"\x86R"),
    "subprocess through NEW": program(door("NEW"), text("subprocess"), text("Popen"), b"\x86R"),
    "sys through NEW": program(door("NEW"), text("river.base.base"), text("sys"), b"\x86R"),
    "an alias through NEW": program(door("NEW"), text("river.anomaly"), text("GaussianScorer"), b"\x86R"),
    "a data set of river": program(door("NEW"), text(datasets.Phishing.__module__), text("Phishing"), b"\x86R"),
    "a class that is no estimator": program(door("NEW"), text("river.stream.cache"), text("Cache"), b"\x86R"),
    "constructor of anything": program(door("CONSTRUCT"), text("river.optim.initializers"), text("Normal"), b"\x86R"),
    "eval as a function": program(door("FUNCTION"), text("builtins"), text("eval"), b"\x86R"),
    "eval as a class": program(door("CLASS"), text("builtins"), text("eval"), b"\x86R"),
    "type as a factory": program(door("FACTORY"), text("type"), b"\x85R"),
    "a string as a factory": program(door("DEFAULTDICT"), text("x"), b"}\x86R"),
    "a door as a factory": program(door("DEFAULTDICT"), door("CLASS"), b"}\x86R"),
    "REDUCE of an object": program(
        *(door("NEW"), text("river.optim.initializers"), text("Zeros"), b"\x86R", b"J\xff\xff\xff\x7f\x85R"),
    ),
    "REDUCE of a string": program(text("eval"), b")R"),
    "REDUCE without a tuple": program(door("DEQUE"), b"]R"),
    "BUILD": program(door("NEW"), text("river.anomaly.gaussian"), text("GaussianScorer"), b"\x86R}b"),
    "BUILD of a door": program(door("NEW"), b"}", text("__defaults__"), b")sb"),
    "NEWOBJ": program(door("NEW"), b")\x81"),
    "NEWOBJ_EX": program(door("NEW"), b")}\x92"),
    "persistent id": b"\x80\x05Pevil\n.",
    "binary persistent id": program(text("evil"), b"Q"),
    "extension 1": program(b"\x82\x01"),
    "extension 2": program(b"\x83\x01\x00"),
    "extension 4": program(b"\x84\x01\x00\x00\x00"),
    "out-of-band buffer": program(b"\x97"),
    "read-only buffer": program(b"N\x98"),
    "DUP": program(b"N2\x86"),
    "a door left alone": program(door("NEW")),
    "a door in a list": program(b"]", door("NEW"), b"a"),
    "a class attribute": program(
        *(door("FILL"), door("NEW"), text("river.anomaly.gaussian"), text("GaussianScorer"), b"\x86R"),
        *(b"}", text("__class__"), b"Ns", b"N\x86\x86R"),
    ),
    "fill a deque": program(door("FILL"), door("DEQUE"), b"]N\x86R", b"NN\x86\x86R"),
    "fill a list": program(door("FILL"), b"]", b"NN\x86\x86R"),
    "an array of objects": program(door("ARRAY"), b"(", text("O"), b")", text("C"), b"C\x08" + bytes(8), b"tR"),
    "an array without bytes": program(
        door("ARRAY"), b"(", text("<f8"), b"J\xff\xff\xff\x7f\x85", text("C"), b"C\x08" + bytes(8), b"tR"
    ),
    "BINBYTES8 of an exabyte": program(b"\x8e" + struct.pack("<Q", 1 << 60)),
    "BINBYTES8 of all": program(b"\x8e" + b"\xff" * 8),
    "BYTEARRAY8 of a terabyte": program(b"\x96" + struct.pack("<Q", 1 << 40)),
    "BINUNICODE8 of an exabyte": program(b"\x8d" + struct.pack("<Q", 1 << 60)),
    "BINUNICODE of 4 GB": program(b"X\xff\xff\xff\xff"),
    "LONG4 of a negative size": program(b"\x8b\xff\xff\xff\xff"),
    "FRAME of an exabyte": program(b"\x95" + struct.pack("<Q", 1 << 60), b"N"),
    "a memo of gigabytes": program(b"Nr\xff\xff\xff\x7f"),
    "PUT": b"\x80\x05Np2147483647\n.",
    "BINGET of nothing": program(b"h\x07"),
    "LONG_BINGET far out": program(b"N\x94j\xff\xff\xff\xff"),
    "a key that cannot be hashed": program(b"}]Ns"),
    "a deep tuple as a key": program(b"}", b")" + b"\x85" * 100_000, b"Ns"),
    "an object as a key": program(b"}", door("DEQUE"), b"]N\x86R", b"Ns"),
    "a deep tuple in a set": program(b"\x8f(", b")" + b"\x85" * 50, b"\x90"),
    "APPENDS to an object": program(door("DEQUE"), b"]N\x86R", b"(Ne"),
    "SETITEMS of an object": program(door("ORDERED"), b"}\x85R", b"(NNu"),
    "an odd SETITEMS": program(b"}(NNNu"),
    "a mark as a value": program(b"(\x85"),
    "TUPLE without a mark": program(b"NNt"),
    "POP of nothing": program(b"0N"),
    "two results": program(b"NN"),
    "no result": program(b""),
    "something behind the end": program(b"N") + b"N.",
    "no end": b"\x80\x05N",
    "a cut number": b"\x80\x05J\x00\x00",
    "protocol 4": b"\x80\x04N.",
    "no protocol": b"N.",
    "a second protocol": b"\x80\x05\x80\x05N.",
    "nothing": b"",
}


class TestNothingForgedIsCarriedOut:
    @pytest.mark.parametrize("name", EVIL)
    def test_forgeries_are_refused(self, name: str) -> None:
        with pytest.raises(SnapshotRefusedError):
            loads(EVIL[name])
        assert MARKER not in os.environ

    def test_the_forgeries_would_work_elsewhere(self) -> None:
        assert pickle.loads(EVIL["os.system"]) == 7 << 8  # noqa: S301  # our own bytes
        pickle.loads(EVIL["builtins.exec"])  # noqa: S301
        assert os.environ.pop(MARKER) == "1"

    def test_forged_sizes_are_seen_before_python_reads_them(self) -> None:
        claims = [
            name for name in EVIL if name.endswith(("byte", "gigabytes", "of all", "GB", "negative size", "far out"))
        ]
        assert len(claims) >= 9
        for name in claims:
            assert fault_of(EVIL[name]) is not None

    def test_every_byte_changed_gives_an_object_or_a_refusal(self) -> None:
        data = dumps(taught(SPECS["quantile_filter"])._series[0].kept())  # type: ignore[union-attr]  # it was taught
        assert data is not None
        chance = random.Random(1)
        refused = 0
        for _ in range(3_000):
            changed = bytearray(data)
            changed[chance.randrange(len(data))] = chance.randrange(256)
            try:
                loads(bytes(changed))
            except SnapshotRefusedError:
                refused += 1
        assert refused > 300

    @given(st.binary(max_size=200))
    def test_noise_is_refused_or_plain(self, noise: bytes) -> None:
        data = b"\x80\x05" + noise
        if fault_of(data) is None:
            names = {arg for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"}
            assert not names
        else:
            with pytest.raises(SnapshotRefusedError):
                loads(data)

    def test_what_is_written_calls_doors_only(self) -> None:
        data = dumps(taught(SPECS["half_space_trees"])._series[0].kept())  # type: ignore[union-attr]  # it was taught
        assert data is not None
        operations = {operation.name for operation, _, _ in pickletools.genops(data)}
        assert {"REDUCE", "STACK_GLOBAL"} <= operations
        assert not operations & {"BUILD", "NEWOBJ", "NEWOBJ_EX", "GLOBAL", "INST", "OBJ", "BYTEARRAY8"}

    @pytest.mark.parametrize(
        "value",
        [
            print,
            os.system,
            Path("/"),
            object(),
            lambda: 1,
            datasets.Phishing(),
            [].append,
            neighbors.base.DistanceFunc,
            np.array([object()]),
            stats.RollingQuantile(0.5, 10),
            {frozenset({1}): 1},
            type("Hinge", (optim.losses.Hinge,), {})(),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_other_objects_are_not_written(self, value: object) -> None:
        assert dumps(value) is None

    def test_doors_cannot_be_changed(self) -> None:
        with pytest.raises(pickle.UnpicklingError):
            DOORS["NEW"].__setstate__({})
        with pytest.raises(AttributeError):
            DOORS["NEW"].other = 1  # type: ignore[attr-defined]  # that is the test

    def test_every_detector_of_river_is_tried_above(self) -> None:
        tried = {spec.path.rsplit(".", 1)[1] for spec in SPECS.values()}
        assert tried == set(anomaly.__all__) - {"base"}
