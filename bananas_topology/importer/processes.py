"""Which services and containers are processes of Bananas, and the sections that describe them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bananas_topology.contract.names import API, REDIS, SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import Mode
from bananas_topology.importer.draft import (
    Draft,
    Section,
    dns_label,
    put_parsed,
    put_structure,
)
from bananas_topology.importer.source import EnvironmentFields, Field
from bananas_topology.importer.variables import (
    apply_api,
    apply_scheduler,
    apply_worker,
    is_scheduler,
    is_worker,
    pool_name,
)
from bananas_topology.spec.build import DEFAULT_STARTUP_MS
from bananas_topology.units import format_duration

#: How a command starts a process of Bananas: our modules, or the binaries of the Go version.
_MODULE = re.compile(r"\bbananas_topology\.(worker|api)\b")
_BINARY = re.compile(r"(?:^|[\s'\"])[\w./-]*/(?:bananas-)?(worker|scheduler|api)(?:[\s'\"]|$)")
#: How the Go version is started for development, reloaded after each change.
_RELOADER = re.compile(r"\bair\b.*\.(worker|scheduler|api)\.toml\b")
#: Also a directory with the Dockerfile of one process, and a stage of one for all.
_DOCKERFILE = re.compile(
    r"(?:^|/)(?:Dockerfile[.-])?(worker|scheduler|api)(?:[.-]Dockerfile|/Dockerfile|$)"
)
_IMAGE = re.compile(r"bananas\S*[-_/](worker|scheduler|api)\b")


@dataclass(frozen=True, slots=True)
class Process:
    """What identifies a Compose service or a Kubernetes container.

    `environment` has no secret variables; `uses_redis` tells whether REDIS_URL may be among them;
    `build` has the Dockerfile and its stage.
    """

    name: str
    image: str
    command: str
    environment: EnvironmentFields
    uses_redis: bool
    build: tuple[str, ...] = ()


def import_variables(draft: Draft, process: Process) -> Section | None:
    """Read a process's variables into its section; None if it is neither a worker nor the api."""
    environment = process.environment
    role = _role(process)
    if role is None:
        return None
    if role == API:
        draft.api = section = draft.api if draft.api is not None else {}
        apply_api(draft, section, environment)
    elif role == SCHEDULER and draft.scheduler is None:
        draft.scheduler = section = {}
        apply_scheduler(draft, section, environment)
    else:
        section = draft.pool(_free_name(pool_name(environment, process.name)))
        if role == SCHEDULER:
            section["mode"] = str(Mode.SCHEDULER_ONLY)
            apply_scheduler(draft, section, environment, POOL)
        else:
            apply_worker(draft, section, environment)
    return section


def mark_command(*commands: Field | None) -> None:
    """Mark a command that starts a process of Bananas; arguments of another one are dropped."""
    leaves = [leaf for command in commands if command for leaf in command.leaves()]
    text = " ".join(leaf.text for leaf in leaves)
    if re.fullmatch(r"(?:\S*python\S* )?(?:-m )?bananas_topology\.(worker|api)", text.strip()) or (
        _BINARY.fullmatch(text.strip())
    ):
        for leaf in leaves:
            leaf.translate("set in rendered output")
    for leaf in leaves:
        leaf.drop("rendered workers start with `python -m bananas_topology.worker`, without this")


def put_grace(
    draft: Draft,
    section: Section,
    process: Process,
    period: Field | None,
    parse: Callable[[str], str],
) -> None:
    """Set the grace period of a pool from the stop timeout of its containers."""
    runs_jobs = draft.is_pool(section) and section.get("mode") != Mode.SCHEDULER_ONLY
    if period is not None and not runs_jobs:
        period.translate("rendered with a grace period of its own")
    elif period is not None and "WORKER_GRACE" not in process.environment:
        put_parsed(section, ("grace",), parse, period, "`grace`")


def put_startup(section: Section, startup_ms: int, source: Field, *, is_rendered: bool) -> None:
    """Set how long a pool's workers may take to start, from how long a check waits for them.

    What is not rendered and shorter than the default may be meant for another program, or be
    another kind of wait.
    """
    if is_rendered or startup_ms > DEFAULT_STARTUP_MS:
        put_structure(section, ("startup",), format_duration(startup_ms), source, note="`startup`")
    else:
        source.translate("rendered workers have five minutes to start")


def _free_name(name: str) -> str:
    """A valid name of a pool.

    >>> _free_name("worker_high"), _free_name("scheduler")
    ('worker-high', 'scheduler-pool')
    """
    label = dns_label(name)
    return f"{label}-pool" if label in (SCHEDULER, API, REDIS) else label


def _role(process: Process) -> str | None:
    """What a process is: a worker, the scheduler or the api; None if not of Bananas."""
    # Variables may be shared by all processes, so what is started counts more. All may have one
    # image, too, whatever it is called.
    image = _IMAGE.search(process.image)
    found = (
        _MODULE.search(process.command)
        or _BINARY.search(process.command)
        or _RELOADER.search(process.command)
        or next(filter(None, map(_DOCKERFILE.search, process.build)), None)
    )
    if not found and image and "WORKER_MODE" not in process.environment:
        found = image if image[1] != "worker" else None
    if found and found[1] != "worker":
        return found[1]
    is_called_api = process.name == API and process.uses_redis
    if is_called_api and not found and "WORKER_MODE" not in process.environment:
        return API
    if found or is_worker(process.environment):
        return SCHEDULER if is_scheduler(process.environment) else "worker"
    if "API_PORT" in process.environment:
        return API
    return image[1] if image else None
