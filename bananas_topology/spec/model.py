"""A topology as values, with all defaults resolved.

`None` is left only where it has a meaning, such as "no limit". Made by `build.py` only. Names of
numbers include their unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bananas_topology.contract.api import ApiConfig
from bananas_topology.contract.jobs import JobSettings, Schedule
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.spec.container import Container


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of CPU, memory and disk; None for not set. `devices` are numbers by kind."""

    cpu_millis: int | None = None
    memory_bytes: int | None = None
    ephemeral_storage_bytes: int | None = None
    devices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """Resource requests and limits of one process."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


@dataclass(frozen=True, slots=True)
class ScalingStep:
    """How fast to scale in one direction: at most `percent` or `pods` per `period_ms`.

    `window_ms` is how long a recommendation must hold before it is applied. If both `percent` and
    `pods` are set, `select` decides which applies: the ``max`` or the ``min``.
    """

    window_ms: int
    period_ms: int
    percent: int | None = None
    pods: int | None = None
    select: str = "max"


@dataclass(frozen=True, slots=True)
class Autoscale:
    """An autoscaler of a pool or the api; targets that are None are not used.

    `cpu_percent` and `memory_percent` are relative to the request; `queue_depth` is ready jobs per
    replica (pools only), `requests_per_second` is per replica (api only).
    """

    min_replicas: int
    max_replicas: int
    cpu_percent: int | None
    memory_percent: int | None
    queue_depth: int | None
    requests_per_second: int | None
    scale_up: ScalingStep
    scale_down: ScalingStep


@dataclass(frozen=True, slots=True)
class Toleration:
    """Toleration of a node taint; fields as in Kubernetes."""

    key: str | None
    operator: str
    value: str | None
    effect: str | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Preferred and required node labels, and tolerated taints."""

    prefer: Mapping[str, str]
    require: Mapping[str, str]
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True, slots=True)
class Disruption:
    """Disruption budget in replicas; exactly one of the two is set."""

    min_available: int | None = None
    max_unavailable: int | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """An address range that pods may connect to; no `ports` means all."""

    cidr: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """A group of identical workers.

    `worker` has the settings of the pool; `launch` adds those of the topology as a whole.
    `log_format` is as in the file: None means json, but text with `up`.
    `secrets` are environment variables whose values must not appear in any file. `startup_ms` is
    how long a container may take until its worker runs.
    """

    name: str
    worker: WorkerConfig
    log_format: str | None
    replicas: int
    image: str
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    resources: Resources
    autoscale: Autoscale | None
    placement: Placement | None
    disruption: Disruption | None
    egress: tuple[Egress, ...]
    container: Container
    startup_ms: int

    @property
    def total_threads(self) -> int:
        """Jobs that the pool can run at the same time, in all its replicas."""
        return self.worker.concurrency * self.replicas

    @property
    def shell_variables(self) -> tuple[str, ...]:
        """Variables that must have a value in the shell for `up` and Compose."""
        return (*self.secrets, *self.container.required_variables)

    @property
    def has_replicas(self) -> bool:
        """Whether it can have workers: it has replicas, or an autoscaler that adds them."""
        return self.replicas > 0 or self.autoscale is not None


@dataclass(frozen=True, slots=True)
class ManagedRedis:
    """The server in rendered output when there is no external one.

    `memory_bytes` is the container's limit; the server uses three quarters of it for data.
    """

    image: str
    storage_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of an existing Secret."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Redis:
    """The server: external, or the bundled one (managed in rendered output).

    The `url` of an external server is None if it is in a variable that is not set here; rendered
    output does not need it, since it refers to a secret. `secret` is where the URL is on
    Kubernetes; None for the topology's own Secret.
    """

    url: str | None
    secret: SecretKey | None
    key_prefix: str
    managed: ManagedRedis
    is_external: bool


@dataclass(frozen=True, slots=True)
class Ingress:
    """The Kubernetes Ingress of the api."""

    host: str
    class_name: str | None
    tls_secret: str | None


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP API for the queues.

    `config` has the settings of its process, `log_format` is as in a pool.
    `publish` is the host port, or range of ports, that Compose publishes; None for none.
    `service_type` is Kubernetes' (ClusterIP, NodePort or LoadBalancer).
    """

    config: ApiConfig
    log_format: str | None
    replicas: int
    image: str
    publish: str | None
    service_type: str
    ingress: Ingress | None
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    resources: Resources
    autoscale: Autoscale | None
    placement: Placement | None
    disruption: Disruption | None
    container: Container

    @property
    def shell_variables(self) -> tuple[str, ...]:
        """Variables that must have a value in the shell for `up` and Compose."""
        return (*self.secrets, *self.container.required_variables)


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch of rendered objects, applied last: `merge` (RFC 7386) or `operations` (RFC 6902).

    `kind` and `name` select Kubernetes objects; for Compose `kind` is "service". None matches any.
    """

    kind: str | None
    name: str | None
    merge: Mapping[str, Any] | None
    operations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """What network policies allow besides the topology's own traffic.

    `scrape_from` and `api_from` are namespaces, or "*" for all; `api_from` None leaves it to the
    target.
    """

    dns_namespaces: tuple[str, ...]
    dns_cidrs: tuple[str, ...]
    dns_ports: tuple[int, ...]
    scrape_from: tuple[str, ...]
    api_from: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The service account of all pods; `name` None: ours. One that is not created must exist."""

    name: str | None
    is_created: bool
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """Settings for Kubernetes only.

    `creates_namespace` False: the namespace exists already, and is not ours to change.
    `autoscaler` is "hpa" or "keda"; `monitoring` "annotations", "prometheus-operator" or "none".
    `secret` is the name of the Secret with credentials and every variable named in `secrets`.
    `assigns_user`: the cluster chooses the user of pods. `image_pull_policy` None: by the image.
    """

    namespace: str
    creates_namespace: bool
    autoscaler: str
    monitoring: str
    secret: str
    network: Network
    assigns_user: bool
    service_account: ServiceAccount
    image_pull_policy: str | None
    image_pull_secrets: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Compose:
    """Settings for Compose only."""

    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """A deployment. `pools` are in file order, with the pool of the `scheduler:` section last."""

    path: Path
    name: str
    image: str
    build: str | None
    handlers: tuple[str, ...]
    redis: Redis
    jobs: Mapping[str, JobSettings]
    pools: tuple[Pool, ...]
    schedules: Mapping[str, Schedule]
    api: Api | None
    kubernetes: Kubernetes
    compose: Compose

    @property
    def parts(self) -> tuple[Pool | Api, ...]:
        """Everything that runs: the pools, and the api if there is one."""
        return self.pools if self.api is None else (*self.pools, self.api)

    @property
    def total_threads(self) -> int:
        """Jobs that can run at the same time, in all pools."""
        return sum(pool.total_threads for pool in self.pools)
