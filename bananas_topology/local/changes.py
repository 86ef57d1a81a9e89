"""Scales and restarts the processes of a pool while everything else keeps running.

Each change is an `Operation` for the supervisor: its steps never block, and yield what they wait
for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from bananas_topology.contract.names import API
from bananas_topology.errors import ControlFailed, InvalidArgument
from bananas_topology.local.deployment import allow_processes
from bananas_topology.supervisor.operation import Operation, Steps
from bananas_topology.supervisor.plan import MAX_REPLICAS, ChildPlan
from bananas_topology.supervisor.state import ChildState
from bananas_topology.supervisor.supervisor import Supervisor
from bananas_topology.system.clock import monotonic
from bananas_topology.units import quantity

#: Plans one process of a pool, given the pool's name and the index of the replica.
PlanReplica = Callable[[str, int], ChildPlan]

#: Maximum names of processes shown; the rest are counted.
_MAX_NAMES = 3


class Changes:
    """Creates operations on a supervisor's children. `pools` are the names that may be changed."""

    def __init__(
        self, supervisor: Supervisor, plan_replica: PlanReplica, pools: Collection[str]
    ) -> None:
        self._supervisor = supervisor
        self._plan = plan_replica
        self._pools = pools

    def retarget(self, plan_replica: PlanReplica, pools: Collection[str]) -> None:
        """Plan processes like this from now on, and allow changes to these pools."""
        self._plan, self._pools = plan_replica, pools

    def scale(self, replicas: Mapping[str, int], ready_timeout_s: float) -> Operation:
        """Run this many processes of each pool; surplus ones finish their running jobs first.

        Raises:
            InvalidArgument: no such pool, or a number out of range.
            ControlFailed: this host does not allow as many processes.
        """
        self._check(replicas)
        for pool, count in replicas.items():
            if pool == API:
                raise InvalidArgument(
                    "the api cannot be scaled here: its replicas would share a port"
                )
            if not 0 <= count <= MAX_REPLICAS:
                raise InvalidArgument(
                    f'expected 0 to {MAX_REPLICAS} replicas for pool "{pool}", got {count}'
                )
        others = [each for each in self._supervisor.children if each.pool not in replicas]
        allow_processes(len(others) + sum(replicas.values()))
        name = "scale " + " ".join(f"{pool}={count}" for pool, count in replicas.items())
        return Operation(name, self._scale(replicas, ready_timeout_s))

    def restart(self, pools: Collection[str], ready_timeout_s: float) -> Operation:
        """Replace the processes of these pools, or of all if none are given, one by one.

        Raises:
            InvalidArgument: no such pool.
        """
        self._check(pools)
        chosen = [pool for pool in self._pools if not pools or pool in pools]
        steps = together(self._restart(pool, ready_timeout_s) for pool in chosen)
        return Operation(f"restart {' '.join(pools)}".rstrip(), steps)

    def members(self, pool: str) -> list[ChildState]:
        """The processes of a pool by index, without draining ones."""
        found = [
            state
            for state in self._supervisor.children
            if state.pool == pool and not state.is_retiring
        ]
        return sorted(found, key=lambda state: state.index)

    def _check(self, pools: Collection[str]) -> None:
        for pool in pools:
            if pool not in self._pools:
                raise InvalidArgument(
                    f'no pool "{pool}" is running: expected one of {", ".join(self._pools)}'
                )

    def _scale(self, replicas: Mapping[str, int], ready_timeout_s: float) -> Steps:
        added: list[ChildState] = []
        surplus: list[ChildState] = []
        for pool, count in replicas.items():
            present = self.members(pool)
            surplus += present[count:]
            added += [self.add(pool) for _ in range(count - len(present))]
        for state in surplus:
            self._supervisor.retire(state)
        yield from together([self.until_ready(added, ready_timeout_s), self.until_gone(surplus)])
        return f"started {quantity(len(added), 'process')}, stopped {len(surplus)}"

    def _restart(self, pool: str, ready_timeout_s: float) -> Steps:
        """Start one more, then replace the others one by one: never fewer are ready than before."""
        present = self.members(pool)
        # Two apis cannot listen on the same port: there is a short gap instead.
        has_spare = pool != API and any(state.is_active for state in present)
        spare = [self.add(pool)] if has_spare else []
        yield from self.until_ready(spare, ready_timeout_s)
        for state in present:
            self._supervisor.retire(state)
            yield from self.until_gone([state])
            new = self.succeed(state)
            yield from self.until_ready([new], ready_timeout_s)
        for state in spare:
            self._supervisor.retire(state)
        yield from self.until_gone(spare)
        return f"restarted {quantity(len(present), 'process')} of {pool}"

    def add(self, pool: str) -> ChildState:
        """Start one more process, with the pool's lowest free index."""
        taken = {state.index for state in self._supervisor.children if state.pool == pool}
        index = next(index for index in range(len(taken) + 1) if index not in taken)
        return self._supervisor.add(self._plan(pool, index))

    def succeed(self, state: ChildState) -> ChildState:
        """Start a process under the name of one that has exited, and continue its counts."""
        new = self._supervisor.add(self._plan(state.pool, state.index))
        new.completed_before, new.failed_before = state.completed, state.failed
        return new

    def until_ready(self, states: Sequence[ChildState], timeout_s: float) -> Steps:
        """Wait for new processes; one that exits, or is not ready in time, is stopped again."""
        deadline = monotonic() + timeout_s
        while waiting := [state for state in states if not state.is_ready]:
            failed = [state for state in waiting if state.exits]
            if failed or monotonic() >= deadline:
                for state in waiting:
                    self._supervisor.retire(state)
                raise ControlFailed(_not_ready(failed or waiting, timeout_s))
            yield f"waiting for {_names(waiting)} to become ready"
        return ""

    def until_gone(self, states: Sequence[ChildState]) -> Steps:
        """Wait for processes that were asked to drain."""
        while left := [state for state in states if state.child.is_running]:
            yield waiting_for_exit(left)
        return ""


def together(every: Iterable[Steps]) -> Steps:
    """Run the steps of several changes side by side; if one fails, the others continue.

    Raises:
        ControlFailed: some have failed, once all have ended.
    """
    progress = {steps: "" for steps in every}
    summaries: list[str] = []
    errors: list[str] = []
    while progress:
        for steps in list(progress):
            try:
                progress[steps] = next(steps)
                continue
            except StopIteration as end:
                summaries.append(end.value)
            except ControlFailed as error:
                errors.append(str(error))
            del progress[steps]
        if progress:
            yield "; ".join(progress.values())
    if errors:
        raise ControlFailed("; ".join(errors))
    return "; ".join(summary for summary in summaries if summary)


def waiting_for_exit(states: Sequence[ChildState]) -> str:
    """Describe which processes are waited for, and for how many jobs."""
    jobs = sum(state.report.busy for state in states)
    todo = f"finish {quantity(jobs, 'running job')}" if jobs else "exit"
    return f"waiting for {_names(states)} to {todo}"


def _not_ready(states: Sequence[ChildState], timeout_s: float) -> str:
    state = states[0]
    if state.exits:
        reason = f"{state.name} exited before it was ready ({state.last_exit})"
    else:
        reason = f"{_names(states)} not ready within {timeout_s:g} s"
    return f"{reason}; stopped again, see `bananas logs {state.name}`"


def _names(states: Sequence[ChildState]) -> str:
    names = [state.name for state in states]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
