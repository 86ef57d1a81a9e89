"""How a place in a topology is spoken of, and what people call its fields by mistake. Pure."""

from __future__ import annotations

import json
from typing import Any

from bananas_topology.spec.nodes import Path

#: What other tools call it, and what we call it.
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

#: Fields of a pool that are often written at the top.
ELSEWHERE: dict[str, str] = dict.fromkeys(
    (
        "mode", "priorities", "job_types", "concurrency", "replicas", "job_timeout", "max_retries",
        "max_crashes", "grace", "lease", "env", "secrets", "resources", "autoscale", "placement",
        "disruption", "egress",
    ),
    'it belongs into a pool, or into "defaults" for all of them',
)  # fmt: skip

_NAMED = {"pools": "pool", "jobs": "job", "schedules": "schedule"}
#: What is shown of a value that does not fit, at the most, in characters.
_MAX_SHOWN = 60


def subject_of(path: Path, short: bool = False) -> str:
    """The thing at a path, to begin a sentence with; `short` leaves out its name.

    >>> subject_of(()), subject_of(("pools", "io")), subject_of(("pools", "io"), short=True)
    ('a topology', 'pool "io"', 'a pool')
    >>> subject_of(("pools", "io", "autoscale", "scale_up")), subject_of(("redis", "managed"))
    ('"autoscale.scale_up" of pool "io"', '"redis.managed"')
    """
    if not path:
        return "a topology"
    kind = _NAMED.get(str(path[0]))
    if kind is None or len(path) == 1:
        return f"a {_singular(path)}" if short else f'"{_dotted(path)}"'
    if len(path) == 2:
        return f"a {kind}" if short else f'{kind} "{path[1]}"'
    return f"a {_singular(path)}" if short else f'"{_dotted(path[2:])}" of {kind} "{path[1]}"'


def field_of(path: Path) -> str:
    """The value at a path, to begin a sentence with.

    >>> field_of(("name",)), field_of(("pools", "io", "priorities", 0))
    ('"name"', '"priorities[0]" of pool "io"')
    """
    return subject_of(path) if path else "the topology"


def shown(value: Any, path: Path = ()) -> str:
    """A value that does not fit, as it may be shown: short, and never a secret.

    >>> shown("many", ("x",)), shown(None, ("x",)), shown("redis://:pw@h", ("redis", "url"))
    ('"many"', 'empty', 'what it holds')
    """
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if path[:2] == ("redis", "url") or "env" in path[:3] or "://" in str(value):
        return "what it holds"
    text = json.dumps(value, ensure_ascii=False) if path else str(value).replace("\n", " ")
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _singular(path: Path) -> str:
    return "variable" if "env" in path else "field"
