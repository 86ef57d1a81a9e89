"""KEDA's ScaledObjects: pools scaled by the length of their lists in Redis, without an adapter.

A pool takes jobs from several lists (one per priority; one per priority and job type for jobs that
a specialized worker has set aside), so a formula adds the triggers up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from bananas_topology.render.kubernetes.hpa import behavior, utilization_targets
from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    component_metadata,
    component_name,
    metadata,
    object_name,
)
from bananas_topology.render.kubernetes.redis import is_managed, redis_name
from bananas_topology.render.names import short_hash
from bananas_topology.render.redis_server import PASSWORD_KEY, PORT
from bananas_topology.spec.model import Autoscale, Pool, Topology

#: The namespace that KEDA is installed in by default.
KEDA_NAMESPACE = "keda"

#: Seconds between two readings of the lists' lengths.
_POLLING_S = 15

#: KEDA's parameters, and the keys of the Secret with their values.
_EXTERNAL_KEYS = {
    "address": "REDIS_ADDRESS",
    "username": "REDIS_USERNAME",
    "password": PASSWORD_KEY,
}


def is_chosen(topology: Topology) -> bool:
    """Whether KEDA scales the pools, rather than HorizontalPodAutoscalers."""
    return topology.kubernetes.autoscaler == "keda"


def reads_redis(topology: Topology) -> bool:
    """Whether KEDA needs access to Redis."""
    return is_chosen(topology) and any(
        pool.autoscale is not None and pool.autoscale.queue_depth is not None
        for pool in topology.pools
    )


def trigger_authentication(topology: Topology) -> Object:
    """How KEDA authenticates to Redis: with keys of the Secret, of which some may be empty."""
    keys = {"password": PASSWORD_KEY} if is_managed(topology) else _EXTERNAL_KEYS
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata(topology, _authentication_name(topology)),
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": topology.kubernetes.secret, "key": key}
                for parameter, key in keys.items()
            ]
        },
    }


def scaled_object(
    topology: Topology, component: Component, autoscale: Autoscale, triggers: list[Object]
) -> Object:
    """The autoscaler of one Deployment."""
    advanced: Object = {"horizontalPodAutoscalerConfig": {"behavior": behavior(autoscale)}}
    lists = [trigger["name"] for trigger in triggers if trigger["type"] == "redis"]
    if len(lists) > 1:
        advanced["scalingModifiers"] = {
            "formula": " + ".join(lists),
            "target": str(autoscale.queue_depth),
            "metricType": "AverageValue",
        }
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": component_metadata(topology, component),
        "spec": {
            "scaleTargetRef": {"name": component_name(topology, component)},
            "pollingInterval": _POLLING_S,
            "minReplicaCount": autoscale.min_replicas,
            "maxReplicaCount": autoscale.max_replicas,
            "advanced": advanced,
            "triggers": triggers,
        },
    }


def pool_triggers(topology: Topology, pool: Pool, autoscale: Autoscale) -> list[Object]:
    """The targets of a pool."""
    triggers = resource_triggers(autoscale)
    if autoscale.queue_depth is not None:
        target = autoscale.queue_depth
        triggers += [_list_trigger(topology, parts, target) for parts in _lists(topology, pool)]
    return triggers


def resource_triggers(autoscale: Autoscale) -> list[Object]:
    """CPU and memory, in percent of the request."""
    return [
        {"type": name, "metricType": "Utilization", "metadata": {"value": str(percent)}}
        for name, percent in utilization_targets(autoscale)
    ]


def _lists(topology: Topology, pool: Pool) -> list[tuple[str, ...]]:
    """The lists that a pool takes jobs from, by priority, or priority and job type."""
    types = pool.worker.job_types or _known_job_types(topology)
    return [
        parts
        for priority in pool.worker.priorities
        for parts in ((priority,), *((priority, job_type) for job_type in types))
    ]


def _known_job_types(topology: Topology) -> Iterable[str]:
    """The job types that specialized workers may set aside; none if there are no such workers."""
    if not any(pool.worker.job_types for pool in topology.pools):
        return ()
    named = [job_type for pool in topology.pools for job_type in pool.worker.job_types]
    scheduled = [schedule.job for schedule in topology.schedules.values()]
    return dict.fromkeys((*topology.jobs, *named, *scheduled))


def _list_trigger(topology: Topology, parts: tuple[str, ...], target: int) -> Object:
    if is_managed(topology):
        address = f"{redis_name(topology)}.{topology.kubernetes.namespace}.svc:{PORT}"
        connection = {"address": address}
    else:
        connection = _connection(topology.redis.url or "")
    return {
        "type": "redis",
        "name": _identifier("_".join(parts)),
        "metadata": {
            **connection,
            "listName": ":".join((topology.redis.key_prefix, "queue", *parts)),
            "listLength": str(target),
        },
        "authenticationRef": {"name": _authentication_name(topology)},
    }


def _connection(url: str) -> dict[str, str]:
    """The parts of an external server's URL that are not secret: TLS and the database number."""
    parts = urlsplit(url)
    connection = {"enableTLS": "true"} if parts.scheme == "rediss" else {}
    database = parts.path.strip("/")
    return {**connection, "databaseIndex": database} if database.isdigit() else connection


def _authentication_name(topology: Topology) -> str:
    return object_name(topology, "redis-lists")


def _identifier(text: str) -> str:
    """A trigger name that a formula can use; different texts give different names.

    >>> _identifier("high_send_email"), _identifier("low_send-email")
    ('high_send_email', 'low_send_email_57d22058')
    """
    legal = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return legal if legal == text else f"{legal}_{short_hash(text)}"
