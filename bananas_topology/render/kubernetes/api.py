"""The HTTP api: its Deployment, its Service and, when the topology has one, its Ingress."""

from __future__ import annotations

from bananas_topology.launch import launch_for_api
from bananas_topology.render.kubernetes.deployments import deployment_of, scrape_annotations
from bananas_topology.render.kubernetes.objects import (
    API,
    Object,
    Owner,
    metadata,
    object_name,
    selector,
)
from bananas_topology.render.kubernetes.pods import (
    container_security,
    pull_policy,
    resources,
    template,
    tmp_mount,
    tmp_volume,
)
from bananas_topology.render.kubernetes.variables import api_environment
from bananas_topology.spec.model import Api, Ingress, Topology

#: How long a stopping api goes on answering, until every node has heard that it is leaving.
_LINGER_MS = 5_000
_LINGER = ["python", "-c", f"import time; time.sleep({_LINGER_MS // 1000})"]


def api_owner(api: Api) -> Owner:
    return Owner(API, image=api.image)


def api_name(topology: Topology) -> str:
    return object_name(topology, API)


def deployment(topology: Topology, api: Api, *, is_autoscaled: bool) -> Object:
    """The api's processes."""
    owner = api_owner(api)
    pod = template(
        topology,
        owner,
        _container(topology, api),
        grace_ms=_LINGER_MS + launch_for_api(topology, api).grace_ms,
        placement=api.placement,
        volumes=[tmp_volume()],
        annotations=scrape_annotations(topology, api.port),
    )
    replicas = None if is_autoscaled else api.replicas
    return deployment_of(topology, api_name(topology), owner, pod, replicas)


def service(topology: Topology, api: Api) -> Object:
    """What clients talk to."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(topology, api_name(topology), api_owner(api)),
        "spec": {
            "type": api.service_type,
            "selector": selector(topology, api_owner(api)),
            "ports": [{"name": "http", "port": api.port, "targetPort": "http"}],
        },
    }


def ingress(topology: Topology, api: Api, wanted: Ingress) -> Object:
    """How the Service is reached from outside of the cluster."""
    name = api_name(topology)
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Object = {}
    if wanted.class_name is not None:
        spec["ingressClassName"] = wanted.class_name
    if wanted.tls_secret is not None:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret}]
    spec["rules"] = [{"host": wanted.host, "http": {"paths": [path]}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(topology, name, api_owner(api)),
        "spec": spec,
    }


def _container(topology: Topology, api: Api) -> Object:
    return {
        "name": "api",
        "image": api.image,
        "imagePullPolicy": pull_policy(api.image),
        "command": ["python", "-m", launch_for_api(topology, api).module],
        **api_environment(topology, api),
        "ports": [{"name": "http", "containerPort": api.port}],
        **resources(api.resources),
        **_probes(),
        "lifecycle": {"preStop": {"exec": {"command": _LINGER}}},
        "securityContext": container_security(),
        "volumeMounts": [tmp_mount()],
    }


def _probes() -> Object:
    """Alive as long as it answers at all; ready as long as Redis answers it."""
    lives = {"httpGet": {"path": "/livez", "port": "http"}}
    ready = {"httpGet": {"path": "/readyz", "port": "http"}}
    return {
        "startupProbe": {**lives, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 30},
        "livenessProbe": {**lives, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
    }
