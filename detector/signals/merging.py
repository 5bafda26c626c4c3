"""Two templates become one: what is a sum stays one, the rest is taken as if they had come independently."""

import math

import numpy as np
from numpy.typing import NDArray

from detector.compiled import compiled
from detector.log_batches import RECENT_WINDOWS


@compiled
def fold(rows: NDArray[np.void], number: int, into: int) -> None:
    """Fold the record of ``number`` into that of ``into``, and clear it.

    Exact for lines: totals, histories, decayed lines and means of windows that were learnt with their full weight.
    Variances add up, as of independent counts; a window with lines of either counts as present as if they were, too.
    """
    row, other = rows[into], rows[number]
    if other["total"] == 0 or number == into:
        return
    weight = max(float(row["weight"]), float(other["weight"]))
    own, share = float(row["weight"]) / weight, float(other["weight"]) / weight
    row["mean"] = own * float(row["mean"]) + share * float(other["mean"])
    row["seasonal_mean"] = own * float(row["seasonal_mean"]) + share * float(other["seasonal_mean"])
    row["variance"] = own * float(row["variance"]) + share * float(other["variance"])
    row["seasonal_variance"] = own * float(row["seasonal_variance"]) + share * float(other["seasonal_variance"])
    row["weight"] = weight
    weight = max(float(row["slow_weight"]), float(other["slow_weight"]))
    own, share = float(row["slow_weight"]) / weight, float(other["slow_weight"]) / weight
    row["excess"] = own * float(row["excess"]) + share * float(other["excess"])
    row["square"] = _square_of_sum(own * float(row["square"]), share * float(other["square"]))
    row["slow_weight"] = weight
    weight = max(float(row["slow_windows"]), float(other["slow_windows"]))
    own, share = float(row["slow_windows"]) / weight, float(other["slow_windows"]) / weight
    row["slow_windows"] = weight
    row["error"] = own * float(row["error"]) + share * float(other["error"])
    row["seasonal_error"] = own * float(row["seasonal_error"]) + share * float(other["seasonal_error"])
    row["slow_mean"] = own * float(row["slow_mean"]) + share * float(other["slow_mean"])
    row["clumps"] = own * float(row["clumps"]) + share * float(other["clumps"])
    first, second = own * float(row["presence"]), share * float(other["presence"])
    row["presence"] = first + second - first * second
    row["active"] = max(float(row["active"]), float(other["active"]))
    row["decayed"] += float(other["decayed"])
    row["share_excess"] += float(other["share_excess"])
    row["share_square"] = _square_of_sum(float(row["share_square"]), float(other["share_square"]))
    row["first_ms"] = other["first_ms"] if row["total"] == 0 else min(row["first_ms"], other["first_ms"])
    row["silent"] = other["silent"] if row["total"] == 0 else min(row["silent"], other["silent"])
    row["total"] += other["total"]
    row["windows"] = max(row["windows"], other["windows"])
    row["held"] = max(row["held"], other["held"])
    row["severity"] = max(row["severity"], other["severity"])
    for k in range(RECENT_WINDOWS):
        row["recent"][k] += other["recent"][k]


@compiled
def _square_of_sum(first: float, second: float) -> float:
    """The mean square of a sum of two that rise and fall together, by their mean squares."""
    return first + second + 2.0 * math.sqrt(max(first * second, 0.0))
