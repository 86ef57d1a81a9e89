"""The HTTP api: its Service, its workload and, if the topology has one, its Ingress."""

from __future__ import annotations

from bananas_topology.contract.names import API
from bananas_topology.launch import launch_for_api
from bananas_topology.render.containers import API_STARTUP_MS
from bananas_topology.render.credentials import api_files
from bananas_topology.render.kubernetes import hpa, keda
from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    component_metadata,
    component_name,
    selector,
)
from bananas_topology.render.kubernetes.pods import (
    container_resources,
    container_security,
    credentials_mount,
    credentials_volume,
    http_probes,
    pod_template,
    pull_policy,
    tmp_mount,
    tmp_volume,
)
from bananas_topology.render.kubernetes.sources import mounts, volumes
from bananas_topology.render.kubernetes.variables import api_environment
from bananas_topology.render.kubernetes.workloads import workload
from bananas_topology.spec.model import Api, Ingress, Topology

#: How long a stopping api keeps answering, until every node has removed it from the Service.
_LINGER_MS = 5_000
_LINGER = ["python", "-c", f"import time; time.sleep({_LINGER_MS // 1000})"]


def api_component(api: Api) -> Component:
    return Component(API, image=api.image)


def api_objects(topology: Topology, api: Api) -> list[Object]:
    """The Service, the Deployment with its PodDisruptionBudget and autoscaler, the Ingress."""
    component = api_component(api)
    pod = pod_template(
        topology,
        component,
        _container(topology, api),
        grace_ms=_LINGER_MS + launch_for_api(topology, api).grace_ms,
        placement=api.placement,
        volumes=[
            tmp_volume(),
            credentials_volume(topology, api_files(topology)),
            *volumes(api.container),
        ],
        of=api.container,
    )
    return [
        _service(topology, api),
        *workload(topology, component, api, pod, api_autoscaler(topology, api)),
        *([_ingress(topology, api, api.ingress)] if api.ingress else []),
    ]


def api_autoscaler(topology: Topology, api: Api) -> Object | None:
    """The api's autoscaler; None if it has none, or KEDA can measure none of its targets."""
    if api.autoscale is None:
        return None
    component = api_component(api)
    if keda.is_chosen(topology):
        triggers = keda.resource_triggers(api.autoscale)
        return (
            keda.scaled_object(topology, component, api.autoscale, triggers) if triggers else None
        )
    return hpa.autoscaler(topology, component, api.autoscale, hpa.api_metrics(api.autoscale))


def _service(topology: Topology, api: Api) -> Object:
    component = api_component(api)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": component_metadata(topology, component),
        "spec": {
            "type": api.service_type,
            "selector": selector(topology, component),
            "ports": [{"name": "http", "port": api.config.port, "targetPort": "http"}],
        },
    }


def _ingress(topology: Topology, api: Api, ingress: Ingress) -> Object:
    component = api_component(api)
    name = component_name(topology, component)
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec: Object = {}
    if ingress.class_name is not None:
        spec["ingressClassName"] = ingress.class_name
    if ingress.tls_secret is not None:
        spec["tls"] = [{"hosts": [ingress.host], "secretName": ingress.tls_secret}]
    spec["rules"] = [{"host": ingress.host, "http": {"paths": [path]}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": component_metadata(topology, component),
        "spec": spec,
    }


def _container(topology: Topology, api: Api) -> Object:
    return {
        "name": "api",
        "image": api.image,
        "imagePullPolicy": pull_policy(topology, api.image),
        "command": ["python", "-m", launch_for_api(topology, api).module],
        **api_environment(topology, api),
        "ports": [{"name": "http", "containerPort": api.config.port}],
        **container_resources(api.resources),
        **http_probes("http", startup_ms=API_STARTUP_MS, liveness=3, readiness=2),
        "lifecycle": {"preStop": {"exec": {"command": _LINGER}}},
        "securityContext": container_security(),
        "volumeMounts": [tmp_mount(), credentials_mount(), *mounts(api.container)],
    }
