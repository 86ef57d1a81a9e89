"""The difference between what runs and what a topology says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.jobs import Schedule
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.local.deployment import Deployment
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.units import format_duration

#: Settings by variable; any other variable is the user's own.
_SETTINGS = {each.variable: each for each in (*API_SETTINGS, *WORKER_SETTINGS)}

#: Variables with settings that are compared one by one, for the topology as a whole.
_COMPARED_BY_ENTRY = ("WORKER_JOBS", "WORKER_SCHEDULES")


@dataclass(frozen=True, slots=True)
class Changed:
    """A value by its place in the topology; None where it is not set. Hidden values are ``""``."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class PoolChange:
    """A pool's number of processes before and after, and its changed settings.

    `is_added` and `is_removed` are about the pool itself: it may be there with no process.
    `replaced` is the number of processes that run with other settings than the topology's.
    """

    pool: str
    before: int
    after: int
    replaced: int
    is_added: bool = False
    is_removed: bool = False
    settings: tuple[Changed, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences; `name` has the topology's names before and after if they differ."""

    name: tuple[str, str] | None
    pools: tuple[PoolChange, ...]
    jobs: tuple[Changed, ...]
    schedules: tuple[Changed, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.name or self.pools or self.jobs or self.schedules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def difference(
    running: Deployment, live: Mapping[str, Sequence[ChildPlan]], wanted: Deployment
) -> Difference:
    """Compare; `live` has the plans of the running processes by pool, without draining ones."""
    before, after = running.topology, wanted.topology
    return Difference(
        name=None if before.name == after.name else (before.name, after.name),
        pools=tuple(_pools(running, live, wanted)),
        jobs=tuple(_entries(before.jobs, after.jobs)),
        schedules=tuple(_entries(before.schedules, after.schedules)),
    )


def _pools(
    running: Deployment, live: Mapping[str, Sequence[ChildPlan]], wanted: Deployment
) -> Iterator[PoolChange]:
    for pool in dict.fromkeys((*wanted.names, *running.names, *live)):
        plans = live.get(pool, ())
        outdated = [plan for plan in plans if not wanted.is_current(plan)]
        count = wanted.counts.get(pool, 0)
        is_added = pool in wanted.names and pool not in running.names
        is_removed = pool not in wanted.names
        if not (outdated or is_added or is_removed or len(plans) != count):
            continue
        settings = () if is_removed or not outdated else _settings(outdated[0], wanted)
        yield PoolChange(
            pool=pool,
            before=len(plans),
            after=count,
            replaced=0 if is_removed else len(outdated),
            is_added=is_added,
            is_removed=is_removed,
            settings=tuple(settings),
        )


def _settings(plan: ChildPlan, wanted: Deployment) -> Iterator[Changed]:
    """Compare the settings that a process was started with to those of the topology."""
    new = wanted.plan(plan.pool, plan.index)
    if plan.argv != new.argv:
        yield Changed("command", " ".join(plan.argv), " ".join(new.argv))
    for variable in sorted(plan.env.keys() | new.env.keys()):
        before, after = plan.env.get(variable), new.env.get(variable)
        if before == after or variable in _COMPARED_BY_ENTRY:
            continue
        known = _SETTINGS.get(variable)
        if known is not None and not known.is_secret:
            yield Changed(known.path or variable, before, after)
        else:
            # The values of the user's own variables may be credentials.
            yield Changed(f"env.{variable}", _hidden(before), _hidden(after))


def _hidden(value: str | None) -> str | None:
    return None if value is None else ""


def _entries(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Changed]:
    """Entries of a section that were added or removed, and the fields of others that changed."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            yield Changed(name, _summary(old), _summary(new))
            continue
        values = (_fields(old), _fields(new))
        for field in sorted({*values[0], *values[1]}):
            texts = [each.get(field) for each in values]
            if texts[0] != texts[1]:
                yield Changed(f"{name}.{field}", *texts)


def _summary(entry: Any) -> str | None:
    if entry is None:
        return None
    if isinstance(entry, Schedule):
        return f"{entry.cron} {entry.job}"
    return " ".join(f"{name} {text}" for name, text in _fields(entry).items())


def _fields(entry: Any, prefix: str = "") -> dict[str, str]:
    """The fields of an entry that are set, including nested ones."""
    texts: dict[str, str] = {}
    for each in fields(entry):
        value, name = getattr(entry, each.name), prefix + each.name.removesuffix("_ms")
        if is_dataclass(value):
            texts |= _fields(value, f"{name}.")
        elif value is not None and each.name.endswith("_ms"):
            texts[name] = format_duration(value)
        elif value is not None:
            texts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts
