"""Which autoscaler owns a Deployment's replicas, if any: the topology's choice of two kinds."""

from __future__ import annotations

from bananas_topology.render.kubernetes import autoscaling, keda
from bananas_topology.render.kubernetes.api import api_name, api_owner
from bananas_topology.render.kubernetes.objects import Object, Owner, pool_name
from bananas_topology.spec.model import Api, Pool, Topology


def pool_scaler(topology: Topology, pool: Pool) -> Object | None:
    """The autoscaler of a pool, if it has one."""
    if pool.autoscale is None:
        return None
    name, owner = pool_name(topology, pool), Owner.of_pool(pool)
    if _uses_keda(topology):
        triggers = keda.pool_triggers(topology, pool, pool.autoscale)
        return keda.scaled_object(topology, name, owner, pool.autoscale, triggers)
    metrics = autoscaling.pool_metrics(pool, pool.autoscale)
    return autoscaling.autoscaler(topology, name, owner, pool.autoscale, metrics)


def api_scaler(topology: Topology, api: Api) -> Object | None:
    """The autoscaler of the api; None if it has none, or KEDA can measure none of its targets."""
    if api.autoscale is None:
        return None
    name, owner = api_name(topology), api_owner(api)
    if _uses_keda(topology):
        triggers = keda.resource_triggers(api.autoscale)
        if not triggers:
            return None
        return keda.scaled_object(topology, name, owner, api.autoscale, triggers)
    metrics = autoscaling.api_metrics(api.autoscale)
    return autoscaling.autoscaler(topology, name, owner, api.autoscale, metrics)


def _uses_keda(topology: Topology) -> bool:
    return topology.kubernetes.autoscaler == "keda"
