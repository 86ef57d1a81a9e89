from __future__ import annotations

import os
from pathlib import Path

import pytest

from bananas_topology.system.files import private_directory, read_private, write_atomic


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


def test_a_private_file_is_closed_to_others_and_its_symbolic_link_not_followed(
    tmp_path: Path,
) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("secret")
    path.chmod(0o644)
    link.symlink_to(path)

    assert read_private(path) == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="it is a symbolic link"):
        read_private(link)


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_only_a_regular_file_is_opened_as_private(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.mkdir() if kind == "directory" else os.mkfifo(path)

    with pytest.raises(OSError, match="not a regular file"):
        read_private(path)


def test_an_existing_private_directory_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir(mode=0o755)

    private_directory(path)

    assert path.stat().st_mode & 0o777 == 0o700


def test_a_link_or_a_file_is_not_a_private_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="symbolic link"):
        private_directory(tmp_path / "link")
    with pytest.raises(FileExistsError):
        private_directory(tmp_path / "file")
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o755
