"""Children, given as Python code, under a supervisor in the test's own process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bananas_topology.supervisor.output import Output
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.poll_source import PollSource
from bananas_topology.supervisor.restarts import RestartPolicy
from bananas_topology.supervisor.sink import Sink
from bananas_topology.supervisor.supervisor import RunResult, Supervisor
from bananas_topology.system.notify import NotifySocket

#: The default policy with delays that are fifty times shorter.
FAST = RestartPolicy(base_delay_s=0.02, cap_delay_s=0.1, cap_start_delay_s=0.6, max_failed_starts=6)

#: Beginning of a child that reports to its supervisor.
REPORTING = """
import json, os, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
def report(ready=True, **counts):
    message = f"MAINPID={os.getpid()}\\nSTATUS={json.dumps(counts)}\\n" + "READY=1\\n" * ready
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), os.environ["NOTIFY_SOCKET"])
"""

SIGNAL_PARENT = "os.kill(os.getppid(), signal.{})"


@dataclass
class Stage:
    """Runs children; `shown` is what they wrote, `supervisor` the last one that ran them."""

    directory: Path
    read_end: int
    sink: Sink
    shown: bytes = b""
    supervisors: list[Supervisor] = field(default_factory=list)

    def plan(
        self,
        code: str,
        name: str = "a-0",
        grace_ms: int = 10_000,
        drain_signal: signal.Signals = signal.SIGTERM,
    ) -> ChildPlan:
        return ChildPlan(
            name=name,
            pool=name.rpartition("-")[0],
            argv=(sys.executable, "-I", "-S", "-c", code),
            env=dict(os.environ),
            cwd=self.directory,
            grace_ms=grace_ms,
            drain_signal=drain_signal,
        )

    def run(
        self,
        *plans: ChildPlan,
        is_drained: Callable[[], bool] | None = None,
        on_poll: Callable[[], None] | None = None,
        sources: Sequence[Callable[[Supervisor], PollSource]] = (),
    ) -> RunResult:
        output = Output(self.sink, [plan.name for plan in plans], lambda pool, text: text)
        with NotifySocket(self.directory / ".notify") as notify_socket:
            supervisor = Supervisor(
                plans,
                output,
                policy=FAST,
                notify_socket=notify_socket,
                is_drained=is_drained,
                on_poll=on_poll,
            )
            for make in sources:
                supervisor.serve(make(supervisor))
            self.supervisors.append(supervisor)
            result = supervisor.run()
        self.shown = os.read(self.read_end, 1 << 20)
        return result

    @property
    def supervisor(self) -> Supervisor:
        return self.supervisors[-1]


class Script:
    """Calls a function at every turn of a supervisor's loop, from the test's own thread."""

    def __init__(self, on_turn: Callable[[], object]) -> None:
        self._on_turn = on_turn

    def interests(self) -> dict[int, int]:
        return {}

    def on_ready(self, fd: int) -> None:
        raise AssertionError

    def on_turn(self) -> None:
        self._on_turn()
