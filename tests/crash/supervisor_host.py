"""A program that supervises children given as Python code, for tests that kill it.

Usage: supervisor_host.py DIRECTORY NAME=CODE... If DIRECTORY contains `server`, an
bundled server is started there first and stopped last, as by `bananas up`.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.supervisor import supervisor as supervisor_module
from bananas_topology.supervisor.output import Output
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.sink import Sink
from bananas_topology.supervisor.supervisor import Supervisor

# Children that a busy machine is slow to run are not killed for it.
supervisor_module.QUIT_TIMEOUT_S = 30.0


def _plan(argument: str, directory: Path) -> ChildPlan:
    name, _, code = argument.partition("=")
    argv = (sys.executable, "-I", "-S", "-c", code)
    return ChildPlan(name, name.rpartition("-")[0], argv, dict(os.environ), directory, 20_000)


def main() -> int:
    directory = Path(sys.argv[1])
    plans = [_plan(argument, directory) for argument in sys.argv[2:]]
    output = Output(Sink(1), [plan.name for plan in plans], lambda pool, text: text)
    with ExitStack() as stack:
        if (directory / "server").is_dir():
            server = stack.enter_context(BundledServer(directory / "server"))
            server.start()
        result = Supervisor(plans, output).run()
    return 1 if result.killed or len(result.given_up) == len(plans) else 0


if __name__ == "__main__":
    sys.exit(main())
