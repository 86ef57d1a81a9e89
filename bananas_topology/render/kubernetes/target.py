"""A topology as Kubernetes manifests: one file for each part that a person would look for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bananas_topology.errors import RenderFailed
from bananas_topology.render.kubernetes import api as http
from bananas_topology.render.kubernetes import keda, monitoring, network, redis, workers
from bananas_topology.render.kubernetes.disruption import disruption_budget, fewest
from bananas_topology.render.kubernetes.namespace import namespace, service_account
from bananas_topology.render.kubernetes.notices import notices
from bananas_topology.render.kubernetes.objects import Object, Owner, pool_name
from bananas_topology.render.kubernetes.scaling import api_scaler, pool_scaler
from bananas_topology.render.kubernetes.variables import checksum, config_map
from bananas_topology.render.patches import Patchable, apply_patches
from bananas_topology.render.target import File, Rendering, header
from bananas_topology.spec.model import Api, Pool, Topology
from bananas_topology.yaml_writer import to_yaml

KUSTOMIZATION_FILE = "kustomization.yaml"

#: What a pod template carries, so that a changed ConfigMap rolls the pods.
_CHECKSUM = "checksum/config"


class KubernetesTarget:
    """The target behind ``bananas render --k8s``."""

    name = "k8s"

    def render(self, topology: Topology) -> Rendering:
        """Make the manifests, in the order in which they can be applied.

        Raises:
            RenderFailed: a patch does not apply, or leaves something that is no object.
        """
        placed = [(path, each) for path, objects in _files(topology) for each in objects]
        patched = _patched(topology, [each for _, each in placed])
        _stamp(patched)
        contents: dict[str, list[Object]] = {}
        for (path, _), each in zip(placed, patched, strict=True):
            contents.setdefault(path, []).append(each)
        top = header(topology, self.name)
        files = [File(path, top + _documents(each)) for path, each in contents.items()]
        files.append(File(KUSTOMIZATION_FILE, top + _kustomization(contents), is_streamed=False))
        return Rendering(tuple(files), notices(topology))


def _files(topology: Topology) -> Iterator[tuple[str, list[Object]]]:
    """Every file with its objects; what others need comes before them."""
    yield "namespace.yaml", [namespace(topology), service_account(topology)]
    yield "network.yaml", list(network.policies(topology))
    yield "config.yaml", [config_map(topology)]
    if redis.is_managed(topology):
        yield "redis.yaml", _redis(topology)
    if keda.uses_lists(topology):
        yield "keda.yaml", [keda.trigger_authentication(topology)]
    for pool in topology.pools:
        yield f"pool-{pool_name(topology, pool)}.yaml", _pool(topology, pool)
    if topology.api is not None:
        yield "api.yaml", _api(topology, topology.api)
    if topology.kubernetes.monitoring == "prometheus-operator":
        objects = [monitoring.pod_monitor(topology), monitoring.prometheus_rule(topology)]
        yield "monitoring.yaml", objects


def _redis(topology: Topology) -> list[Object]:
    name, owner = redis.redis_name(topology), redis.redis_owner(topology)
    return [
        redis.service(topology),
        redis.stateful_set(topology),
        disruption_budget(topology, name, owner, None, 1),
    ]


def _pool(topology: Topology, pool: Pool) -> list[Object]:
    scaler = pool_scaler(topology, pool)
    name = pool_name(topology, pool)
    fewest_replicas = fewest(pool.replicas, pool.autoscale)
    return [
        workers.deployment(topology, pool, is_autoscaled=scaler is not None),
        disruption_budget(topology, name, Owner.of_pool(pool), pool.disruption, fewest_replicas),
        *([scaler] if scaler else []),
    ]


def _api(topology: Topology, api: Api) -> list[Object]:
    scaler = api_scaler(topology, api)
    name, owner = http.api_name(topology), http.api_owner(api)
    fewest_replicas = fewest(api.replicas, api.autoscale)
    return [
        http.service(topology, api),
        http.deployment(topology, api, is_autoscaled=scaler is not None),
        disruption_budget(topology, name, owner, api.disruption, fewest_replicas),
        *([scaler] if scaler else []),
        *([http.ingress(topology, api, api.ingress)] if api.ingress else []),
    ]


def _patched(topology: Topology, objects: Sequence[Object]) -> list[Object]:
    patchable = [Patchable(each["kind"], each["metadata"]["name"], each) for each in objects]
    patched = apply_patches(patchable, topology.kubernetes.patches, "kubernetes.patches")
    for each in patched:
        _check_object(each)
    made = [dict(each.value) for each in patched]
    identities = [(each["kind"], each["metadata"]["name"]) for each in made]
    for identity in identities:
        if identities.count(identity) > 1:
            raise RenderFailed(f"kubernetes.patches leaves two objects {' '.join(identity)}")
    return made


def _check_object(patched: Patchable) -> None:
    value: Any = patched.value
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for field, met in (
        ("apiVersion", value.get("apiVersion")),
        ("kind", value.get("kind")),
        ("metadata.name", name),
    ):
        if not isinstance(met, str) or not met:
            raise RenderFailed(
                f"kubernetes.patches leaves {patched.kind} {patched.name} without its {field}"
            )


def _stamp(objects: Sequence[Object]) -> None:
    """Note in each pod template what its ConfigMaps hold, patches included."""
    held = {
        each["metadata"]["name"]: each.get("data") or {}
        for each in objects
        if each["kind"] == "ConfigMap"
    }
    for each in objects:
        if each["kind"] != "Deployment":
            continue
        try:
            _stamp_template(each["spec"]["template"], held)
        except (KeyError, TypeError, AttributeError) as error:
            name = each["metadata"]["name"]
            raise RenderFailed(
                f"kubernetes.patches leaves Deployment {name} without a whole pod template"
            ) from error


def _stamp_template(template: Object, held: Object) -> None:
    sources = [
        source.get("configMapRef", {}).get("name")
        for container in template["spec"]["containers"]
        for source in container.get("envFrom", ())
    ]
    used = {name: held[name] for name in sources if name in held}
    if used:
        annotations = template["metadata"].setdefault("annotations", {})
        annotations[_CHECKSUM] = checksum(used)


def _documents(objects: Sequence[Object]) -> str:
    return "---\n".join(to_yaml(each) for each in objects)


def _kustomization(paths: Iterable[str]) -> str:
    return to_yaml(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(paths),
        }
    )
