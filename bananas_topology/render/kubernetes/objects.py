"""What all rendered objects share: names, labels and selectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bananas_topology.contract.names import REDIS, SCHEDULER
from bananas_topology.contract.values import Mode
from bananas_topology.render.names import dns_label, label_value
from bananas_topology.spec.model import Pool, Topology

#: A Kubernetes object, as it is written.
Object = dict[str, Any]

#: The label that tells the pools of one topology apart.
POOL_LABEL = "bananas/pool"

#: The label of everything that was rendered.
MANAGED_BY = {"app.kubernetes.io/managed-by": "bananas"}

_INSTANCE_LABEL = "app.kubernetes.io/instance"
_COMPONENT_LABEL = "app.kubernetes.io/component"

#: Labels that a topology cannot set: selectors rely on them, or the commands of the runbook.
RESERVED_LABELS = (
    *("app.kubernetes.io/name", "app.kubernetes.io/part-of", _INSTANCE_LABEL, _COMPONENT_LABEL),
    *(*MANAGED_BY, POOL_LABEL),
)


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the deployment with pods of its own: a pool, the scheduler, the api or Redis.

    `role` is the value of the label ``app.kubernetes.io/component``.
    """

    role: str
    pool: str | None = None
    image: str | None = None

    @classmethod
    def of_pool(cls, pool: Pool) -> Component:
        role = SCHEDULER if pool.worker.mode is Mode.SCHEDULER_ONLY else "worker"
        return cls(role, pool.name, pool.image)


def object_name(topology: Topology, part: str) -> str:
    """A name within the namespace, prefixed with the topology's if the namespace is shared."""
    is_shared = topology.kubernetes.namespace != topology.name
    return dns_label(f"{topology.name}-{part}" if is_shared else part)


def component_name(topology: Topology, component: Component) -> str:
    """The name of all objects of a component."""
    return object_name(topology, component.pool or component.role)


def metadata(topology: Topology, name: str, component: Component | None = None) -> Object:
    """Name, namespace, labels and the topology's annotations."""
    made: Object = {
        "name": name,
        "namespace": topology.kubernetes.namespace,
        "labels": labels(topology, component),
    }
    if topology.kubernetes.annotations:
        made["annotations"] = dict(topology.kubernetes.annotations)
    return made


def component_metadata(topology: Topology, component: Component) -> Object:
    """The metadata of an object that is named after its component."""
    return metadata(topology, component_name(topology, component), component)


def labels(topology: Topology, component: Component | None = None) -> dict[str, str]:
    """All labels of an object: ours, which selectors rely on, then the topology's own."""
    role = component.role if component else None
    program = role if role in (None, REDIS) else f"bananas-{role}"
    image = component.image if component else None
    pool = component.pool if component else None
    made = {
        "app.kubernetes.io/name": program or "bananas",
        _INSTANCE_LABEL: label_value(topology.name),
        _COMPONENT_LABEL: role,
        "app.kubernetes.io/version": version_of(image) if image else None,
        "app.kubernetes.io/part-of": label_value(topology.name),
        **MANAGED_BY,
        POOL_LABEL: label_value(pool) if pool else None,
    }
    ours = {name: text for name, text in made.items() if text is not None}
    reserved = {*ours, *RESERVED_LABELS}
    theirs = topology.kubernetes.labels
    return {**ours, **{name: text for name, text in theirs.items() if name not in reserved}}


def selector(topology: Topology, component: Component | None = None) -> dict[str, str]:
    """The labels that select a component's pods; without a component, all pods of the topology.

    A Deployment's selector is immutable, so these labels never change with the topology file. A
    pool is selected by name alone: its mode, and so its role, may change.
    """
    made = {_INSTANCE_LABEL: label_value(topology.name)}
    if component is None:
        return made
    if component.pool is not None:
        return {**made, POOL_LABEL: label_value(component.pool)}
    return {**made, _COMPONENT_LABEL: component.role}


def pods_selector(topology: Topology, component: Component | None = None) -> Object:
    """A label selector for a component's pods; without a component, for all of the topology."""
    return {"matchLabels": selector(topology, component)}


def pool_pods_selector(topology: Topology) -> Object:
    """A label selector for the pods of all pools, the scheduler's included."""
    expression = {"key": POOL_LABEL, "operator": "Exists"}
    return {**pods_selector(topology), "matchExpressions": [expression]}


def client_pods_selector(topology: Topology) -> Object:
    """A label selector for all pods of the topology except the Redis server's."""
    expression = {"key": _COMPONENT_LABEL, "operator": "NotIn", "values": [REDIS]}
    return {**pods_selector(topology), "matchExpressions": [expression]}


def tag_of(image: str) -> str | None:
    """The tag of an image reference; None if it has no tag or is pinned by digest.

    >>> [tag_of(image) for image in ("a.io:5000/b", "a.io:5000/b:1.2", "b@sha256:ab", "b:latest")]
    [None, '1.2', None, 'latest']
    """
    if "@" in image:
        return None
    return image.rpartition("/")[2].partition(":")[2] or None


def version_of(image: str) -> str | None:
    """The version in an image's tag; None for "latest"."""
    tag = tag_of(image)
    return label_value(tag) if tag and tag != "latest" else None
