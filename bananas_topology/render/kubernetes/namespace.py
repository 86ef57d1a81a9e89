"""The namespace, which admits only restricted pods, and the pods' service account."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import Object, labels, metadata, object_name
from bananas_topology.spec.model import Topology

_RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
}


def account_name(topology: Topology) -> str:
    """The service account of all pods."""
    return topology.kubernetes.service_account.name or object_name(topology, "bananas")


def pull_secrets(topology: Topology) -> list[dict[str, str]]:
    """References to the Secrets that a node pulls images with."""
    return [{"name": name} for name in topology.kubernetes.image_pull_secrets]


def namespace_object(topology: Topology) -> Object:
    """The namespace, labelled to admit restricted pods only."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": topology.kubernetes.namespace,
            "labels": {**labels(topology), **_RESTRICTED},
        },
    }


def service_account(topology: Topology) -> Object:
    """An account without a token: no pod uses the cluster's API."""
    about = metadata(topology, account_name(topology))
    if annotations := topology.kubernetes.service_account.annotations:
        about["annotations"] = {**about.get("annotations", {}), **annotations}
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": about,
        "automountServiceAccountToken": False,
    }
    if topology.kubernetes.image_pull_secrets:
        account["imagePullSecrets"] = pull_secrets(topology)
    return account
