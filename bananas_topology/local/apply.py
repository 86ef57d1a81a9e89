"""Changes what runs to what a topology says, without leaving any job type without a worker.

1. Start one process of each new or changed pool, and all additional ones of a pool that grows; wait
   until they are ready.
2. Check that every kind of waiting job keeps a worker.
3. Replace the other processes of changed pools one by one; drain those that are no longer wanted.

What runs is known from the plans of the processes themselves. So a rollback, if a process does not
become ready, is the same change towards the previous plans.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bananas_topology.contract.names import API
from bananas_topology.errors import (
    BananasTopologyError,
    ControlFailed,
    RedisUnavailable,
    RedisUnsuitable,
)
from bananas_topology.jobs.inspect import WorkerView
from bananas_topology.local.changes import Changes, together
from bananas_topology.local.deployment import (
    Deployment,
    allow_processes,
    check_requirements,
    deploy,
    server_of,
)
from bananas_topology.local.difference import difference
from bananas_topology.local.server import Server
from bananas_topology.local.settings import Settings
from bananas_topology.local.takers import Taker, count_stranded, describe_stranded, merged
from bananas_topology.spec.diagnostics import Severity
from bananas_topology.spec.load import check
from bananas_topology.spec.model import Topology
from bananas_topology.supervisor.directories import check_rename, rename
from bananas_topology.supervisor.operation import Operation, Steps
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.record import Publication
from bananas_topology.supervisor.state import ChildState
from bananas_topology.supervisor.supervisor import Supervisor
from bananas_topology.system.clock import monotonic
from bananas_topology.units import quantity

#: Maximum seconds spent reading from Redis in one iteration of the supervisor's loop.
READ_S = 0.05

#: Default number of seconds for a process to become ready.
READY_TIMEOUT_S = 60.0

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Applier:
    """Creates operations that apply a topology; `deployment` and `settings` are what runs."""

    def __init__(
        self,
        supervisor: Supervisor,
        changes: Changes,
        deployment: Deployment,
        settings: Settings,
        publication: Publication,
        server: Server,
    ) -> None:
        self._supervisor = supervisor
        self._changes = changes
        self.deployment = deployment
        self._settings = settings
        self._publication = publication
        self._server = server

    def describe(self, settings: Settings) -> dict[str, Any]:
        """Describe how a file differs from what runs, and which workers accept which jobs.

        `redis_url` has the password: it is for counting these jobs, not to be shown.

        Raises:
            ControlFailed: the file cannot be applied.
        """
        wanted, _ = self._read(settings)
        running = self._running()
        found = difference(running, self._live(), wanted)
        return {
            "redis_url": wanted.host.redis_url,
            "topology": str(wanted.topology.path.absolute()),
            "name": wanted.topology.name,
            "is_empty": found.is_empty,
            "difference": found.to_json(),
            "unset": wanted.unset_variables(),
            "takers": {"before": running.takers.to_json(), "after": wanted.takers.to_json()},
        }

    def apply(self, settings: Settings, ready_timeout_s: float, *, force: bool) -> Operation:
        """Apply the file of `settings`; with `force` even if waiting jobs lose their workers.

        Raises:
            ControlFailed: the file cannot be applied.
        """
        wanted, settings = self._read(settings)
        for name, owners in wanted.unset_variables().items():
            log.warning("%s of %s is not set", name, ", ".join(owners))
        steps = self._apply(wanted, settings, ready_timeout_s, force=force)
        return Operation(f"apply {wanted.topology.path.name}", steps)

    def reload(self) -> Operation | None:
        """Begin to apply the current file again; log an error if it cannot be applied."""
        try:
            operation = self.apply(self.same_file(), READY_TIMEOUT_S, force=False)
            self._supervisor.begin(operation)
        except ControlFailed as error:
            log.error("topology not applied: %s", error)
            return None
        return operation

    def source(self) -> str:
        """The names of the files of what runs."""
        return self._settings.source

    @property
    def files(self) -> tuple[Path, ...]:
        """The topology's file and its overlays."""
        overlays = (Path(each) for each in self._settings.overlays)
        return (self.deployment.topology.path, *overlays)

    def same_file(self) -> Settings:
        """The settings with which to apply that file."""
        return replace(self._settings, file=str(self.deployment.topology.path), scale={})

    def _read(self, settings: Settings) -> tuple[Deployment, Settings]:
        """Check a file in the environment of the running `up`; reads variable files again."""
        try:
            settings = replace(settings.reread(self._shell), redis_url=self._settings.redis_url)
            return self._deploy(settings, {**self._shell, **settings.variables}), settings
        except ControlFailed:
            raise
        except BananasTopologyError as error:
            raise ControlFailed(str(error)) from error

    @property
    def _shell(self) -> dict[str, str]:
        environ, variables = self.deployment.host.environ, self._settings.variables
        return {name: text for name, text in environ.items() if name not in variables}

    def _deploy(self, settings: Settings, environ: Mapping[str, str]) -> Deployment:
        running = self.deployment.topology
        file = Path(settings.file)
        if file.absolute().parent.resolve() != running.path.absolute().parent.resolve():
            raise ControlFailed(
                f"{file} is in another folder than {running.path}, which is running: stop that "
                "with `bananas down` first"
            )
        path = running.path.parent / file.name
        checked = check(
            path,
            environ,
            overlays=[Path(each) for each in settings.overlays],
            overrides=settings.overrides,
        )
        topology = checked.topology
        if topology is None:
            errors = [each for each in checked.diagnostics if each.severity is Severity.ERROR]
            raise ControlFailed(
                f"{path} has errors, in the environment of the running `up`: {errors[0]}"
            )
        url = server_of(topology, settings, environ)
        self._check_server(topology, url)
        host = replace(self.deployment.host, environ=environ)
        if url is not None:
            host = replace(host, redis_url=url)
        wanted = deploy(topology, settings, host)
        api = topology.api if API in wanted.counts else None
        check_requirements(topology, url, api)
        allow_processes(len(self._supervisor.children) + sum(wanted.counts.values()))
        check_rename(Path(self._publication.record.directory), topology.name)
        return wanted

    def _check_server(self, topology: Topology, url: str | None) -> None:
        """Check that it is the server with the jobs, and lets the workers in.

        Raises:
            ControlFailed: it is not, or does not.
        """
        running = self.deployment.topology
        has_url = server_of(running, self._settings, self.deployment.host.environ) is not None
        if has_url != (url is not None) or (url is not None and not self._server.is_at(url)):
            what = "REDIS_URL" if topology.redis.url == running.redis.url else "redis.url"
        elif topology.redis.key_prefix != running.redis.key_prefix:
            what = "redis.key_prefix"
        else:
            if url is not None:
                self._server.check_login(url)
            return
        raise ControlFailed(
            f"{what} has changed: the waiting jobs would stay behind. Once `bananas queues` "
            "shows none, run `bananas down`, then `bananas up -d`"
        )

    def _running(self) -> Deployment:
        """What runs now: pools may have been scaled since the start."""
        live = {pool: len(plans) for pool, plans in self._live().items()}
        return replace(self.deployment, counts=live)

    def _live(self) -> Mapping[str, list[ChildPlan]]:
        pools = dict.fromkeys(state.pool for state in self._supervisor.children)
        live = {pool: [s.child.plan for s in self._changes.members(pool)] for pool in pools}
        return {pool: plans for pool, plans in live.items() if plans}

    def _apply(
        self, wanted: Deployment, settings: Settings, timeout_s: float, *, force: bool
    ) -> Steps:
        before = self._running()
        verify = None if force else self._keep_takers
        try:
            summary = yield from self._change(wanted, timeout_s, verify)
        except ControlFailed as error:
            yield from self._roll_back(before, timeout_s, error)
            raise
        self.deployment, self._settings = wanted, settings
        self._publish(wanted, settings.source)
        return summary

    def _roll_back(self, before: Deployment, timeout_s: float, error: ControlFailed) -> Steps:
        log.error("rolling back: %s", error)
        try:
            yield from self._change(before, timeout_s, None)
        except ControlFailed as another:
            raise ControlFailed(f"{error}; rolling back failed, too: {another}") from error
        raise ControlFailed(f"{error}; rolled back to what ran before") from error

    def _publish(self, applied: Deployment, source: str) -> None:
        """Record the new name and file, so that other commands and the next `up` find what runs."""
        record = self._publication.record
        topology = applied.topology
        changed = replace(
            record,
            name=topology.name,
            topology=os.path.abspath(topology.path),
            redis_url=applied.host.redis_url,
        )
        try:
            rename(Path(record.directory), topology.name, source)
            self._publication.update(changed)
        except OSError as problem:
            log.error("state file not written: %s", problem.strerror or problem)

    def _change(
        self,
        wanted: Deployment,
        timeout_s: float,
        verify: Callable[[Deployment, float], Steps] | None,
    ) -> Steps:
        self._server.log_in(wanted.host.redis_url)
        self._changes.retarget(wanted.plan, wanted.names)
        pools = dict.fromkeys((*wanted.names, *(state.pool for state in self._supervisor.children)))
        total = sum(map(len, self._live().values()))
        added = [
            self._changes.add(pool)
            for pool in pools
            for _ in range(self._number_to_add_first(pool, wanted))
        ]
        yield from self._changes.until_ready(added, timeout_s)
        if verify is not None:
            yield from verify(wanted, timeout_s)
        yield from together([self._turn_over(pool, wanted, timeout_s) for pool in pools])
        now = quantity(sum(map(len, self._live().values())), "process")
        return f"applied {wanted.topology.path.name}: {now}, {total} before"

    def _split(self, pool: str, wanted: Deployment) -> tuple[list[ChildState], list[ChildState]]:
        """The processes of a pool: those that run as planned, and the outdated ones."""
        members = self._changes.members(pool)
        current = [state for state in members if wanted.is_current(state.child.plan)]
        return current, [state for state in members if state not in current]

    def _number_to_add_first(self, pool: str, wanted: Deployment) -> int:
        current, outdated = self._split(pool, wanted)
        count = wanted.counts.get(pool, 0)
        missing = max(0, count - len(current))
        if not any(state.is_active for state in outdated):
            return missing
        if pool == API:
            return 0  # two processes cannot listen on the same port
        return min(missing, 1 + max(0, count - len(current) - len(outdated)))

    def _turn_over(self, pool: str, wanted: Deployment, timeout_s: float) -> Steps:
        """Replace outdated processes one by one; drain those without a successor together."""
        count = wanted.counts.get(pool, 0)
        while True:
            current, outdated = self._split(pool, wanted)
            missing = max(0, count - len(current))
            leaving = [*outdated[:1]] if missing else [*outdated, *current[count:]]
            if not leaving:
                return ""
            for state in leaving:
                self._supervisor.retire(state)
            yield from self._changes.until_gone(leaving)
            if missing:
                yield from self._changes.until_ready([self._changes.succeed(leaving[0])], timeout_s)

    def _keep_takers(self, wanted: Deployment, timeout_s: float) -> Steps:
        """Check by what the workers themselves report: their handlers may have changed, too.

        Raises:
            ControlFailed: waiting jobs would lose their workers, or that cannot be checked.
        """
        staying = self._staying(wanted)
        leaving = {state.name for state in self._supervisor.children} - staying
        if not leaving:
            return ""
        deadline = monotonic() + timeout_s
        try:
            while True:
                workers = self._server.inspector.workers()
                missing = staying - {worker.worker_id for worker in workers}
                if not missing or monotonic() >= deadline:
                    break
                yield f"waiting for {', '.join(sorted(missing))} to register"
            scheduler = self._running().takers.has_scheduler
            stay = [each for each in workers if each.worker_id not in leaving]
            before = merged(map(_taker, workers), has_scheduler=scheduler)
            after = merged(map(_taker, stay), has_scheduler=wanted.takers.has_scheduler)
            stranded = yield from _paced(count_stranded(self._server.waiting, before, after))
        except (RedisUnavailable, RedisUnsuitable) as error:
            raise ControlFailed(
                f"cannot tell which jobs would lose their workers: {error}"
            ) from error
        if stranded:
            raise ControlFailed(
                f"{describe_stranded(stranded)}; `bananas apply --force` applies it nevertheless"
            )
        return ""

    def _staying(self, wanted: Deployment) -> set[str]:
        """Names of the workers that keep running, or whose pool will have others like them."""
        return {
            state.name
            for pool in wanted.names
            if pool != API
            for state in self._split(pool, wanted)[0][: wanted.counts.get(pool, 0)]
            if state.is_ready
        }


def _taker(worker: WorkerView) -> Taker:
    return Taker(frozenset(worker.priorities), frozenset(worker.job_types))


def _paced(counting: Generator[None, None, _T]) -> Generator[str, None, _T]:
    """Return to the supervisor's loop between reads."""
    while True:
        until = monotonic() + READ_S
        while monotonic() < until:
            try:
                next(counting)
            except StopIteration as end:
                found: _T = end.value
                return found
        yield "counting the jobs that wait"
