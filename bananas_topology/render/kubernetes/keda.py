"""KEDA's ScaledObjects: pools scaled by the length of their lists in Redis, with no adapter.

A pool's jobs lie in several lists (one a priority; one a priority and job type for what a
specialized worker has set aside), so the triggers are added up by a formula.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from bananas_topology.render.kubernetes.autoscaling import (
    behavior,
    utilization_targets,
)
from bananas_topology.render.kubernetes.objects import Object, Owner, metadata, object_name
from bananas_topology.render.kubernetes.redis import is_managed, redis_name
from bananas_topology.render.names import short_hash
from bananas_topology.render.redis_server import PORT
from bananas_topology.spec.model import Autoscale, Pool, Topology

#: The namespace that KEDA is installed to, unless someone chose another.
KEDA_NAMESPACE = "keda"

#: Seconds between two looks at the lists.
_POLLING_S = 15

#: KEDA's parameters, and the keys of the Secret that hold them.
_EXTERNAL_KEYS = {
    "address": "REDIS_ADDRESS",
    "username": "REDIS_USERNAME",
    "password": "REDIS_PASSWORD",
}


def uses_lists(topology: Topology) -> bool:
    """Whether KEDA has to look into Redis."""
    return topology.kubernetes.autoscaler == "keda" and any(
        pool.autoscale is not None and pool.autoscale.queue_depth is not None
        for pool in topology.pools
    )


def authentication_name(topology: Topology) -> str:
    return object_name(topology, "redis-lists")


def trigger_authentication(topology: Topology) -> Object:
    """How KEDA gets in: by keys of the Secret. Empty ones are as good as none."""
    keys = {"password": "REDIS_PASSWORD"} if is_managed(topology) else _EXTERNAL_KEYS
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": metadata(topology, authentication_name(topology)),
        "spec": {
            "secretTargetRef": [
                {"parameter": parameter, "name": topology.kubernetes.secret, "key": key}
                for parameter, key in keys.items()
            ]
        },
    }


def scaled_object(
    topology: Topology, name: str, owner: Owner, autoscale: Autoscale, triggers: list[Object]
) -> Object:
    """The scaler of one Deployment."""
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
        "metadata": metadata(topology, name, owner),
        "spec": {
            "scaleTargetRef": {"name": name},
            "pollingInterval": _POLLING_S,
            "minReplicaCount": autoscale.min_replicas,
            "maxReplicaCount": autoscale.max_replicas,
            "advanced": advanced,
            "triggers": triggers,
        },
    }


def pool_triggers(topology: Topology, pool: Pool, autoscale: Autoscale) -> list[Object]:
    """What a pool is scaled by."""
    made = resource_triggers(autoscale)
    if autoscale.queue_depth is not None:
        target = autoscale.queue_depth
        made += [_list_trigger(topology, name, target) for name in _lists(topology, pool)]
    return made


def resource_triggers(autoscale: Autoscale) -> list[Object]:
    """CPU and memory, as shares of what is requested."""
    return [
        {"type": name, "metricType": "Utilization", "metadata": {"value": str(percent)}}
        for name, percent in utilization_targets(autoscale)
    ]


def _lists(topology: Topology, pool: Pool) -> list[tuple[str, ...]]:
    """The lists that a pool takes jobs from, as priority, or priority and job type."""
    types = pool.job_types or _types_set_aside(topology)
    return [
        each
        for priority in pool.priorities
        for each in ((priority,), *((priority, job_type) for job_type in types))
    ]


def _types_set_aside(topology: Topology) -> Iterable[str]:
    """The job types known of, where some pool leaves others' jobs to the rest."""
    if not any(pool.job_types for pool in topology.pools):
        return ()
    named = [job_type for pool in topology.pools for job_type in pool.job_types]
    scheduled = [schedule.job for schedule in topology.schedules]
    return dict.fromkeys((*topology.jobs, *named, *scheduled))


def _list_trigger(topology: Topology, parts: tuple[str, ...], target: int) -> Object:
    where = {"address": f"{redis_name(topology)}.{topology.kubernetes.namespace}.svc:{PORT}"}
    how = where if is_managed(topology) else _connection(topology.redis.url or "")
    return {
        "type": "redis",
        "name": _identifier("_".join(parts)),
        "metadata": {
            **how,
            "listName": ":".join((topology.redis.key_prefix, "queue", *parts)),
            "listLength": str(target),
        },
        "authenticationRef": {"name": authentication_name(topology)},
    }


def _connection(url: str) -> dict[str, str]:
    """What an external server's URL says that is no secret: TLS, and which database."""
    parts = urlsplit(url)
    made = {"enableTLS": "true"} if parts.scheme == "rediss" else {}
    database = parts.path.strip("/")
    return {**made, "databaseIndex": database} if database.isdigit() else made


def _identifier(text: str) -> str:
    """A name that a formula can use; different ones stay different.

    >>> _identifier("high_send_email"), _identifier("low_send-email")
    ('high_send_email', 'low_send_email_57d22058')
    """
    legal = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return legal if legal == text else f"{legal}_{short_hash(text)}"
