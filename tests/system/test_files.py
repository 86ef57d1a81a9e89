from __future__ import annotations

from pathlib import Path

import pytest

from bananas_topology.system.files import write_atomic


def test_what_is_written_is_there_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    write_atomic(path, "café\n", 0o640)

    assert path.read_bytes() == "café\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_has_no_place_is_named_as_its_author_named_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"

    with pytest.raises(FileNotFoundError) as caught:
        write_atomic(path, "new")

    assert caught.value.filename == str(path)
