"""The report never says more than is true: a value that is gone is reported as dropped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.importer import Imported, import_files
from bananas_topology.importer.status import FieldStatus, Status

COMPOSE: dict[str, Any] = yaml.safe_load(
    """
name: shop
services:
  worker:
    image: reg/x:1
    command: python -m bananas_topology.worker
    restart: unless-stopped
    depends_on:
      redis: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
    env_file: [{path: ./config/app.env, required: false}]
    volumes:
    - models:/models:ro
    - {type: bind, source: ./secrets/tls, target: /etc/tls, read_only: true}
    - {type: tmpfs, target: /cache, tmpfs: {size: 64m}}
    healthcheck: {test: [CMD, "true"], start_period: 10m}
    environment: {WORKER_MODE: default, WORKER_HANDLERS: jobs, REDIS_URL: "redis://redis:6379"}
    logging: {driver: json-file, options: {max-size: 10m}}
    networks: [default]
    deploy:
      mode: replicated
      replicas: 3
      resources:
        limits: {cpus: "2", memory: 1G}
        reservations: {memory: 512M, devices: [{count: 1, capabilities: [gpu]}]}
      placement: {constraints: [node.labels.a == b]}
      restart_policy: {condition: any}
  migrate: {image: reg/m:1, command: migrate --all, restart: "no", networks: [default]}
  scheduler: {image: reg/x:1, environment: [WORKER_MODE=scheduler-only]}
  api: {image: reg/x:1, environment: {API_PORT: 8080}, ports: ["8080:8080"]}
  redis: {image: "redis:7.2", volumes: ["data:/data"], command: redis-server --appendonly yes}
volumes: {data: {}, models: {}}
"""
)

KUBERNETES: list[dict[str, Any]] = list(
    yaml.safe_load_all(
        """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {app.kubernetes.io/name: x}, annotations: {}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: shop, labels: {app: worker}}
spec:
  replicas: 3
  selector: {matchLabels: {app: worker}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%}}
  template:
    metadata: {labels: {app: worker}, annotations: {prometheus.io/scrape: "true"}}
    spec:
      securityContext: {runAsNonRoot: true}
      terminationGracePeriodSeconds: 330
      serviceAccountName: worker
      priorityClassName: batch
      initContainers:
      - name: migrate
        image: reg/m:1
        command: [migrate, --all]
        env: [{name: WORKER_MODE, value: default}]
        volumeMounts: [{name: tmp, mountPath: /tmp}]
      containers:
      - name: worker
        image: reg/x:1
        command: [python, -m, bananas_topology.worker]
        env:
        - {name: WORKER_MODE, value: default}
        - {name: REDIS_URL, valueFrom: {secretKeyRef: {name: s, key: REDIS_URL}}}
        - {name: WORKER_ID, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: URI, valueFrom: {secretKeyRef: {name: pg, key: uri}}}
        envFrom: [{configMapRef: {name: c}}, {secretRef: {name: other}, prefix: A_}]
        startupProbe: {httpGet: {path: /livez, port: 6061}, failureThreshold: 90}
        ports: [{name: metrics, containerPort: 6061}]
        resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 2Gi, x/gpu: 1}}
        volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: models, mountPath: /models}
        - {name: tls, mountPath: /etc/tls, readOnly: true}
        - {name: cache, mountPath: /cache}
        securityContext: {capabilities: {drop: [ALL]}}
      volumes:
      - {name: tmp, emptyDir: {}}
      - {name: models, persistentVolumeClaim: {claimName: models}}
      - {name: tls, secret: {secretName: tls}}
      - {name: cache, emptyDir: {sizeLimit: 1Gi}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {LOG_LEVEL: info}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: reg/x:1, env: [{name: API_PORT, value: "8080"}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {selector: {app: api}, ports: [{port: 8080, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: api}
spec: {rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix}]}}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker, annotations: {}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: worker}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}
  minReplicas: 3
  maxReplicas: 9
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}
  behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 60}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: worker}
spec: {minAvailable: 1, selector: {matchLabels: {app: worker}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: worker}
spec:
  podSelector: {matchLabels: {app: worker}}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 443, protocol: TCP}]}]
"""
    )
)

#: A value that nothing else has.
MARK = "mark7q"

#: Fields that are replaced as a whole, whatever is in them.
REPLACED = ("selector", "matchLabels", "backend", "scale", "healthcheck", "startupProbe")


def _import(tree: Any) -> Imported:
    documents = tree if isinstance(tree, list) else [tree]
    return import_files([("file.yml", yaml.safe_dump_all(documents))], "shop")


def _maps(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all maps in which a key can be added."""
    if isinstance(tree, dict):
        if not set(path) & set(REPLACED):
            yield path
        for name, below in tree.items():
            yield from _maps(below, (*path, name))
    elif isinstance(tree, list):
        for at, below in enumerate(tree):
            yield from _maps(below, (*path, at))


def _with(tree: Any, path: tuple[Any, ...], key: str, value: Any) -> Any:
    changed = copy.deepcopy(tree)
    target = changed
    for step in path:
        target = target[step]
    target[key] = value
    return changed


def _marked(imported: Imported) -> list[FieldStatus]:
    return [each for each in imported.statuses if MARK in each.value]


@pytest.mark.parametrize("tree", [COMPOSE, KUBERNETES], ids=["compose", "kubernetes"])
def test_the_files_themselves_are_imported_without_a_dropped_field(tree: Any) -> None:
    dropped = [each for each in _import(tree).statuses if each.status is Status.DROPPED]

    assert [str(each) for each in dropped] == []


_VALUES = st.recursive(
    st.just(MARK),
    lambda below: (
        st.lists(below, min_size=1, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "name", "key"]), below, min_size=1, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), value=_VALUES)
@pytest.mark.parametrize("tree", [COMPOSE, KUBERNETES], ids=["compose", "kubernetes"])
def test_a_field_that_no_importer_knows_is_reported_as_dropped(
    tree: Any, data: st.DataObject, value: Any
) -> None:
    path = data.draw(st.sampled_from(list(_maps(tree))))

    try:
        imported = _import(_with(tree, path, "unheardOf", value))
    except ImportRefused:
        return

    for each in _marked(imported):
        assert each.status in (Status.DROPPED, Status.MISTAKE) or MARK in imported.text, str(each)


WORKER = ("services", "worker")
POD = (1, "spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (WORKER, "pids_limit", MARK),
        (WORKER, "devices", [f"/dev/{MARK}:/dev/{MARK}"]),
        (WORKER, "gpus", MARK),
        (WORKER, "networks", ["default", MARK]),
        (WORKER, "secrets", [MARK]),
        (WORKER, "configs", [MARK]),
        (WORKER, "labels", {"team": MARK}),
        (WORKER, "command", ["python", "-m", "bananas_topology.worker", MARK]),
        (WORKER, "entrypoint", f"/bin/{MARK}"),
        (WORKER, "cap_add", [MARK]),
        (WORKER, "security_opt", [MARK]),
        (WORKER, "user", MARK),
        (WORKER, "restart", MARK),
        (WORKER, "logging", {"driver": MARK}),
        (WORKER, "depends_on", {"redis": {"condition": "service_healthy"}, MARK: {}}),
        (WORKER, "stop_signal", MARK),
        (WORKER, "platform", MARK),
        (WORKER, "env_file", MARK),
        (WORKER, "env_file", [{"path": "./config/a.env", "format": MARK}]),
        (WORKER, "tmpfs", [f"/{MARK}:mode=1777"]),
        (WORKER, "tmpfs", f"/tmp:size=5g,mode={MARK}"),
        (WORKER, "volumes", [f"/{MARK}"]),
        (WORKER, "volumes", [{"type": "volume", "source": "v", "target": "/v", "x": MARK}]),
        (WORKER, "volumes", [f"./{MARK}:/data"]),
        (WORKER, "volumes", [f"./config/{MARK}.yaml:/etc/{MARK}.yaml"]),
        (WORKER, "volumes", [f"cache:/{MARK}:nocopy"]),
        (WORKER, "volumes", [f"redis-data:/{MARK}"]),
        (WORKER, "volumes", [f"a:/run/secrets/{MARK}"]),
        (
            WORKER,
            "volumes",
            [{"type": "volume", "source": "a", "target": "/a", "volume": {"subpath": MARK}}],
        ),
        ((*WORKER, "deploy"), "mode", f"global-{MARK}"),
        ((*WORKER, "deploy"), "restart_policy", {"condition": MARK, "max_attempts": 3}),
        ((*WORKER, "deploy"), "update_config", {"order": MARK}),
        ((*WORKER, "deploy", "placement"), "max_replicas_per_node", MARK),
        ((*WORKER, "deploy", "resources", "limits"), "pids", MARK),
        ((*WORKER, "deploy", "resources", "reservations"), "devices", [{"driver": MARK}]),
        (("services", "redis"), "volumes", [f"./{MARK}:/data"]),
        (("services", "redis"), "command", ["redis-server", "--appendonly", "yes", f"--{MARK}"]),
        ((*WORKER, "environment"), "METRICS_PORT", MARK),
        (("services", "api"), "ports", [f"{MARK}:80:8080"]),
        (("services", "api"), "ports", [f"80:8080/{MARK}"]),
        (("services", "api"), "ports", [{"target": 8080, "name": MARK}]),
        (("services", "api"), "ports", [{"target": 8080, "published": 80, "host_ip": MARK}]),
        ((), "networks", {"default": {"name": MARK, "external": True}}),
        ((), "networks", {MARK: {"driver": MARK}}),
        ((), "secrets", {MARK: {"file": MARK}}),
        ((), "x-team", MARK),
        ((1, "metadata"), "labels", {"app": "worker", "team": MARK}),
        ((1, "metadata"), "annotations", {"team": MARK}),
        ((1, "spec", "template", "metadata"), "annotations", {"team": MARK}),
        ((1, "spec", "template", "metadata"), "labels", {"app": "worker", "team": MARK}),
        ((1, "spec"), "strategy", {"type": MARK}),
        ((1, "spec"), "minReadySeconds", MARK),
        (POD, "hostNetwork", MARK),
        (POD, "dnsPolicy", MARK),
        (POD, "initContainers", [{"name": MARK, "image": MARK, "volumeMounts": [{"name": "a"}]}]),
        (POD, "securityContext", {"runAsUser": MARK}),
        (POD, "volumes", [{"name": "tmp", "emptyDir": {}}, {"name": MARK, "emptyDir": {}}]),
        (CONTAINER, "lifecycle", {"preStop": {"exec": {"command": [MARK]}}}),
        (CONTAINER, "args", [MARK]),
        (POD, "volumes", [{"name": "tmp", "emptyDir": {"sizeLimit": MARK}}]),
        (POD, "volumes", [{"name": "cache", "emptyDir": {"medium": MARK}}]),
        (
            (4, "spec"),
            "ports",
            [{"port": 8080}, {"name": MARK, "port": 443, "targetPort": 9443}],
        ),
        (
            (5, "spec", "rules", 0, "http"),
            "paths",
            [{"path": "/"}, {"path": "/", "backend": {"service": {"name": MARK}}}],
        ),
        (
            (5, "spec"),
            "rules",
            [{"host": MARK, "http": {"paths": [{"backend": {"service": {"name": "web"}}}]}}],
        ),
        (CONTAINER, "ports", [{"name": "metrics", "containerPort": MARK}]),
        (
            (1, "spec", "template", "metadata"),
            "annotations",
            {"prometheus.io/scrape": "true", "prometheus.io/port": MARK},
        ),
        (
            POD,
            "affinity",
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": k, "operator": "In", "values": [MARK]}]}
                            for k in ("a", "b")
                        ]
                    }
                }
            },
        ),
        (CONTAINER, "imagePullPolicy", MARK),
        (CONTAINER, "ports", [{"name": MARK, "containerPort": 9000}]),
        (CONTAINER, "volumeMounts", [{"name": "nosuch", "mountPath": f"/{MARK}"}]),
        (CONTAINER, "env", [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": MARK}}}]),
        (
            CONTAINER,
            "env",
            [{"name": "LOG_LEVEL", "valueFrom": {"configMapKeyRef": {"name": MARK, "key": "a"}}}],
        ),
        (CONTAINER, "env", [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": MARK}}}]),
        (CONTAINER, "envFrom", [{"secretRef": {"name": f"-{MARK}"}}]),
        (CONTAINER, "env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": MARK}}}]),
        ((*CONTAINER, "resources", "requests"), "ephemeral-storage", MARK),
        ((5, "spec", "rules", 0, "http"), "paths", [{"path": f"/{MARK}"}]),
        ((4, "spec", "ports", 0), "nodePort", MARK),
        ((7, "spec", "behavior", "scaleUp"), "selectPolicy", MARK),
        ((8, "spec"), "unhealthyPodEvictionPolicy", MARK),
        ((8, "spec"), "selector", {"matchLabels": {"app": "worker", "pool": MARK}}),
        ((8, "spec"), "selector", {"matchLabels": {"app": "worker"}, "matchExpressions": [MARK]}),
    ],
)
def test_what_a_topology_cannot_say_is_reported_as_dropped(
    path: tuple[Any, ...], key: str, value: Any
) -> None:
    tree = KUBERNETES if path and isinstance(path[0], int) else COMPOSE

    imported = _import(_with(tree, path, key, value))

    for each in _marked(imported):
        assert each.status is Status.DROPPED, str(each)
        assert len(each.note) > 10


def _volume(*, mount: Any = None, **source: Any) -> dict[str, Any]:
    """Keys of a pod with a volume that is mounted, with further fields of the mount."""
    return {
        "volumes": [{"name": "v", **source}],
        "containers": [
            {
                **KUBERNETES[1]["spec"]["template"]["spec"]["containers"][0],
                "volumeMounts": [{"name": "v", "mountPath": f"/{MARK}", **(mount or {})}],
            }
        ],
    }


@pytest.mark.parametrize(
    "keys",
    [
        _volume(hostPath={"path": f"/{MARK}"}),
        _volume(nfs={"server": MARK, "path": "/"}),
        _volume(projected={"sources": [{"configMap": {"name": MARK}}]}),
        _volume(secret={"secretName": MARK, "items": [{"key": MARK, "path": "a"}]}),
        _volume(configMap={"name": MARK}, mount={"subPath": MARK}),
        _volume(emptyDir={"sizeLimit": MARK}),
        _volume(mount={"name": "other"}, configMap={"name": MARK}),
        _volume(configMap={"name": f"-{MARK}"}),
        _volume(emptyDir={}, mount={"mountPath": f"/run/secrets/{MARK}"}),
        {"initContainers": [{"name": MARK, "image": MARK}]},
        {"initContainers": [{"name": MARK, "command": [MARK], "restartPolicy": "Always"}]},
        {"initContainers": [{"name": MARK, "command": [MARK, "$(REDIS_URL)"]}]},
        {
            "initContainers": [
                {"name": MARK, "command": ["$(A)"], "env": [{"name": "A", "value": MARK}]}
            ]
        },
    ],
    ids=str,
)
def test_parts_of_a_pod_that_a_topology_cannot_say_are_reported_as_dropped(
    keys: dict[str, Any],
) -> None:
    tree = copy.deepcopy(KUBERNETES)
    tree[1]["spec"]["template"]["spec"] |= keys

    imported = _import(tree)

    assert MARK not in imported.text
    for each in _marked(imported):
        assert each.status in (Status.DROPPED, Status.MISTAKE), str(each)
        assert len(each.note) > 10


#: The service account of the files, with an annotation.
_ACCOUNT = {"name": "worker", "annotations": {"r": MARK}}


@pytest.mark.parametrize(
    ("path", "key", "value", "place", "expected"),
    [
        (POD, "serviceAccountName", MARK, "kubernetes", {"name": MARK, "create": False}),
        ((6, "metadata"), "annotations", {"r": MARK}, "kubernetes", _ACCOUNT),
        (POD, "priorityClassName", MARK, "priority_class", MARK),
        (POD, "runtimeClassName", MARK, "runtime_class", MARK),
        (
            CONTAINER,
            "envFrom",
            [{"secretRef": {"name": MARK}, "prefix": "A_"}],
            "env_from",
            [{"secret": MARK, "prefix": "A_"}],
        ),
        (
            CONTAINER,
            "envFrom",
            [{"configMapRef": {"name": MARK, "optional": True}}],
            "env_from",
            [{"config": MARK, "optional": True}],
        ),
        (
            (*CONTAINER, "env", 1),
            "name",
            "DATABASE",
            "env",
            {
                "DATABASE": {"secret": "s", "key": "REDIS_URL"},
                "URI": {"secret": "pg", "key": "uri"},
            },
        ),
        ((*CONTAINER, "resources", "limits"), "nvidia.com/gpu", 2, "gpu", 2),
        (WORKER, "volumes", [f"{MARK}:/data:ro"], "volumes", {"claim": MARK, "read_only": True}),
        (WORKER, "volumes", [f"./config/{MARK}:/etc/x"], "volumes", {"config": MARK}),
        (WORKER, "tmpfs", [f"/{MARK}:size=8m"], "volumes", {"temporary": "8Mi"}),
        (WORKER, "env_file", f"./secrets/{MARK}.env", "env_from", [{"secret": MARK}]),
        (
            (*WORKER, "deploy", "resources", "reservations"),
            "devices",
            [{"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}],
            "gpu",
            2,
        ),
    ],
)
def test_what_a_topology_can_say_is_kept(
    path: tuple[Any, ...], key: str, value: Any, place: str, expected: Any
) -> None:
    imported = _import(_with(KUBERNETES if path[0] != "services" else COMPOSE, path, key, value))

    topology = yaml.safe_load(imported.text)
    pool = topology["pools"]["worker"]
    found = {
        "kubernetes": topology.get("kubernetes", {}).get("service_account"),
        "gpu": pool["resources"]["limits"].get("nvidia.com/gpu"),
        **pool,
    }[place]
    if place == "volumes":
        [volume] = [each for each in found.values() if MARK in str(each)]
        found = {name: volume[name] for name in volume if name != "path"}
    assert found == expected
    for each in _marked(imported):
        assert each.status in (Status.KEPT, Status.TRANSLATED), str(each)
