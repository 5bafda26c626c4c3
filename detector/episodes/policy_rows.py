"""Policies as rows of numbers, for the kernels."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.episodes.policies import SEVERITIES, Policy
from detector.episodes.records import POLICY_DTYPE, low_bits


def policy_rows(policies: Sequence[Policy]) -> NDArray[np.void]:
    """Policies as parameter rows for the kernel, windows as bit masks and times in milliseconds."""
    rows = np.zeros(len(policies), POLICY_DTYPE)
    for row, policy in zip(rows, policies, strict=True):
        row["up"] = policy.direction in {"up", "both"}
        row["down"] = policy.direction in {"down", "both"}
        for name in ("deviation_min", "abs_min", "rel_min", "volume_min", "open_points", "close_points"):
            row[name] = getattr(policy, name)
        row["open_mask"] = low_bits(policy.open_window)
        row["close_mask"] = low_bits(policy.close_window)
        row["novelty_min"] = math.inf if policy.novelty_min is None else policy.novelty_min
        row["cooldown_ms"] = round(policy.cooldown_s * 1000)
        row["flap_crossings"] = policy.flap_crossings
        # A window of n rows has n - 1 pairs of neighbours.
        row["flap_mask"] = low_bits(policy.flap_window - 1)
        row["update_interval_ms"] = round(policy.update_interval_s * 1000)
        row["error_score"] = policy.severity_error_score
        row["critical_score"] = policy.severity_critical_score
        row["silence_close_ms"] = round(policy.silence_close_s * 1000)
        if policy.no_data is not None:
            row["no_data_intervals"] = policy.no_data.intervals
            row["no_data_min_ms"] = round(policy.no_data.min_s * 1000)
            row["no_data_level"] = SEVERITIES.index(policy.no_data.severity)
        if policy.level_shift is not None:
            row["shift_after_ms"] = round(policy.level_shift.after_s * 1000)
            row["shift_points"] = policy.level_shift.points
        if policy.stuck is not None:
            row["stuck_runs"] = policy.stuck.runs
            row["stuck_min_ms"] = round(policy.stuck.min_s * 1000)
            row["stuck_points"] = policy.stuck.points
            row["stuck_level"] = SEVERITIES.index(policy.stuck.severity)
        if policy.drift is not None:
            row["drift_delta"] = policy.drift.delta
        if policy.variance is not None:
            row["spread_ratio"] = policy.variance.ratio
            row["spread_points"] = policy.variance.points
            row["spread_level"] = SEVERITIES.index(policy.variance.severity)
    return rows
