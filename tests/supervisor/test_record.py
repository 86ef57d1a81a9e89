from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from bananas_topology.errors import ControlFailed
from bananas_topology.supervisor.directories import state_directory
from bananas_topology.supervisor.record import (
    ExclusiveLock,
    RunRecord,
    find,
    write,
)
from bananas_topology.system.processes import start_time_token


def _record(name: str = "shop", started_at: str = "2026-01-01T00:00:00.000000Z") -> RunRecord:
    return RunRecord(
        pid=os.getpid(),
        start_time_token=start_time_token(os.getpid()) or "",
        name=name,
        topology="topology.yaml",
        redis_url="redis://127.0.0.1:6379",
        key_prefix="bananas",
        started_at=started_at,
    )


def _state(directory: Path, name: str = "shop") -> Path:
    return state_directory(directory, name, f"{name}.yaml")


def test_running_up_is_found_in_its_directory(tmp_path: Path) -> None:
    write(_state(tmp_path), _record())

    assert find(tmp_path) == find(tmp_path, "shop") == _record()


def test_nothing_is_found_when_nothing_runs(tmp_path: Path) -> None:
    _state(tmp_path)

    assert find(tmp_path) is None
    assert find(tmp_path / "no-such-directory") is None


def test_record_of_an_exited_process_is_ignored(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    write(_state(tmp_path), replace(_record(), pid=gone.pid))

    assert find(tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times are read from /proc")
def test_record_with_a_reused_process_id_is_ignored(tmp_path: Path) -> None:
    write(_state(tmp_path), replace(_record(), start_time_token="1"))

    assert find(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1}', "\0"])
def test_unreadable_record_is_ignored(tmp_path: Path, content: str) -> None:
    (_state(tmp_path) / "up.json").write_text(content)

    assert find(tmp_path) is None


def test_latest_of_several_records_is_found(tmp_path: Path) -> None:
    newer = _record("b", started_at="2026-01-02T00:00:00.000000Z")
    for record in (_record("a"), newer, _record("c")):
        write(_state(tmp_path, record.name), record)

    assert find(tmp_path) == newer


def test_record_is_private_and_git_ignored(tmp_path: Path) -> None:
    directory = _state(tmp_path)

    write(directory, _record())

    assert (directory / "up.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".bananas").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".bananas" / ".gitignore").read_text() == "*\n"


def test_second_up_of_a_topology_is_refused_with_the_running_process(tmp_path: Path) -> None:
    directory = _state(tmp_path)

    with ExclusiveLock(directory, "shop"):
        write(directory, _record())
        with (
            pytest.raises(ControlFailed, match=rf'"shop" is already running here.*{os.getpid()}'),
            ExclusiveLock(directory, "shop"),
        ):
            pass

        assert find(tmp_path) == _record()


def test_record_is_removed_when_up_ends(tmp_path: Path) -> None:
    directory = _state(tmp_path)
    with ExclusiveLock(directory, "shop"):
        write(directory, _record())

    with ExclusiveLock(directory, "shop"):
        assert find(tmp_path) is None


def test_unwritable_state_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".bananas").write_text("a file in the way")

    with pytest.raises(ControlFailed, match=r"cannot create .*\.bananas"):
        _state(tmp_path)


@pytest.mark.parametrize("name", [".bananas", ".bananas/shop"])
def test_symbolic_link_in_place_of_the_state_directory_is_not_followed(
    tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(elsewhere)

    with pytest.raises(ControlFailed, match="it is a symbolic link"):
        _state(tmp_path)

    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_record_behind_a_symbolic_link_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    directory = _state(tmp_path / "real")
    write(directory, _record())
    for name in ("root", "topology", "file"):
        (tmp_path / name).mkdir()
    (tmp_path / "root" / ".bananas").symlink_to(directory.parent)
    (tmp_path / "topology" / ".bananas").mkdir()
    (tmp_path / "topology" / ".bananas" / "shop").symlink_to(directory)
    (_state(tmp_path / "file") / "up.json").symlink_to(directory / "up.json")

    assert find(tmp_path / "real") is not None
    assert [find(tmp_path / name) for name in ("root", "topology", "file")] == [None] * 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_record_and_state_directory_of_another_user_are_not_used() -> None:
    # Readable for everybody, which directories of pytest are not.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(_state(directory), _record())
        for path in (directory, *directory.rglob("*")):
            os.chown(path, 65533, 65533)
            path.chmod(0o755)
        os.seteuid(65534)
        try:
            assert find(directory) is None
            with pytest.raises(ControlFailed, match="it belongs to another user"):
                _state(directory)
        finally:
            os.seteuid(0)
        assert find(directory) == _record()
