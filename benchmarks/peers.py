"""Other detectors of one series of numbers, each in one pass, with one set of parameters: what ours is compared with.

A peer takes float64[n] and answers float64[n], larger where a sample is stranger; row i knows the rows before it only.
Peers of PySAD and rrcf come with the extra ``bench`` and are left out, with a line that says so, where it is missing.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import numpy as np
from river import anomaly, preprocessing, time_series

from benchmarks.report_line import note
from detector.batches import FloatArray

EWMA_HALF_LIFE: Final = 100.0
SEED: Final = 42
FORECAST_ROWS_MIN: Final = 2
"""Without them the forecaster has no level and raises."""
RRCF_TREES: Final = 10
"""A quarter of what is usual, since each tree costs a quarter of a millisecond per sample."""
RRCF_SAMPLES: Final = 256
PROBATION_SHARE: Final = 0.15
PROBATION_MAX: Final = 750
"""Rows at the beginning that the k-NN detector calibrates on: what the Numenta benchmark allows."""

_anomaly: Any = anomaly
_time_series: Any = time_series
"""Without types, as river has none."""

Scorer = Callable[[FloatArray], FloatArray]


class Peer(NamedTuple):
    """A detector; ``slow`` ones take 0.05 ms per sample or more, ``needs`` is a module of the extra."""

    name: str
    score: Scorer
    slow: bool = False
    needs: str | None = None


def three_sigma(values: FloatArray) -> FloatArray:
    """Distance from the mean of all samples so far, in their standard deviations."""
    mean = square = 0.0
    scores = np.zeros(len(values))
    for row, value in enumerate(values.tolist()):
        if square > 0.0:
            scores[row] = abs(value - mean) / math.sqrt(square / (row - 1))
        step = value - mean
        mean += step / (row + 1)
        square += step * (value - mean)
    return scores


def ewma_z(values: FloatArray) -> FloatArray:
    """Distance from an EW mean in EW standard deviations."""
    gain = 1.0 - 0.5 ** (1.0 / EWMA_HALF_LIFE)
    mean, variance = float(values[0]), 0.0
    scores = np.zeros(len(values))
    for row, value in enumerate(values.tolist()):
        share = max(gain, 1.0 / (row + 1))
        residual = value - mean
        scores[row] = abs(residual) / math.sqrt(variance) if variance > 0.0 else 0.0
        mean += residual * share
        variance += (residual * residual - variance) * share
    return scores


def _supervised(model: Any, values: FloatArray, learnt_first: int = 0) -> FloatArray:
    """River's detectors of a target: score, then learn; the first rows are only learnt."""
    scores = np.zeros(len(values))
    for row, value in enumerate(values.tolist()):
        if row >= learnt_first:
            scores[row] = model.score_one({}, value)
        model.learn_one({}, value)
    return scores


def _scaled(model: Any, values: FloatArray) -> FloatArray:
    """River's detectors of features: the value, scaled to [0, 1] by what was seen so far."""
    scaler: Any = preprocessing.MinMaxScaler()
    scores = np.zeros(len(values))
    for row, value in enumerate(values.tolist()):
        scaler.learn_one({"value": value})
        features = scaler.transform_one({"value": value})
        scores[row] = model.score_one(features)
        model.learn_one(features)
    return scores


def gaussian_scorer(values: FloatArray) -> FloatArray:
    """River's tail probability under one Gaussian."""
    return _supervised(_anomaly.GaussianScorer(), values)


def standard_absolute_deviation(values: FloatArray) -> FloatArray:
    """River's distance from the running mean."""
    return _supervised(_anomaly.StandardAbsoluteDeviation(), values)


def predictive(values: FloatArray) -> FloatArray:
    """River's distance from a Holt-Winters forecast."""
    forecaster = _time_series.HoltWinters(alpha=0.3, beta=0.1)
    return _supervised(_anomaly.PredictiveAnomalyDetection(forecaster), values, FORECAST_ROWS_MIN)


def one_class_svm(values: FloatArray) -> FloatArray:
    """River's one-class support vector machine."""
    return _scaled(_anomaly.OneClassSVM(), values)


def half_space_trees(values: FloatArray) -> FloatArray:
    """River's half-space trees."""
    return _scaled(_anomaly.HalfSpaceTrees(seed=SEED), values)


def local_outlier_factor(values: FloatArray) -> FloatArray:
    """River's local outlier factor."""
    return _scaled(_anomaly.LocalOutlierFactor(), values)


def _of_pysad(model: Any, values: FloatArray) -> FloatArray:
    """PySAD scores a sample after it has learnt it: that is its interface, and in its favour."""
    scores = np.zeros(len(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row, value in enumerate(values.tolist()):
            scores[row] = np.asarray(model.fit_score_partial(np.array([value]))).ravel()[0]
    return scores


def pysad_median(values: FloatArray) -> FloatArray:
    """PySAD's distance from the median of a window, in median absolute deviations."""
    return _of_pysad(import_module("pysad.models").MedianAbsoluteDeviation(), values)


def pysad_loda(values: FloatArray) -> FloatArray:
    """PySAD's histograms of random projections."""
    np.random.seed(SEED)  # noqa: NPY002 - the library draws from the global generator
    return _of_pysad(import_module("pysad.models").LODA(), values)


def pysad_knn(values: FloatArray) -> FloatArray:
    """PySAD's conformalised k-NN for one series, calibrated on the rows that NAB allows."""
    probation = max(2, math.floor(min(PROBATION_MAX, PROBATION_SHARE * len(values))))
    return _of_pysad(import_module("pysad.models").KNNCAD(probationary_period=probation), values)


def random_cut_forest(values: FloatArray) -> FloatArray:
    """Mean collusive displacement over a robust random cut forest of the last samples (the library rrcf)."""
    make: Any = import_module("rrcf").RCTree
    trees = [make(random_state=SEED + index) for index in range(RRCF_TREES)]
    scores = np.zeros(len(values))
    for row, value in enumerate(values.tolist()):
        total = 0.0
        for tree in trees:
            if row >= RRCF_SAMPLES:
                tree.forget_point(row - RRCF_SAMPLES)
            tree.insert_point([value], index=row)
            total += tree.codisp(row)
        scores[row] = total / RRCF_TREES
    return scores


PEERS: Final = (
    Peer("3-sigma rule", three_sigma),
    Peer("EWMA z", ewma_z),
    Peer("river GaussianScorer", gaussian_scorer),
    Peer("river StandardAbsoluteDeviation", standard_absolute_deviation),
    Peer("river PredictiveAnomalyDetection", predictive),
    Peer("river OneClassSVM", one_class_svm),
    Peer("river HalfSpaceTrees", half_space_trees, slow=True),
    Peer("river LocalOutlierFactor", local_outlier_factor, slow=True),
    Peer("PySAD MedianAbsoluteDeviation", pysad_median, slow=True, needs="pysad"),
    Peer("PySAD LODA", pysad_loda, slow=True, needs="pysad"),
    Peer("PySAD KNNCAD", pysad_knn, slow=True, needs="pysad"),
    Peer("rrcf", random_cut_forest, slow=True, needs="rrcf"),
)


def chosen(*, slow: bool) -> list[Peer]:
    """The peers that are to run and can; says which are left out for want of their library."""
    found = []
    for peer in PEERS:
        if peer.slow and not slow:
            continue
        if peer.needs is not None and find_spec(peer.needs) is None:
            note(f"{peer.name} left out: pip install -e '.[bench]'")
            continue
        found.append(peer)
    return found


def scored(peer: Peer, series: Mapping[str, FloatArray], jobs: int) -> dict[str, FloatArray]:
    """The peer's answer to every series, NaN and infinities made finite, in ``jobs`` processes."""
    note(peer.name)
    if jobs == 1:
        answers: Sequence[FloatArray] = [peer.score(values) for values in series.values()]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            answers = list(pool.map(peer.score, series.values()))
    return {name: np.nan_to_num(scores) for name, scores in zip(series, answers, strict=True)}
