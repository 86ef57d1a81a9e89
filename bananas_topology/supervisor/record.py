"""What a running `up` writes down, beside its topology file, for other commands to find.

A lock keeps a topology from being up twice on this host; the record says where its server is.
Knows nothing of children.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bananas_topology.errors import ControlFailed
from bananas_topology.system.files import write_atomic
from bananas_topology.system.processes import start_time_token

#: Beside the topology file: a directory for each topology, with its record, server log and data.
STATE_DIRECTORY = ".bananas"

_RECORD = "up.json"
_LOCK = "up.lock"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A running `up`. `start_time_token` tells its process from a later one with the same id."""

    pid: int
    start_time_token: str
    name: str
    topology: str
    redis_url: str
    key_prefix: str
    started_at: str


def state_directory(topology_path: Path, name: str) -> Path:
    """Make the directory in which `up` keeps what it needs; for its owner's eyes only.

    Raises:
        ControlFailed: it cannot be made.
    """
    root = topology_path.absolute().parent / STATE_DIRECTORY
    directory = root / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        ignore = root / ".gitignore"
        if not ignore.exists():
            write_atomic(ignore, "*\n")
    except OSError as error:
        raise ControlFailed(
            f"cannot make {directory}: {error.strerror}; `up` keeps its state beside the "
            "topology file, so it must be able to write there"
        ) from error
    return directory


@contextmanager
def exclusive_lock(directory: Path, name: str) -> Iterator[None]:
    """Be the only `up` of this topology on this host, for as long as the context is open.

    Raises:
        ControlFailed: another one runs.
    """
    with open(directory / _LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = _read(directory / _RECORD)
            process = f" (process {other.pid})" if other else ""
            raise ControlFailed(
                f'topology "{name}" is already up here{process}; '
                "stop it first: Ctrl-C in its terminal, or SIGTERM"
            ) from error
        try:
            yield
        finally:
            (directory / _RECORD).unlink(missing_ok=True)


def write(directory: Path, record: RunRecord) -> None:
    """Write the record, whole or not at all; only its owner may read it (it has the URL)."""
    write_atomic(directory / _RECORD, json.dumps(asdict(record), indent=2), 0o600)


@contextmanager
def published_record(directory: Path, record: RunRecord) -> Iterator[None]:
    """Have the record in a directory for as long as the context is open.

    It is for finding an `up` from where it was started, when that is not where its topology is.
    """
    write(directory, record)
    try:
        yield
    finally:
        # Another `up`, of a topology of the same name, may have been started from here since.
        if _read(directory / _RECORD) == record:
            (directory / _RECORD).unlink(missing_ok=True)


def find(directory: Path, name: str | None = None) -> RunRecord | None:
    """The running `up` of a topology in this directory; without a name, the one started last.

    What a killed one has left behind is passed over.
    """
    paths = (directory / STATE_DIRECTORY).glob(f"{name or '*'}/{_RECORD}")
    records = [record for path in paths if (record := _read(path)) is not None]
    return max(records, key=lambda record: record.started_at, default=None)


def _read(path: Path) -> RunRecord | None:
    try:
        record = RunRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return record if start_time_token(record.pid) == record.start_time_token else None
