"""A topology as values: every default resolved, so that nothing downstream asks "if None".

`None` remains only where absence itself says something ("no limit", "all job types").
Built by `build.py` alone. Numbers carry their unit in their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bananas_topology.contract.api import ApiConfig
from bananas_topology.contract.jobs import JobSettings, Schedule
from bananas_topology.contract.values import Mode
from bananas_topology.contract.worker import WorkerConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """What a mode stands for where a pool sets nothing else.

    `has_scheduler` None means: if the topology has no `scheduler:` section.
    """

    concurrency: int
    has_scheduler: bool | None


PRESETS: Mapping[Mode, Preset] = {
    Mode.THIN: Preset(concurrency=5, has_scheduler=True),
    Mode.DEFAULT: Preset(concurrency=10, has_scheduler=None),
    Mode.SPECIALIZED: Preset(concurrency=10, has_scheduler=False),
    Mode.JOB_SPECIALIZED: Preset(concurrency=10, has_scheduler=False),
    Mode.SCHEDULER_ONLY: Preset(concurrency=0, has_scheduler=True),
}


@dataclass(frozen=True, slots=True)
class Amounts:
    """An amount of CPU and memory; None leaves that one open."""

    cpu_millis: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker asks for and may use at the most."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


@dataclass(frozen=True, slots=True)
class ScalingStep:
    """How fast one direction of autoscaling may go: at most `percent` or `pods` a `period_ms`.

    `window_ms` is how long a recommendation must hold before it is followed. Where both are given,
    `select` says which of them counts: the ``max`` or the ``min``.
    """

    window_ms: int
    period_ms: int
    percent: int | None = None
    pods: int | None = None
    select: str = "max"


@dataclass(frozen=True, slots=True)
class Autoscale:
    """Bounds, targets and speeds of a pool's autoscaler. Targets left None are not used.

    `cpu_percent` and `memory_percent` are of the request; `queue_depth` is ready jobs a replica,
    and `requests_per_second` is for the api alone.
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
    """A node taint that a pool's pods put up with; fields as in Kubernetes."""

    key: str | None
    operator: str
    value: str | None
    effect: str | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Node labels that a pool prefers or requires, and taints it tolerates."""

    prefer: Mapping[str, str]
    require: Mapping[str, str]
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True, slots=True)
class Disruption:
    """How many replicas a planned eviction leaves, or takes; exactly one of them is given."""

    min_available: int | None = None
    max_unavailable: int | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """An address range that pods may talk to; no ports: all of them."""

    cidr: str
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """A group of identical workers.

    `worker` is what the pool configures of each; `launch` adds what the whole topology configures.
    `log_format` is the format in the file: None means json, but text for `up` on a terminal.
    `secrets` are environment variables whose values must not appear in any file.
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

    @property
    def total_threads(self) -> int:
        """Jobs that the pool can run at one time, over all its replicas."""
        return self.worker.concurrency * self.replicas

    @property
    def has_replicas(self) -> bool:
        """Whether any of its workers can run; an autoscaler may start them."""
        return self.replicas > 0 or self.autoscale is not None


@dataclass(frozen=True, slots=True)
class ManagedRedis:
    """The server that rendered deployments bring along when no external one is named.

    `memory_bytes` is the container's limit; the server itself is told to use three quarters of it.
    """

    image: str
    storage_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Redis:
    """The server. Not external: the bundled one on this host, a managed one in rendered output.

    An external one's `url` is None where it was left to a variable that is not set here; rendered
    output does not need it, for it refers to a secret.
    """

    url: str | None
    key_prefix: str
    managed: ManagedRedis
    is_external: bool


@dataclass(frozen=True, slots=True)
class Ingress:
    """How the api is reached from outside of a cluster."""

    host: str
    class_name: str | None
    tls_secret: str | None


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP service in front of the queues.

    `config` and `log_format` are to its process what `worker` and `log_format` are to a pool's.
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


@dataclass(frozen=True, slots=True)
class Patch:
    """A change to rendered objects, applied last: either `merge` or `operations` (RFC 6902).

    `kind` and `name` say which objects of a Kubernetes rendering; in Compose `kind` is "service".
    None matches any.
    """

    kind: str | None
    name: str | None
    merge: Mapping[str, Any] | None
    operations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """What only a rendering for Kubernetes needs to know.

    `autoscaler` is "hpa" or "keda"; `monitoring` "annotations", "prometheus-operator" or "none".
    `secret` names the Secret that holds REDIS_URL, and every variable that a pool's `secrets` name.
    """

    namespace: str
    autoscaler: str
    monitoring: str
    secret: str
    image_pull_secrets: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Compose:
    """What only a rendering for Compose needs to know."""

    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole deployment. `pools` has them in file order, the `scheduler:` section's pool last.

    `digest` is the SHA-256 of the file's bytes, in hexadecimal.
    """

    path: Path
    digest: str
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
    def total_threads(self) -> int:
        """Jobs that can run at one time, over all pools."""
        return sum(pool.total_threads for pool in self.pools)
