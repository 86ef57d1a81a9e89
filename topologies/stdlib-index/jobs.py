"""Index the Python standard library: walk it, parse every file, add up the results.

Delivery is at least once, so a job may run twice. The ids of the file jobs are derived from the
walk's id, so a repeated walk enqueues nothing twice; the report is written atomically.
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
from bananas_topology.errors import JobFailed, JobNotFound, ResultNotFound, WaitTimeout

REPORT = Path(__file__).with_name("report.json")

#: Folders that are not part of the library.
EXCLUDED = {"site-packages", "dist-packages", "__pycache__"}

#: How long the report waits for a file before it frees its thread, and until it tries again.
POLL_INTERVAL = "2s"

# Python 3.11 counts the parser's recursion depth across all threads, and fails when they overlap.
_PARSER = threading.Lock()

# The library's test data contains code that the compiler warns about.
warnings.filterwarnings("ignore", category=SyntaxWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the library at `root`, by its path below that."""

    root: str
    path: str


@dataclass(frozen=True, slots=True)
class FileIndex:
    """The counts of one file. `parses` is False for test data that is not valid Python."""

    path: str
    lines: int
    bytes: int
    sha256: str
    functions: int
    classes: int
    parses: bool


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk and the files it found: `paths` below `root`."""

    walk_id: str
    root: str
    paths: list[str]


@job("walk_library")
def walk_library(context: JobContext) -> dict[str, object]:
    """Enqueue a job per .py file, then the one that adds them up."""
    root = sysconfig.get_path("stdlib")
    paths = sorted(_python_files(root))
    walk = Walk(context.job_id, root, paths)
    with Client.from_env() as client:
        client.enqueue_many(_jobs_of(walk))
    return {"root": root, "files": len(paths)}


@job("index_file")
def index_file(payload: File) -> FileIndex:
    """Parse one file and count."""
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
def write_report(payload: Walk) -> dict[str, int]:
    """Add up the results of all files and write them as JSON.

    Retried until the last file is done.
    """
    ids = {path: _file_id(payload.walk_id, path) for path in payload.paths}
    with Client.from_env() as client:
        done = client.results(ids.values())
        found = {path: done.get(ids[path]) or _wait_for_file(client, ids[path]) for path in ids}
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
    _write_atomic(REPORT, json.dumps(report, indent=1).encode())
    return totals


def _python_files(root: str) -> Iterator[str]:
    """POSIX paths below `root`."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in EXCLUDED]
        for name in names:
            if name.endswith(".py"):
                yield Path(folder, name).relative_to(root).as_posix()


def _jobs_of(walk: Walk) -> Iterator[NewJob]:
    for path in walk.paths:
        payload = asdict(File(walk.root, path))
        yield NewJob("index_file", payload, id=_file_id(walk.walk_id, path))
    yield NewJob("write_report", asdict(walk), priority="low", id=f"{walk.walk_id}/report")


def _file_id(walk_id: str, path: str) -> str:
    return f"{walk_id}/{path}"


def _wait_for_file(client: Client, job_id: str) -> dict[str, Any] | None:
    """The result of a file's job; None if the job is dead.

    Raises:
        Retry: the job is not done.
        Bury: the job is done, but its result is not kept.
    """
    try:
        result: dict[str, Any] = client.wait(job_id, timeout=POLL_INTERVAL)
    except JobFailed:
        return None
    except WaitTimeout as error:
        raise Retry(str(error), delay=POLL_INTERVAL) from error
    except JobNotFound as error:
        raise Bury(f"job {job_id} is no longer stored: run the walk again") from error
    except ResultNotFound as error:
        raise Bury(f"the result of job {job_id} was not kept: run the walk again") from error
    return result


def _write_atomic(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".report-")
    with open(descriptor, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
