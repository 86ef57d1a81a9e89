"""Index the Python standard library: walk it, look at each file, add it all up.

Delivery is at least once, so each job may run twice: the ids of the file jobs are made from the
walk's own, and a walk that runs again enqueues nothing twice; the report is written whole.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import sysconfig
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from bananas_topology import Bury, Client, JobContext, Retry, job
from bananas_topology.client import NewJob
from bananas_topology.errors import JobFailed, JobNotFound, WaitTimeout

REPORT = Path(__file__).with_name("report.json")

#: Folders of the library that are no part of it.
FOREIGN = {"site-packages", "dist-packages", "__pycache__"}

#: How long the report waits for a file in a worker's thread, before it lets others have that.
PATIENCE = "2s"

# Python 3.11 counts how deep its parser is for all threads together, and then finds itself wrong.
_PARSER = threading.Lock()

# Test data of the library holds much that a compiler warns about.
warnings.filterwarnings("ignore", category=SyntaxWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the library at `root`, by its path below that."""

    root: str
    path: str


@dataclass(frozen=True, slots=True)
class FileIndex:
    """What is in one file. `parses` False: it is no Python, which some test data are not."""

    path: str
    lines: int
    bytes: int
    sha256: str
    functions: int
    classes: int
    parses: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A walk with all that it found: `paths` below `root`."""

    walk_id: str
    root: str
    paths: list[str]


@job("walk_library")
def walk_library(context: JobContext) -> dict[str, object]:
    """Enqueue a job for each .py file, and behind them the one that adds them up."""
    root = sysconfig.get_path("stdlib")
    paths = sorted(_python_files(root))
    run = Run(context.job_id, root, paths)
    with Client.from_env() as client:
        client.enqueue_many(_jobs_of(run))
    return {"root": root, "files": len(paths)}


@job("index_file")
def index_file(payload: File) -> FileIndex:
    """Parse one file, and count."""
    source = Path(payload.root, payload.path).read_bytes()
    try:
        with _PARSER:
            tree = ast.parse(source)
        nodes, parses = list(ast.walk(tree)), True
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes, parses = [], False
    return FileIndex(
        path=payload.path,
        lines=source.count(b"\n") + (not source.endswith(b"\n") and source != b""),
        bytes=len(source),
        sha256=sha256(source).hexdigest(),
        functions=sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in nodes),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        parses=parses,
    )


@job("write_report", max_retries=1000)
def write_report(payload: Run) -> dict[str, int]:
    """Add up what was found in each file, when all are done, and write it down as JSON.

    Until then it comes back again and again, each time as a retry.
    """
    ids = {path: _file_id(payload.walk_id, path) for path in payload.paths}
    with Client.from_env() as client:
        done = client.results(ids.values())
        found = {path: done.get(ids[path]) or _awaited(client, ids[path]) for path in ids}
    results = [result for result in found.values() if result]
    failed = [path for path, result in found.items() if not result]
    totals = {
        "files": len(results),
        "unparsed": sum(not result["parses"] for result in results),
        "failed": len(failed),
    }
    for name in ("lines", "bytes", "functions", "classes"):
        totals[name] = sum(result[name] for result in results)
    report = {
        "python": sys.version.split()[0],
        "root": payload.root,
        "totals": totals,
        "failed": failed,
        "files": results,
    }
    _write_whole(REPORT, json.dumps(report, indent=1).encode())
    return totals


def _python_files(root: str) -> Iterator[str]:
    """Paths below `root`, with `/` between their parts."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in FOREIGN]
        for name in names:
            if name.endswith(".py"):
                yield Path(folder, name).relative_to(root).as_posix()


def _jobs_of(run: Run) -> Iterator[NewJob]:
    for path in run.paths:
        payload = asdict(File(run.root, path))
        yield NewJob("index_file", payload, id=_file_id(run.walk_id, path))
    yield NewJob("write_report", asdict(run), priority="low", id=f"{run.walk_id}/report")


def _file_id(walk_id: str, path: str) -> str:
    return f"{walk_id}/{path}"


def _awaited(client: Client, job_id: str) -> dict[str, Any] | None:
    """What a file's job came to; None if it is dead.

    Raises:
        Retry: it is still to come.
        Bury: it has come, but is not kept.
    """
    try:
        result: dict[str, Any] | None = client.wait(job_id, timeout=PATIENCE)
    except JobFailed:
        return None
    except WaitTimeout as error:
        raise Retry(str(error), delay=PATIENCE) from error
    except JobNotFound as error:
        raise Bury(f"nothing is known of {job_id} any more: walk again") from error
    if result is None:
        raise Bury(f"the result of {job_id} was not kept: walk again")
    return result


def _write_whole(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".report-")
    with open(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
