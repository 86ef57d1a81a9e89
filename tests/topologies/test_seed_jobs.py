from __future__ import annotations

import gzip
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import seed_jobs
from seed_jobs.compute import Email, Measurements, ReportRequest
from seed_jobs.database import Backup, Cleanup, Record, Sync
from seed_jobs.transfer import Download, Picture, Source, Upload
from seed_jobs.workspace import VARIABLE

from bananas_topology import Bury, Client, JobContext
from bananas_topology.contract.worker import WorkerConfig, to_env
from bananas_topology.handler_modules import load_handlers
from bananas_topology.system.clock import monotonic

TOPOLOGIES = Path(seed_jobs.__file__).parents[1]

#: A payload per job type.
PAYLOADS: dict[str, Any] = {
    "send_email": {"to": "ada@example.com"},
    "generate_report": {"kind": "sales", "rows": 100},
    "process_analytics": {"values": [1, 2, 3]},
    "fetch_data": {"url": "data:text/csv,a%2Cb%0A1%2C2%0A"},
    "process_images": {"width": 32, "height": 16},
    "upload_files": {"files": {"notes.txt": "bananas\n"}},
    "download_content": {"sha256": sha256(b"bananas\n").hexdigest()},
    "sync_database": {"records": [{"id": "1", "value": "one"}]},
    "run_migrations": None,
    "backup_data": None,
    "cleanup_old_records": {"older_than_days": 7},
}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "workspace"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def _context(job_id: str = "some-id") -> JobContext:
    return JobContext(
        job_id=job_id,
        job_type="any",
        attempt=1,
        max_retries=3,
        worker_id="worker-0",
        deadline=monotonic() + 60,
        _is_cancelled=lambda: False,
    )


def _files(path: Path) -> list[str]:
    return sorted(file.name for file in path.rglob("*") if file.is_file())


def test_all_eleven_job_types_have_a_handler() -> None:
    assert set(load_handlers(("seed_jobs",))) == set(PAYLOADS)


def test_an_email_that_runs_twice_is_one_message_in_the_outbox(workspace: Path) -> None:
    email = Email(to="ada@example.com", subject="Zürich: 3 kilos", body="Ready.\n")

    first, second = (seed_jobs.send_email(email, _context()) for _ in range(2))

    assert first == second
    assert _files(workspace) == [first["file"]]
    message = message_from_bytes((workspace / "outbox" / first["file"]).read_bytes())
    assert message["To"] == "ada@example.com"
    assert message["Message-ID"] == first["message_id"]


@pytest.mark.parametrize(
    "email",
    [
        Email(to="ada"),
        Email(to="ada@example.com, bob@example.com"),
        Email(to="a@b.c", subject="x\nBcc: d@e.f"),
    ],
)
def test_an_invalid_email_is_buried(email: Email) -> None:
    with pytest.raises(Bury, match="expected one"):
        seed_jobs.send_email(email, _context())


def test_a_report_has_the_totals_of_its_rows(workspace: Path) -> None:
    result = seed_jobs.generate_report(ReportRequest(rows=50), _context())

    header, *rows = (workspace / "reports" / result["file"]).read_text().splitlines()
    assert header == "day,region,cents"
    assert len(rows) == 50
    assert sum(int(row.split(",")[2]) for row in rows) == result["total_cents"]
    assert sum(result["cents_by_region"].values()) == result["total_cents"]


def test_analytics_describe_the_values() -> None:
    result = seed_jobs.process_analytics(Measurements(values=[1.0, 2.0, 6.0]))

    assert (result["count"], result["mean"], result["median"]) == (3, 3.0, 2.0)
    assert seed_jobs.process_analytics(Measurements(values=[4.0]))["p95"] == 4.0
    assert seed_jobs.process_analytics(None) == seed_jobs.process_analytics(Measurements())


def test_fetched_data_is_parsed() -> None:
    from_csv = seed_jobs.fetch_data(Source("data:text/csv,name%2Ckilos%0Alady%2C3%0Ared%2C4"))
    from_json = seed_jobs.fetch_data(Source("data:application/json;base64,W3siYSI6MX1d"))

    assert (from_csv["records"], from_csv["fields"]) == (2, ["kilos", "name"])
    assert (from_json["records"], from_json["fields"]) == (1, ["a"])
    assert from_json["sha256"] == sha256(b'[{"a":1}]').hexdigest()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/data.csv",
        "data:nothing",
        "data:application/json,{",
        "data:;base64,!",
        "data:application/json," + "[" * 100_000,
        "data:text/csv,%ff",
    ],
)
def test_unreadable_data_is_buried(url: str) -> None:
    with pytest.raises(Bury):
        seed_jobs.fetch_data(Source(url))


def test_a_thumbnail_is_a_png_of_the_expected_size(workspace: Path) -> None:
    result = seed_jobs.process_images(Picture(width=40, height=20, shrink=4))

    [name] = _files(workspace)
    image = (workspace / "pictures" / name).read_bytes()
    assert struct.unpack(">II", image[16:24]) == (10, 5) == (result["width"], result["height"])
    (length,) = struct.unpack(">I", image[33:37])
    assert len(zlib.decompress(image[41 : 41 + length])) == 5 * (1 + 10)
    tiny = seed_jobs.process_images(Picture(width=1, height=1, shrink=16))
    assert (tiny["width"], tiny["height"]) == (1, 1)


def test_uploaded_files_can_be_downloaded() -> None:
    text = "bananas\n" * 1000

    stored = seed_jobs.upload_files(Upload({"a.txt": text, "b.txt": text}))["files"]
    fetched = seed_jobs.download_content(Download(stored[0]["sha256"]))

    assert [file["name"] for file in stored] == ["a.txt", "b.txt"]
    assert stored[0]["stored_bytes"] < 200
    assert fetched == {"bytes": 8000, "lines": 1000, "sha256": stored[0]["sha256"]}


def test_a_missing_download_fails_and_an_invalid_digest_is_buried() -> None:
    with pytest.raises(FileNotFoundError):
        seed_jobs.download_content(Download("0" * 64))
    with pytest.raises(Bury):
        seed_jobs.download_content(Download("../../etc/passwd"))


def test_a_sync_keeps_the_newer_value_and_is_idempotent() -> None:
    begin = [Record("1", "one", 100.0), Record("2", "two", 100.0)]
    later = [Record("1", "uno", 200.0), Record("2", "old", 50.0), Record("3", "three", 200.0)]

    assert seed_jobs.sync_database(Sync(begin))["inserted"] == 2
    first, second = (seed_jobs.sync_database(Sync(later)) for _ in range(2))

    assert first == {"inserted": 1, "updated": 1, "unchanged": 1}
    assert second == {"inserted": 0, "updated": 0, "unchanged": 3}


def test_migrations_run_once() -> None:
    assert seed_jobs.run_migrations() == {"from_version": 0, "to_version": 3}
    assert seed_jobs.run_migrations() == {"from_version": 3, "to_version": 3}


def test_a_backup_can_be_restored_and_old_ones_are_removed(workspace: Path) -> None:
    seed_jobs.sync_database(Sync([Record("1", "one")]))
    for number in range(4):
        result = seed_jobs.backup_data(Backup(keep=2), _context(f"backup-{number}"))

    assert len(_files(workspace / "backups")) == 2
    script = gzip.decompress((workspace / "backups" / result["file"]).read_bytes()).decode()
    restored = sqlite3.connect(":memory:")
    restored.executescript(script)
    assert restored.execute("SELECT id, value FROM records").fetchall() == [("1", "one")]
    restored.close()


def test_a_cleanup_deletes_old_records_only() -> None:
    seed_jobs.sync_database(Sync([Record("old", "x", 0.0), Record("new", "y")]))

    assert seed_jobs.cleanup_old_records(Cleanup(7)) == {"deleted": 1, "left": 1}
    assert seed_jobs.cleanup_old_records(None) == {"deleted": 0, "left": 1}


def test_concurrent_syncs_do_not_interfere() -> None:
    def sync(number: int) -> dict[str, int]:
        return seed_jobs.sync_database(Sync([Record(str(number % 10), "same", 1.0)]))

    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(sync, range(40)))

    assert sum(count["inserted"] for count in counts) == 10
    assert sum(count["unchanged"] for count in counts) == 30


def test_a_workspace_of_another_user_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap").symlink_to(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "trap"))

    with pytest.raises(PermissionError, match=VARIABLE):
        seed_jobs.run_migrations()


@pytest.fixture
def worker(server_url: str, prefix: str, workspace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker with the example handlers, as `up` would start it."""
    config = WorkerConfig(concurrency=8, handlers=("seed_jobs",), key_prefix=prefix)
    environ = {**os.environ, **to_env(config), "REDIS_URL": server_url, "WORKER_ID": "seed-0"}
    argv = [sys.executable, "-m", "bananas_topology.worker"]
    with subprocess.Popen(argv, cwd=TOPOLOGIES, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_worker_runs_all_eleven_job_types_concurrently(
    server_url: str, prefix: str, worker: subprocess.Popen[bytes]
) -> None:
    with Client(server_url, key_prefix=prefix) as client:
        client.wait(client.enqueue("upload_files", PAYLOADS["upload_files"]), timeout=30)
        ids = {
            client.enqueue(job_type, payload): job_type
            for _ in range(5)
            for job_type, payload in PAYLOADS.items()
        }
        results = {job_id: client.wait(job_id, timeout=60) for job_id in ids}
        broken = client.enqueue("process_images", {"width": 0}, max_retries=3)
        refusal = _final_error(client, broken)

    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert all(isinstance(result, dict) and result for result in results.values())
    assert "`$.width`" in refusal


def _final_error(client: Client, job_id: str) -> str:
    with pytest.raises(Exception, match="does not match") as failure:
        client.wait(job_id, timeout=30)
    return str(failure.value)
