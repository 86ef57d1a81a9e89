"""Scaling and rolling restarts, with real processes under a real supervisor."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from bananas_topology.errors import ControlFailed
from bananas_topology.local.changes import Changes
from bananas_topology.supervisor.operation import Operation
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.state import Phase
from bananas_topology.supervisor.supervisor import Supervisor
from tests.supervisor.stage import REPORTING, Script, Stage

#: Reports that it is ready, and takes a moment to drain when asked by SIGUSR2.
WORKING = f"""{REPORTING}
def drain(*_):
    report(ready=False, slots=2, busy=1, completed=1)
    time.sleep(0.2)
    sys.exit(0)
signal.signal(signal.SIGUSR2, drain)
while True:
    report(slots=2, completed=1)
    time.sleep(0.05)
"""


class Rehearsal:
    """Makes changes one after the other, from when all processes are settled; then ends the run.

    `code` is what processes run that are planned from then on.
    """

    def __init__(self, stage: Stage, *changes: Callable[[Changes], Operation | None]) -> None:
        self._stage = stage
        self._waiting = list(changes)
        self.code = WORKING
        self.operations: list[Operation] = []
        self.seen_progress: set[str] = set()
        self.fewest_ready = 1000
        self.names: list[str] = []

    def plan(self, pool: str, index: int) -> ChildPlan:
        return self._plan(self.code, f"{pool}-{index}")

    def _plan(self, code: str, name: str) -> ChildPlan:
        return self._stage.plan(code, name, drain_signal=signal.SIGUSR2)

    def run(self, *names: str, **codes: str) -> list[str]:
        """Run these processes, some with a code of their own; returns the names at the end."""
        plans = [self.plan(*_split(name)) for name in names]
        plans += [self._plan(code, name.replace("_", "-")) for name, code in codes.items()]
        self._stage.run(*plans, sources=[self._script])
        return self.names

    def _script(self, supervisor: Supervisor) -> Script:
        return Script(lambda: self._on_turn(supervisor))

    def _on_turn(self, supervisor: Supervisor) -> None:
        children = supervisor.children
        if self.operations and not supervisor.is_stopping:
            self.fewest_ready = min(self.fewest_ready, sum(each.is_ready for each in children))
            self.seen_progress.add(self.operations[-1].progress)
        is_settled = all(each.is_ready or each.is_given_up for each in children)
        if supervisor.is_stopping or supervisor.operation is not None or not is_settled:
            return
        if not self._waiting:
            self.names = sorted(each.name for each in children)
            supervisor.quit()
        elif operation := self._waiting.pop(0)(Changes(supervisor, self.plan, ["a", "b", "api"])):
            supervisor.begin(operation)
            self.operations.append(operation)


def _split(name: str) -> tuple[str, int]:
    pool, _, index = name.rpartition("-")
    return pool, int(index)


def _pids(changes: Changes) -> list[int | None]:
    return [state.child.pid for state in changes.members("a")]


def test_pools_are_scaled_up_and_down_at_once(stage: Stage) -> None:
    rehearsal = Rehearsal(stage, lambda changes: changes.scale({"a": 3, "b": 1}, 20))

    assert rehearsal.run("a-0", "b-0", "b-1", "b-2") == ["a-0", "a-1", "a-2", "b-0"]
    [operation] = rehearsal.operations
    assert (operation.error, operation.progress) == ("", "started 2 processes, stopped 2")
    assert any("b-1, b-2 to finish" in text for text in rehearsal.seen_progress)
    assert any("a-1, a-2 to become ready" in text for text in rehearsal.seen_progress)


def test_pool_scaled_to_none_can_be_scaled_up_again(stage: Stage) -> None:
    rehearsal = Rehearsal(
        stage,
        lambda changes: changes.scale({"a": 0}, 20),
        lambda changes: changes.scale({"a": 1}, 20),
    )

    assert rehearsal.run("a-0") == ["a-0"]


def test_name_of_a_draining_process_is_not_used_again(stage: Stage) -> None:
    # It drains until the process that takes its place has started.
    patient = WORKING.replace(
        "time.sleep(0.2)", "while not os.path.exists('started'): time.sleep(0.01)"
    )

    def down_and_up(changes: Changes) -> Operation:
        [_, second] = changes.members("a")
        stage.supervisor.retire(second)
        rehearsal.code = f"open('started', 'w').close()\n{WORKING}"
        return changes.scale({"a": 2}, 20)

    rehearsal = Rehearsal(stage, down_and_up)

    assert rehearsal.run("a-0", a_1=patient) == ["a-0", "a-2"]


def test_process_that_does_not_become_ready_is_taken_back(stage: Stage) -> None:
    def scale(changes: Changes) -> Operation:
        rehearsal.code = "raise SystemExit(3)"
        return changes.scale({"a": 2}, 20)

    rehearsal = Rehearsal(stage, scale)

    assert rehearsal.run("a-0") == ["a-0"]
    error = rehearsal.operations[0].error
    assert error == (
        "a-1 exited before it was ready (exit code 3); stopped again, see `bananas logs a-1`"
    )


@pytest.mark.parametrize("replicas", [1, 3])
def test_restart_replaces_every_process_with_never_fewer_ready(stage: Stage, replicas: int) -> None:
    names = [f"a-{index}" for index in range(replicas)]
    pids: list[int | None] = []
    completed: list[int] = []

    def restart(changes: Changes) -> Operation:
        pids.extend(_pids(changes))
        return changes.restart([], 20)

    def look(changes: Changes) -> None:
        pids.extend(_pids(changes))
        completed.extend(state.completed for state in changes.members("a"))

    rehearsal = Rehearsal(stage, restart, look)

    assert rehearsal.run(*names) == names
    assert rehearsal.operations[0].error == ""
    assert rehearsal.fewest_ready >= replicas
    assert len(set(pids)) == 2 * replicas
    assert completed == [2] * replicas


def test_pools_are_restarted_side_by_side(stage: Stage) -> None:
    rehearsal = Rehearsal(stage, lambda changes: changes.restart([], 20))

    assert rehearsal.run("a-0", "api-0", "b-0") == ["a-0", "api-0", "b-0"]
    assert any("a-" in text and "b-" in text for text in rehearsal.seen_progress)


@pytest.mark.parametrize(
    ("code", "timeout_s", "error"),
    [
        (
            "raise SystemExit(2)",
            20,
            "a-2 exited before it was ready (exit code 2: invalid settings or handlers); "
            "stopped again, see `bananas logs a-2`",
        ),
        (
            "import time; time.sleep(60)",
            0.5,
            "a-2 not ready within 0.5 s; stopped again, see `bananas logs a-2`",
        ),
    ],
)
def test_restart_with_broken_code_keeps_the_old_processes(
    stage: Stage, code: str, timeout_s: float, error: str
) -> None:
    pids: list[list[int | None]] = []

    def restart(changes: Changes) -> Operation:
        pids.append(_pids(changes))
        rehearsal.code = code
        return changes.restart(["a"], timeout_s)

    rehearsal = Rehearsal(stage, restart, lambda changes: pids.append(_pids(changes)))

    assert rehearsal.run("a-0", "a-1") == ["a-0", "a-1"]
    assert pids[0] == pids[1]
    assert rehearsal.operations[0].error == error


def test_code_that_breaks_during_a_restart_leaves_as_many_ready_as_before(stage: Stage) -> None:
    breaking = f"""
import os
with open("starts", "a") as file: file.write("x")
if os.path.getsize("starts") > 2: raise SystemExit(3)
{WORKING}"""

    def restart(changes: Changes) -> Operation:
        rehearsal.code = breaking
        return changes.restart(["a"], 20)

    rehearsal = Rehearsal(stage, restart)

    assert rehearsal.run("a-0", "a-1") == ["a-0", "a-2"]
    assert rehearsal.fewest_ready == 2
    assert "a-1 exited before it was ready" in rehearsal.operations[0].error


def test_process_that_was_given_up_is_started_again_by_a_restart(stage: Stage) -> None:
    def restart(changes: Changes) -> Operation:
        assert [each.phase for each in changes.members("a")] == [Phase.READY, Phase.GIVEN_UP]
        return changes.restart(["a"], 20)

    rehearsal = Rehearsal(stage, restart)

    assert rehearsal.run("a-0", a_1="raise SystemExit(2)") == ["a-0", "a-1"]
    assert rehearsal.operations[0].error == ""


def test_changes_are_made_one_at_a_time_and_cancelled_by_a_stop(stage: Stage) -> None:
    operations: list[Operation] = []

    def begin_twice_and_stop(changes: Changes) -> None:
        operations.append(changes.restart(["a"], 20))
        stage.supervisor.begin(operations[0])
        with pytest.raises(ControlFailed, match="another change is under way: restart a"):
            stage.supervisor.begin(changes.scale({"a": 2}, 20))
        stage.supervisor.stop()
        with pytest.raises(ControlFailed, match="stopping"):
            stage.supervisor.begin(changes.scale({"a": 2}, 20))

    Rehearsal(stage, begin_twice_and_stop).run("a-0")

    assert operations[0].error == "stopping"


@pytest.mark.parametrize(
    ("replicas", "message"),
    [
        ({"x": 1}, 'no pool "x" is running: expected one of a, b, api'),
        ({"a": -1}, "expected 0 to 1000 replicas"),
        ({"a": 1001}, "expected 0 to 1000 replicas"),
        ({"api": 2}, "would share a port"),
    ],
)
def test_scale_out_of_range_is_refused(
    stage: Stage, replicas: dict[str, int], message: str
) -> None:
    refused: list[str] = []

    def scale(changes: Changes) -> None:
        with pytest.raises(ControlFailed, match=message):
            changes.scale(replicas, 20)
        refused.append(message)

    Rehearsal(stage, scale).run("a-0")

    assert refused
