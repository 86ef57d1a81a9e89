from __future__ import annotations

import os
from pathlib import Path

import pytest

from bananas_topology.errors import ControlFailed
from bananas_topology.local.sockets import CONTROL, MAX_PATH_BYTES, socket_directory
from bananas_topology.system.notify import NotifySocket


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    directory = tmp_path / ("d" * MAX_PATH_BYTES)
    directory.mkdir()
    return directory


def test_sockets_are_in_the_state_directory_where_they_fit(tmp_path: Path) -> None:
    short = Path("/tmp") / f"bananas-test-{os.getpid()}"
    short.mkdir()
    try:
        with socket_directory(short) as directory:
            assert directory == short
    finally:
        short.rmdir()


def test_deep_state_directory_gets_a_short_private_one_always_the_same(deep: Path) -> None:
    with socket_directory(deep) as first:
        assert len(os.fsencode(first / CONTROL)) <= MAX_PATH_BYTES
        assert first.stat().st_mode & 0o777 == 0o700
    assert not first.exists()
    with socket_directory(deep) as second:
        assert second == first


def test_directory_left_by_a_killed_process_is_used_again(deep: Path) -> None:
    with socket_directory(deep) as first:
        pass
    first.mkdir(mode=0o700)
    (first / CONTROL).touch()

    with socket_directory(deep) as second, NotifySocket(second / CONTROL):
        assert second == first
    assert not first.exists()


def test_runtime_directory_of_the_user_is_preferred(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path("/tmp") / f"bananas-run-{os.getpid()}"
    root.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root))
    try:
        with socket_directory(deep) as directory:
            assert directory.parent == root
    finally:
        root.rmdir()


@pytest.mark.parametrize("kind", ["open", "link"])
def test_directory_that_others_can_reach_is_refused(deep: Path, tmp_path: Path, kind: str) -> None:
    with socket_directory(deep) as directory:
        pass
    if kind == "open":
        directory.mkdir()
        directory.chmod(0o755)
    else:
        directory.symlink_to(tmp_path)
    try:
        with (
            pytest.raises(ControlFailed, match="does not belong to you alone"),
            socket_directory(deep),
        ):
            pass
    finally:
        if kind == "open":
            directory.rmdir()
        else:
            directory.unlink()
