from __future__ import annotations

from pathlib import Path

import pytest

from bananas_topology.system.files import write_atomic


def test_a_written_file_has_its_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    write_atomic(path, "café\n", 0o640)

    assert path.read_bytes() == "café\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_reported_with_the_requested_path(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"

    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(path, "new")

    assert caught.value.filename == str(path)
