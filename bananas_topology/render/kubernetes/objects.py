"""What every rendered object shares: its name, its labels, and how others select it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bananas_topology.render.names import dns_label, label_value
from bananas_topology.spec.model import Mode, Pool, Topology

#: A Kubernetes object, as it is written.
Object = dict[str, Any]

#: The label that tells the pools of one topology apart.
POOL_LABEL = "bananas/pool"

WORKER, SCHEDULER, API, REDIS = "worker", "scheduler", "api", "redis"


@dataclass(frozen=True, slots=True)
class Owner:
    """What an object belongs to: a component of the topology, and the pool if it is one."""

    component: str
    pool: str | None = None
    image: str | None = None

    @classmethod
    def of_pool(cls, pool: Pool) -> Owner:
        component = SCHEDULER if pool.mode is Mode.SCHEDULER_ONLY else WORKER
        return cls(component, pool.name, pool.image)


def object_name(topology: Topology, part: str) -> str:
    """A name within the namespace; only a namespace shared with others needs the topology's."""
    is_ours_alone = topology.kubernetes.namespace == topology.name
    return dns_label(part if is_ours_alone else f"{topology.name}-{part}")


def pool_name(topology: Topology, pool: Pool) -> str:
    """The name of everything that is made for one pool."""
    return object_name(topology, pool.name)


def metadata(topology: Topology, name: str, owner: Owner | None = None) -> Object:
    """Name, namespace, labels and the topology's annotations."""
    made: Object = {
        "name": name,
        "namespace": topology.kubernetes.namespace,
        "labels": labels(topology, owner),
    }
    if topology.kubernetes.annotations:
        made["annotations"] = dict(topology.kubernetes.annotations)
    return made


def labels(topology: Topology, owner: Owner | None = None) -> dict[str, str]:
    """All labels of an object: ours, which selectors rely on, and the topology's own."""
    component = owner.component if owner else None
    program = component if component in (None, REDIS) else f"bananas-{component}"
    made = {
        "app.kubernetes.io/name": program or "bananas",
        "app.kubernetes.io/instance": label_value(topology.name),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/version": version_of(owner.image) if owner and owner.image else None,
        "app.kubernetes.io/part-of": label_value(topology.name),
        "app.kubernetes.io/managed-by": "bananas",
        POOL_LABEL: label_value(owner.pool) if owner and owner.pool else None,
    }
    ours = {name: text for name, text in made.items() if text is not None}
    theirs = topology.kubernetes.labels
    return {**ours, **{name: text for name, text in theirs.items() if name not in ours}}


def selector(topology: Topology, owner: Owner | None = None) -> dict[str, str]:
    """The fewest labels that tell the owner's pods apart; they never change with the spec.

    A pool's pods are told by its name alone: its mode, and so its component, may change, and a
    Deployment's selector must not. Without an owner: all pods of the topology.
    """
    made = {"app.kubernetes.io/instance": label_value(topology.name)}
    if owner is None:
        return made
    if owner.pool is not None:
        return {**made, POOL_LABEL: label_value(owner.pool)}
    return {**made, "app.kubernetes.io/component": owner.component}


def tag_of(image: str) -> str | None:
    """The tag of an image reference; None where it has none or is pinned by digest.

    >>> [tag_of(image) for image in ("a.io:5000/b", "a.io:5000/b:1.2", "b@sha256:ab", "b:latest")]
    [None, '1.2', None, 'latest']
    """
    if "@" in image:
        return None
    return image.rpartition("/")[2].partition(":")[2] or None


def version_of(image: str) -> str | None:
    """The version that an image's tag says; "latest" says none."""
    tag = tag_of(image)
    return label_value(tag) if tag and tag != "latest" else None


def is_pool_of(topology: Topology) -> Object:
    """A label selector for all pods that run pools, whatever they are called."""
    return {
        "matchLabels": selector(topology),
        "matchExpressions": [{"key": POOL_LABEL, "operator": "Exists"}],
    }
