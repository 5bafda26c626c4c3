"""Where a series belongs, read from the label names that are in use."""

from collections.abc import Mapping
from typing import Final

from detector.encoders.event import Topology

# OpenTelemetry's names come first (Source: semantic conventions, resource attributes), then the same with underscores,
# as Prometheus exporters write them, then Beats and Fluent Bit, then what people write by hand.
SERVICE_LABELS: Final = (
    "service.name",
    "service_name",
    "app.kubernetes.io/name",
    "app_kubernetes_io_name",
    "service",
    "app",
    "application",
    "job",
)
NAMESPACE_LABELS: Final = (
    "k8s.namespace.name",
    "k8s_namespace_name",
    "kubernetes.namespace",
    "kubernetes.namespace_name",
    "kubernetes_namespace",
    "namespace",
    "service.namespace",
    "service_namespace",
)
CLUSTER_LABELS: Final = ("k8s.cluster.name", "k8s_cluster_name", "kubernetes.cluster.name", "cluster", "cluster_name")
HOST_LABELS: Final = (
    "host.name",
    "host_name",
    "k8s.node.name",
    "k8s_node_name",
    "kubernetes.node.name",
    "hostname",
    "host",
    "node",
    "nodename",
    "instance",
)


def topology_of(labels: Mapping[str, str]) -> Topology:
    """Service, namespace, cluster and host by the first of the known labels that is not empty."""
    return Topology(
        service=_first(labels, SERVICE_LABELS),
        namespace=_first(labels, NAMESPACE_LABELS),
        cluster=_first(labels, CLUSTER_LABELS),
        host=_first(labels, HOST_LABELS),
    )


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)
