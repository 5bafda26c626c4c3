"""What a new series may take over from its peers: how much values like its own usually scatter.

Peers are series of one metric that differ in nothing but where they come from: pods, hosts, tasks. At each full hour of
event time the usual sizes of all series that have seen enough are put together by group; a series that begins later
takes those of its group with it. Its first ``PEERS_SAMPLES`` samples then tell its level and whether it scatters as its
peers do. If so, it is given the rest of its warm-up: made-up samples around that level which scatter like theirs, so
that the learner counts the peers' knowledge as so many samples of its own.

The table is a function of the records before the hour, and what a series takes over of the table when it begins.
"""

import hashlib
import json
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.batches import FloatArray, IntArray, SeriesIdentity
from detector.columns import Columns, taken
from detector.compiled import compiled
from detector.errors import SnapshotRefusedError

INTERVAL_MS: Final = 3_600_000
"""Grid of event time on which peers are put together."""
NO_GROUP: Final = 0
PEERS_MIN: Final = 3
"""Fewer say nothing of what is usual."""
MATURE_SAMPLES: Final = 120
"""Samples that a series has seen before it counts as a peer."""
PEERS_SAMPLES: Final = 8
"""Own samples of a series with peers before it is scored."""
SCATTER_MAX: Final = 2.0
"""Scatter of these, in usual sizes of the peers: a series that begins otherwise waits like one without peers."""
LEVEL_RATIO_MAX: Final = 2.0
"""A level so many times beyond those of all peers has a size in proportion to it, not theirs."""

INSTANCE_LABELS: Final = frozenset(
    {
        *("pod", "pod_name", "pod_uid", "pod_ip", "pod_template_hash", "k8s.pod.name", "k8s_pod_name", "k8s.pod.uid"),
        *("k8s_pod_uid", "k8s.pod.ip", "kubernetes.pod.name", "kubernetes_pod_name", "kubernetes.pod_name"),
        *("replicaset", "k8s.replicaset.name", "k8s_replicaset_name", "k8s.replicaset.uid", "container_id"),
        *("container.id", "instance", "instance_id", "service.instance.id", "service_instance_id", "task", "task_id"),
        *("host", "host.name", "host_name", "host.id", "host_id", "host.ip", "hostname", "node", "nodename"),
        *("node_name", "k8s.node.name", "k8s_node_name", "k8s.node.uid", "ip", "uid"),
    }
)
"""Labels that tell where a series comes from, not what it is about."""

SIZE: Final = 0
RELATIVE: Final = 1
LOWEST: Final = 2
HIGHEST: Final = 3
PRIOR_NUMBERS: Final = 4
"""A prior is four numbers: the median of the peers' usual sizes (0: there is no prior), that of their sizes over their
levels, and the lowest and the highest of their levels, in absolute value."""
NO_PRIOR: Final = np.zeros(PRIOR_NUMBERS)

SCATTER: Final = np.array(
    (
        *(-1.24, 1.03, -0.85, 0.85, 1.53, 0.42, 0.55, -1.03, 0.69, 0.3, -0.06),
        *(-0.55, -1.53, -0.3, 0.18, -2.06, -0.42, 0.06, 2.06, -0.18, -0.69, 1.24),
    )
)
"""Normal scores in an order without a trend or a rhythm: mean 0, variance 1."""


def group_of(identity: SeriesIdentity) -> int:
    """What a series has in common with its peers, as 64 bits; ``NO_GROUP`` for one that can have none.

    >>> pods = [SeriesIdentity("cpu", {"pod": pod, "service": "shop"}, "", "") for pod in "ab"]
    >>> group_of(pods[0]) == group_of(pods[1]) != group_of(SeriesIdentity("cpu", {"pod": "a"}, "", ""))
    True
    """
    common = [(name, value) for name, value in sorted(identity.labels.items()) if name not in INSTANCE_LABELS]
    if len(common) == len(identity.labels):
        return NO_GROUP
    text = json.dumps([identity.name, identity.unit, common]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


@compiled
def prior_size(prior: FloatArray, level: float) -> float:
    """The usual size that ``prior`` expects at this level."""
    distance = abs(level)
    if distance * LEVEL_RATIO_MAX < prior[LOWEST] or distance > prior[HIGHEST] * LEVEL_RATIO_MAX:
        return float(prior[RELATIVE]) * distance
    return float(prior[SIZE])


@compiled
def completed(times_ms: IntArray, values: FloatArray, prior: FloatArray) -> bool:
    """Fill up the samples of a series from its first ``PEERS_SAMPLES``; false, and nothing done, where they do not fit.

    ``times_ms`` int64[n] and ``values`` float64[n]; the own samples end up last, the made-up ones at their usual
    distance of time before them.
    """
    ordered = np.sort(values[:PEERS_SAMPLES])
    level = 0.5 * (float(ordered[(PEERS_SAMPLES - 1) // 2]) + float(ordered[PEERS_SAMPLES // 2]))
    size = prior_size(prior, level)
    squares = 0.0
    for i in range(PEERS_SAMPLES):
        distance = float(values[i]) - level
        squares += distance * distance
    if not (size > 0.0 and math.sqrt(squares / PEERS_SAMPLES) <= SCATTER_MAX * size and size < math.inf):
        return False
    made_up = len(values) - PEERS_SAMPLES
    interval = max((int(times_ms[PEERS_SAMPLES - 1]) - int(times_ms[0])) // (PEERS_SAMPLES - 1), 1)
    for i in range(PEERS_SAMPLES - 1, -1, -1):
        times_ms[made_up + i] = times_ms[i]
        values[made_up + i] = values[i]
    for i in range(made_up):
        times_ms[i] = times_ms[made_up] - (made_up - i) * interval
        values[i] = level + size * float(SCATTER[i])
    return True


class PeerTable:
    """Priors by group, as of one moment; never changed in place."""

    def __init__(
        self, groups: NDArray[np.uint64] | None = None, priors: FloatArray | None = None, left_out: int = 0
    ) -> None:
        self._groups = np.zeros(0, dtype=np.uint64) if groups is None else groups
        self._priors = np.zeros((0, PRIOR_NUMBERS)) if priors is None else priors
        self.left_out: Final = left_out

    def __len__(self) -> int:
        return len(self._groups)

    def prior_of(self, group: int) -> FloatArray:
        """The prior of a group, float64[4]; all zeros where there is none."""
        place = int(np.searchsorted(self._groups, np.uint64(group)))
        known = group != NO_GROUP and place < len(self._groups) and int(self._groups[place]) == group
        return self._priors[place] if known else NO_PRIOR

    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._groups.nbytes + self._priors.nbytes

    def columns(self) -> Columns:
        """The table for a snapshot."""
        return {"group": self._groups, "prior": self._priors}

    @staticmethod
    def restored(columns: Columns) -> "PeerTable":
        """The table of a snapshot; raises ``SnapshotRefusedError``."""
        column = columns.get("group")
        if column is None or column.ndim != 1:
            raise SnapshotRefusedError("the snapshot has no groups of peers")
        groups = taken(columns, "group", np.dtype(np.uint64), column.shape)
        if (groups[1:] <= groups[:-1]).any():
            raise SnapshotRefusedError("the snapshot's groups of peers are not in order")
        return PeerTable(groups, taken(columns, "prior", np.dtype(np.float64), (len(groups), PRIOR_NUMBERS)))


@compiled
def _fill_priors(
    starts: IntArray, counts: IntArray, sizes: FloatArray, distances: FloatArray, priors: NDArray[np.float64]
) -> None:
    """The prior of each group, whose ``counts`` peers stand together from ``starts`` on; medians are peers' own."""
    for i in range(len(starts)):
        own = slice(starts[i], starts[i] + counts[i])
        middle = counts[i] // 2
        far = np.sort(distances[own])
        relative = np.zeros(counts[i])
        for k in range(counts[i]):
            distance = float(distances[starts[i] + k])
            if distance > 0.0:
                relative[k] = float(sizes[starts[i] + k]) / distance
        priors[i, SIZE] = np.sort(sizes[own])[middle]
        priors[i, RELATIVE] = np.sort(relative)[middle]
        priors[i, LOWEST] = far[0]
        priors[i, HIGHEST] = far[-1]


def put_together(groups: NDArray[np.uint64], sizes: FloatArray, levels: FloatArray, groups_max: int) -> PeerTable:
    """The table of series with these groups, usual sizes and levels; in whatever order they come.

    Of more than ``groups_max`` groups those with the most peers are kept, and the others counted.
    """
    order = np.argsort(groups, kind="stable")
    known, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    enough = np.flatnonzero((counts >= PEERS_MIN) & (known != NO_GROUP))
    kept = np.sort(enough[np.argsort(-counts[enough], kind="stable")][:groups_max])
    priors = np.empty((len(kept), PRIOR_NUMBERS))
    _fill_priors(starts[kept], counts[kept], sizes[order], np.abs(levels[order]), priors)
    return PeerTable(known[kept], priors, len(enough) - len(kept))
