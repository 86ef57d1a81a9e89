"""How messages name fields and show values, and how fields are often misnamed. Pure."""

from __future__ import annotations

import json
from typing import Any

from bananas_topology.spec.document import shorten
from bananas_topology.spec.nodes import KeyPath

#: Names in other tools, and ours.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "worker_concurrency": ("concurrency",),
    "workers": ("concurrency", "pools"),
    "worker": ("pools",),
    "worker_pools": ("pools",),
    "threads": ("concurrency",),
    "instances": ("replicas",),
    "scale": ("replicas",),
    "count": ("replicas",),
    "queues": ("priorities",),
    "priority": ("priorities",),
    "worker_priorities": ("priorities",),
    "types": ("job_types",),
    "jobs": ("job_types",),
    "worker_job_types": ("job_types",),
    "timeout": ("job_timeout",),
    "job_timeout": ("timeout",),
    "retries": ("max_retries",),
    "max_attempts": ("max_retries",),
    "environment": ("env",),
    "stop_grace_period": ("grace",),
    "grace_period": ("grace",),
    "results": ("keep",),
    "retention": ("keep",),
    "ttl_success": ("results",),
    "ttl_failure": ("errors",),
    "failed": ("dead",),
    "enable_scheduler": ("scheduler",),
    "autoscaling": ("autoscale",),
    "hpa": ("autoscale",),
    "min_replicas": ("min",),
    "max_replicas": ("max",),
    "cpus": ("cpu",),
    "mem": ("memory",),
    "reservations": ("requests",),
    "ports": ("publish",),
    "service": ("pools",),
    "services": ("pools",),
    "modules": ("handlers",),
    "imports": ("handlers",),
    "schedule": ("cron", "schedules"),
    "cronjobs": ("schedules",),
    "tz": ("timezone",),
    "time_zone": ("timezone",),
    "type": ("job",),
    "args": ("payload",),
    "log": ("logging",),
    "logs": ("logging",),
    "k8s": ("kubernetes",),
    "docker_compose": ("compose",),
    "project": ("name",),
    "prefix": ("key_prefix",),
    "medium": ("normal",),
    "urgent": ("high",),
    "critical": ("high",),
    "warning": ("warn",),
}

_NAMED = {"pools": "pool", "jobs": "job", "schedules": "schedule"}
#: Stands for a value that may be secret.
HIDDEN = "invalid (value hidden)"


def subject_of(path: KeyPath, short: bool = False) -> str:
    """What is at a path, to start a sentence with; `short` leaves out its name.

    >>> subject_of(()), subject_of(("pools", "io")), subject_of(("pools", "io"), short=True)
    ('the topology', 'pool "io"', 'a pool')
    >>> subject_of(("pools", "io", "autoscale", "scale_up")), subject_of(("redis", "managed"))
    ('"autoscale.scale_up" of pool "io"', '"redis.managed"')
    """
    if not path:
        return "the topology"
    kind = _NAMED.get(str(path[0]))
    if kind is None or len(path) == 1:
        return f"a {_singular(path)}" if short else f'"{_dotted(path)}"'
    if len(path) == 2:
        return f"a {kind}" if short else f'{kind} "{path[1]}"'
    return f"a {_singular(path)}" if short else f'"{_dotted(path[2:])}" of {kind} "{path[1]}"'


def format_value(value: Any, path: KeyPath = ()) -> str:
    """An invalid value for a message: short, and never a secret.

    >>> format_value("many", ("x",)), format_value(None, ("x",))
    ('"many"', 'empty')
    >>> format_value("redis://:pw@h", ("redis", "url"))
    'invalid (value hidden)'
    """
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if path[:2] == ("redis", "url") or "env" in path[:3] or "://" in str(value):
        return HIDDEN
    return shorten(json.dumps(value, ensure_ascii=False) if path else str(value))


def _dotted(path: KeyPath) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _singular(path: KeyPath) -> str:
    return "variable" if "env" in path else "field"
