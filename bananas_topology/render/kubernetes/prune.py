"""The command that applies the manifests and deletes what an earlier topology left behind.

``kubectl apply --prune`` deletes objects with the topology's labels that are no longer in the
manifests: a renamed pool's Deployment, an autoscaler that is no longer wanted. Without a list of
kinds it would delete the Secret as well.
"""

from __future__ import annotations

from bananas_topology.render.kubernetes.keda import is_chosen
from bananas_topology.render.kubernetes.objects import MANAGED_BY, selector
from bananas_topology.spec.model import Topology

#: What is deleted when no longer rendered. The Namespace, the Secret and the claim of the Redis
#: server's disk, with the jobs, are never among them.
_KINDS = (
    "core/v1/Service",
    "core/v1/ServiceAccount",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "networking.k8s.io/v1/Ingress",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
)
#: The same of custom resources, which kubectl accepts only if the cluster defines them.
_KEDA_KINDS = ("keda.sh/v1alpha1/ScaledObject", "keda.sh/v1alpha1/TriggerAuthentication")
_OPERATOR_KINDS = (
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
)


def prune_command(topology: Topology) -> str:
    """The command line; it reads the manifests from standard input, and needs no quoting."""
    labels = ",".join(
        f"{name}={text}" for name, text in {**selector(topology), **MANAGED_BY}.items()
    )
    kinds = [*_KINDS]
    if is_chosen(topology):
        kinds += _KEDA_KINDS
    if topology.kubernetes.monitoring == "prometheus-operator":
        kinds += _OPERATOR_KINDS
    allowed = " ".join(f"--prune-allowlist={kind}" for kind in kinds)
    return f"kubectl apply --prune --selector={labels} {allowed} -f -"
