from __future__ import annotations

import os
from pathlib import Path

import pytest

from bananas_topology.supervisor import log_files as log_files_module
from bananas_topology.supervisor.log_files import (
    TIMESTAMP_LENGTH,
    LogFile,
    LogFiles,
    children_with_logs,
    existing_files,
    log_path,
)


def test_lines_are_kept_with_the_time_of_their_arrival(tmp_path: Path) -> None:
    file = LogFiles(tmp_path / "logs").file("a-0")

    file.write([b"one", b"\xff two"])
    file.write([])

    path = log_path(tmp_path / "logs", "a-0")
    first, second = path.read_bytes().splitlines()
    assert first[:TIMESTAMP_LENGTH].endswith(b"Z")
    assert first[TIMESTAMP_LENGTH:] == b" one"
    assert second[TIMESTAMP_LENGTH:] == b" \xff two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    file.close()


def test_files_rotate_by_size_and_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files_module, "MAX_FILE_BYTES", 1000)
    file = LogFile(log_path(tmp_path, "a-0"))

    for number in range(200):
        file.write([f"line {number:03}".encode() + b"." * 30])

    paths = list(existing_files(tmp_path, "a-0"))
    assert len(paths) == 1 + log_files_module.BACKUPS
    assert all(path.stat().st_size <= 1000 for path in paths)
    kept = [
        line[TIMESTAMP_LENGTH + 6 : TIMESTAMP_LENGTH + 9]
        for path in paths
        for line in path.read_text().splitlines()
    ]
    assert kept == [f"{number:03}" for number in range(200 - len(kept), 200)]
    file.close()


def test_line_longer_than_a_file_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files_module, "MAX_FILE_BYTES", 100)
    file = LogFile(log_path(tmp_path, "a-0"))

    file.write([b"x" * 500])
    file.write([b"y" * 500])

    sizes = [path.stat().st_size for path in existing_files(tmp_path, "a-0")]
    assert sizes == [500 + TIMESTAMP_LENGTH + 2] * 2
    file.close()


def test_earlier_run_s_file_is_continued(tmp_path: Path) -> None:
    for text in (b"first run", b"second run"):
        file = LogFile(log_path(tmp_path, "a-0"))
        file.write([text])
        file.close()

    assert len(log_path(tmp_path, "a-0").read_bytes().splitlines()) == 2


def test_unwritable_file_is_reported_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = log_path(tmp_path, "a-0")
    path.mkdir()
    file = LogFile(path)

    for _ in range(3):
        file.write([b"line"])
    path.rmdir()
    file.write([b"again"])

    assert [record.getMessage() for record in caplog.records] == [
        f"cannot write log file {path}: Is a directory"
    ]
    assert path.read_bytes().endswith(b" again\n")
    file.close()


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    os.symlink(target, log_path(tmp_path, "a-0"))
    file = LogFile(log_path(tmp_path, "a-0"))

    file.write([b"line"])

    assert not target.exists()


def test_children_with_files_are_found(tmp_path: Path) -> None:
    for name in ("b-0", "a-0"):
        file = LogFile(log_path(tmp_path, name))
        file.write([b"line"])
        file.close()
    (tmp_path / "a-0.log.1").touch()

    assert children_with_logs(tmp_path) == ["a-0", "b-0"]
