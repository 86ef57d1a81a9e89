"""Database jobs: an SQLite file in the workspace, shared by all jobs that run concurrently."""

from __future__ import annotations

import gzip
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from bananas_topology import JobContext, job
from seed_jobs.workspace import file_name, folder, write_atomic

#: Seconds that a job waits for another transaction.
BUSY_S = 30.0

_DAY_S = 86_400.0

#: Schema changes in order; `user_version` counts those that have run.
MIGRATIONS = (
    "CREATE TABLE records (id TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "ALTER TABLE records ADD COLUMN updated_at REAL NOT NULL DEFAULT 0",
    "CREATE INDEX records_by_age ON records (updated_at)",
)


@dataclass(frozen=True, slots=True)
class Record:
    """A record of another system; `updated_at` in Unix seconds, now if omitted."""

    id: str
    value: str
    updated_at: float | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """The records of the other system."""

    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Backup:
    """How many backups to keep, including the new one."""

    keep: Annotated[int, Meta(ge=1, le=1000)] = 5


@dataclass(frozen=True, slots=True)
class Cleanup:
    """The age in days from which records are deleted."""

    older_than_days: Annotated[float, Meta(ge=0)] = 30.0


@job("sync_database")
def sync_database(payload: Sync | None) -> dict[str, int]:
    """Synchronize the records with another system's; the newer value wins."""
    now = time.time()
    counts = {"inserted": 0, "updated": 0, "unchanged": 0}
    with _transaction() as database:
        for record in (payload or Sync()).records:
            moment = now if record.updated_at is None else record.updated_at
            counts[_merge(database, record, moment)] += 1
    return counts


@job("run_migrations")
def run_migrations() -> dict[str, int]:
    """Bring the schema up to date in one transaction; a second run changes nothing."""
    with _opened() as database, _write_transaction(database):
        before = _version(database)
        _migrate(database)
        return {"from_version": before, "to_version": _version(database)}


@job("backup_data")
def backup_data(payload: Backup | None, context: JobContext) -> dict[str, Any]:
    """Copy a consistent snapshot of the database, check it, and compress it into a file."""
    with _opened() as database, closing(sqlite3.connect(":memory:")) as copy:
        database.backup(copy)
        [(verdict,)] = copy.execute("PRAGMA integrity_check")
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy failed its integrity check: {verdict}")
        content = "\n".join(copy.iterdump()).encode()
    backups = folder("backups")
    name = file_name(context.job_id, ".sql.gz")
    packed = gzip.compress(content, mtime=0)
    write_atomic(backups / name, packed)
    others = (path for path in backups.glob("*.sql.gz") if path.name != name)
    removed = sorted(others, key=_age_s)[(payload or Backup()).keep - 1 :]
    for path in removed:
        path.unlink(missing_ok=True)
    return {
        "file": name,
        "bytes": len(packed),
        "sha256": sha256(content).hexdigest(),
        "removed": len(removed),
    }


@job("cleanup_old_records")
def cleanup_old_records(payload: Cleanup | None) -> dict[str, int]:
    """Delete the records that have not been updated for a long time."""
    limit = time.time() - (payload or Cleanup()).older_than_days * _DAY_S
    with _transaction() as database:
        deleted = database.execute("DELETE FROM records WHERE updated_at < ?", (limit,)).rowcount
        [(left,)] = database.execute("SELECT count(*) FROM records")
    return {"deleted": deleted, "left": left}


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    path = folder("database") / "records.sqlite3"
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as database:
        yield database


@contextmanager
def _write_transaction(database: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock at its beginning.

    Taking it later would fail if another transaction had written meanwhile.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # JobTimeout may be raised at any line, even after the COMMIT.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextmanager
def _transaction() -> Iterator[sqlite3.Connection]:
    """A transaction on the current schema, whether or not `run_migrations` has run."""
    with _opened() as database, _write_transaction(database):
        _migrate(database)
        yield database


def _migrate(database: sqlite3.Connection) -> None:
    for statement in MIGRATIONS[_version(database) :]:
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(database: sqlite3.Connection) -> int:
    [(version,)] = database.execute("PRAGMA user_version")
    return int(version)


def _merge(database: sqlite3.Connection, record: Record, moment: float) -> str:
    row = database.execute(
        "SELECT value, updated_at FROM records WHERE id = ?", (record.id,)
    ).fetchone()
    if row is None:
        database.execute(
            "INSERT INTO records (id, value, updated_at) VALUES (?, ?, ?)",
            (record.id, record.value, moment),
        )
        return "inserted"
    value, updated_at = row
    if value == record.value or updated_at > moment:
        return "unchanged"
    database.execute(
        "UPDATE records SET value = ?, updated_at = ? WHERE id = ?",
        (record.value, moment, record.id),
    )
    return "updated"


def _age_s(path: Path) -> float:
    """The age of a file in seconds; infinite if another job has just removed it."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
