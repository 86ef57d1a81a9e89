"""What the shell suggests for arguments: names of what runs here, and ids of jobs.

Suggestions are a help: whatever goes wrong, there are none, and nothing is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from io import StringIO

from bananas_topology.contract.names import API


def _quietly(suggest: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Return a function for `typer`: those suggestions that begin with what has been typed."""

    def complete(incomplete: str) -> list[str]:
        try:
            with redirect_stderr(StringIO()):
                return [each for each in suggest() if each.startswith(incomplete)]
        # Of any kind, even a defect: a traceback in the middle of a command line helps nobody.
        except Exception:
            return []

    return complete


@_quietly
def pools() -> list[str]:
    """Names of the pools that run, and of the api."""
    return _names("pool")


@_quietly
def scaled_pools() -> list[str]:
    """Names of the pools that can be scaled, each with the sign that a number follows."""
    return [f"{name}=" for name in _names("pool") if name != API]


@_quietly
def pools_and_processes() -> list[str]:
    """Names of the pools that run, and of their processes."""
    return [*_names("pool"), *_names("name")]


@_quietly
def job_ids() -> list[str]:
    """Ids of jobs that run, wait, are delayed or dead: some of each."""
    from bananas_topology.cli.server import inspecting, locate
    from bananas_topology.cli.topology import TopologyFiles

    with inspecting(locate(None, TopologyFiles())) as inspector:
        return inspector.some_ids()


def _names(field: str) -> list[str]:
    from bananas_topology.cli.topology import TopologyFiles, wanted_run
    from bananas_topology.local.client import request
    from bananas_topology.local.runs import find_run

    record = find_run(wanted_run(TopologyFiles()))
    return list(dict.fromkeys(str(each[field]) for each in request(record, "ps")["processes"]))
