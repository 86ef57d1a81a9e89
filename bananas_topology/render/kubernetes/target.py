"""A topology as Kubernetes manifests, one file per component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bananas_topology.errors import RenderFailed
from bananas_topology.render.kubernetes.api import api_objects
from bananas_topology.render.kubernetes.keda import reads_redis, trigger_authentication
from bananas_topology.render.kubernetes.monitoring import monitoring_objects
from bananas_topology.render.kubernetes.namespace import namespace_object, service_account
from bananas_topology.render.kubernetes.network import network_policies
from bananas_topology.render.kubernetes.notices import notices
from bananas_topology.render.kubernetes.objects import Component, Object, component_name
from bananas_topology.render.kubernetes.redis import is_managed, redis_objects
from bananas_topology.render.kubernetes.workers import pool_objects
from bananas_topology.render.patches import Patchable, apply_patches
from bananas_topology.render.target import File, Rendering, header
from bananas_topology.spec.model import Topology
from bananas_topology.yaml_writer import to_yaml

KUSTOMIZATION_FILE = "kustomization.yaml"

#: Not part of the kustomization: deleting the namespace deletes the Secret and the jobs in Redis.
NAMESPACE_FILE = "namespace.yaml"


class KubernetesTarget:
    """The target behind ``bananas render --k8s``."""

    name = "k8s"

    def render(self, topology: Topology) -> Rendering:
        """Make the manifests, in the order in which they can be applied.

        Raises:
            RenderFailed: a patch does not apply, or its result is not a valid object.
        """
        placed = [(path, made) for path, objects in _files(topology) for made in objects]
        patched = _patched(topology, [made for _, made in placed])
        contents: dict[str, list[Object]] = {}
        for (path, _), made in zip(placed, patched, strict=True):
            contents.setdefault(path, []).append(made)
        top = header(topology, self.name)
        files = [File(path, top + _documents(objects)) for path, objects in contents.items()]
        listed = [path for path in contents if path != NAMESPACE_FILE]
        files.append(File(KUSTOMIZATION_FILE, top + _kustomization(listed), is_streamed=False))
        return Rendering(tuple(files), notices(topology))


def _files(topology: Topology) -> Iterator[tuple[str, list[Object]]]:
    """All files with their objects; what others depend on comes first."""
    if topology.kubernetes.creates_namespace:
        yield NAMESPACE_FILE, [namespace_object(topology)]
    if topology.kubernetes.service_account.is_created:
        yield "account.yaml", [service_account(topology)]
    yield "network.yaml", list(network_policies(topology))
    if is_managed(topology):
        yield "redis.yaml", redis_objects(topology)
    if reads_redis(topology):
        yield "keda.yaml", [trigger_authentication(topology)]
    for pool in topology.pools:
        name = component_name(topology, Component.of_pool(pool))
        yield f"pool-{name}.yaml", pool_objects(topology, pool)
    if topology.api is not None:
        yield "api.yaml", api_objects(topology, topology.api)
    if topology.kubernetes.monitoring == "prometheus-operator":
        yield "monitoring.yaml", monitoring_objects(topology)


def _patched(topology: Topology, objects: Sequence[Object]) -> list[Object]:
    patchable = [Patchable(made["kind"], made["metadata"]["name"], made) for made in objects]
    patches = topology.kubernetes.patches
    patched = apply_patches(patchable, patches, "kubernetes", _invalid_object)
    results = [dict(result.value) for result in patched]
    identities = Counter((result["kind"], result["metadata"]["name"]) for result in results)
    (identity, count), *_ = identities.most_common(1)
    if count > 1:
        raise RenderFailed(f"kubernetes.patches produce two objects {' '.join(identity)}")
    return results


def _invalid_object(patched: Patchable) -> str | None:
    """What makes an object invalid, if anything."""
    value: Any = patched.value
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    fields = {"apiVersion": value.get("apiVersion"), "kind": value.get("kind")}
    for field, text in {**fields, "metadata.name": name}.items():
        if not isinstance(text, str) or not text:
            return f"has no {field}"
    return None


def _documents(objects: Sequence[Object]) -> str:
    return "---\n".join(to_yaml(made) for made in objects)


def _kustomization(paths: Iterable[str]) -> str:
    return to_yaml(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(paths),
        }
    )
