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
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from bananas_topology import Bury, Client, JobContext, Retry, job
from bananas_topology.client import NewJob
from bananas_topology.errors import JobNotFound

REPORT = Path(__file__).with_name("report.json")

#: Folders of the library that are no part of it.
FOREIGN = {"site-packages", "dist-packages", "__pycache__"}

#: Between two looks of the report whether the last files are done.
LOOK_AGAIN = "500ms"

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
        nodes = list(ast.walk(ast.parse(source)))
        parses = True
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
    ids = {_file_id(payload.walk_id, path): path for path in payload.paths}
    with Client.from_env() as client:
        found = client.results(ids)
        failed = [ids[job_id] for job_id in ids if job_id not in found and _is_dead(client, job_id)]
    results = [found[job_id] for job_id in ids if job_id in found]
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


def _is_dead(client: Client, job_id: str) -> bool:
    """Whether a job without a result will never have one.

    Raises:
        Retry: it may still have one.
        Bury: it has had one, but that is gone.
    """
    try:
        view = client.get(job_id)
    except JobNotFound as error:
        raise Bury(f"nothing is known of {job_id} any more: walk again") from error
    if view.status == "completed" and view.result is None:
        raise Bury(f"the result of {job_id} was not kept: walk again")
    if view.status != "failed":
        raise Retry(f"{job_id} is {view.status}", delay=LOOK_AGAIN)
    return True


def _write_whole(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".report-")
    with open(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
