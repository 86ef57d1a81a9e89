"""The namespace, which refuses any pod that is not restricted, and the pods' account."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import Object, labels, metadata, object_name
from bananas_topology.spec.model import Topology

_RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
}


def account_name(topology: Topology) -> str:
    """The service account of all our pods."""
    return object_name(topology, "bananas")


def namespace(topology: Topology) -> Object:
    """The namespace, before anything that lives in it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": topology.kubernetes.namespace,
            "labels": {**labels(topology), **_RESTRICTED},
        },
    }


def service_account(topology: Topology) -> Object:
    """An account of our own, without a token: nothing of ours talks to the cluster's API."""
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(topology, account_name(topology)),
        "automountServiceAccountToken": False,
    }
    if topology.kubernetes.image_pull_secrets:
        account["imagePullSecrets"] = pull_secrets(topology)
    return account


def pull_secrets(topology: Topology) -> list[dict[str, str]]:
    """What lets a node fetch the images."""
    return [{"name": name} for name in topology.kubernetes.image_pull_secrets]
