from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bananas_topology.errors import ControlFailed
from bananas_topology.local.logs import Filter, Follower, Line, choose_children, read
from bananas_topology.supervisor import log_files as log_files_module
from bananas_topology.supervisor.log_files import LogFile, log_path
from bananas_topology.system.clock import format_timestamp

START = datetime(2026, 1, 1, tzinfo=UTC)


def _keep(directory: Path, name: str, lines: dict[int, str]) -> None:
    """Write lines that came so many seconds after START."""
    text = "".join(
        f"{format_timestamp(START + timedelta(seconds=at))} {line}\n" for at, line in lines.items()
    )
    log_path(directory, name).write_text(text)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    _keep(
        tmp_path,
        "a-0",
        {
            1: "12:00:01 info  worker ready",
            3: "12:00:03 error job failed",
            4: "Traceback (most recent call last):",
            6: "12:00:06 debug done",
        },
    )
    _keep(tmp_path, "a-1", {2: '{"level": "warn", "msg": "slow"}', 5: "printed"})
    _keep(tmp_path, "b-c-0", {7: "error: module jobs cannot be imported"})
    _keep(tmp_path, "supervisor", {0: "\x1b[33mwarning: server too old\x1b[0m"})
    return tmp_path


def _read(directory: Path, tail: int | None = None, **wanted: object) -> list[str]:
    children = choose_children(directory, ())
    filter = Filter(**{"children": children, **wanted})  # type: ignore[arg-type]  # any field
    return [line.text for line in read(directory, filter, tail)]


def test_lines_of_all_children_come_in_the_order_of_their_arrival(kept: Path) -> None:
    lines = list(read(kept, Filter(choose_children(kept, ())), None))

    assert [line.child for line in lines] == [
        "supervisor", "a-0", "a-1", "a-0", "a-0", "a-1", "a-0", "b-c-0",
    ]  # fmt: skip
    assert lines[1] == Line("2026-01-01T00:00:01.000000Z", "a-0", "12:00:01 info  worker ready")


def test_children_are_chosen_by_pool_or_name(kept: Path) -> None:
    assert choose_children(kept, ["a"]) == ["a-0", "a-1"]
    assert choose_children(kept, ["a-1", "supervisor"]) == ["a-1", "supervisor"]
    assert choose_children(kept, ["b-c"]) == ["b-c-0"]
    with pytest.raises(ControlFailed, match='no logs of "b": expected one of a, b-c, supervisor'):
        choose_children(kept, ["b"])


def test_only_lines_since_a_moment(kept: Path) -> None:
    assert _read(kept, since=START + timedelta(seconds=5)) == [
        "printed", "12:00:06 debug done", "error: module jobs cannot be imported",
    ]  # fmt: skip


@pytest.mark.parametrize("tail", [0, 1, 3, 100])
def test_only_the_latest_lines(kept: Path, tail: int) -> None:
    assert _read(kept, tail) == (_read(kept)[-tail:] if tail else [])


def test_only_lines_of_a_level_with_what_belongs_to_them(kept: Path) -> None:
    assert _read(kept, level="error") == [
        "12:00:03 error job failed",
        "Traceback (most recent call last):",
        "error: module jobs cannot be imported",
    ]
    assert _read(kept, level="warn")[:2] == [
        "warning: server too old", '{"level": "warn", "msg": "slow"}',
    ]  # fmt: skip
    assert _read(kept, level="debug") == _read(kept)


def test_latest_lines_are_found_over_rotated_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files_module, "MAX_FILE_BYTES", 200)
    file = LogFile(log_path(tmp_path, "a-0"))
    for number in range(12):
        file.write([str(number).encode()])
    file.close()

    assert _read(tmp_path, 7) == [str(number) for number in range(5, 12)]


def test_follower_yields_everything_once_over_rotations_and_new_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files_module, "MAX_FILE_BYTES", 5000)
    first, second = LogFile(log_path(tmp_path, "a-0")), LogFile(log_path(tmp_path, "a-1"))
    first.write([b"before"])
    wanted = Filter(choose_children(tmp_path, ()))
    lines: list[str] = []
    is_over = threading.Event()
    with Follower(tmp_path, (), wanted) as follower:
        first.write([b"between"])
        assert [line.text for line in read(tmp_path, wanted, None, follower)] == ["before"]
        thread = threading.Thread(
            target=lambda: lines.extend(line.text for line in follower.lines(is_over.is_set))
        )
        thread.start()
        for number in range(400):
            (first if number % 4 else second).write([f"line {number}".encode()])
        is_over.set()
        thread.join(20)

    assert lines[0] == "between"
    assert sorted(lines[1:]) == sorted(f"line {number}" for number in range(400))
    first.close()
    second.close()


@pytest.mark.parametrize("number", range(2))
def test_follower_misses_no_file_when_files_are_rotated_while_it_looks_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(log_files_module, "MAX_FILE_BYTES", 1)  # a file for each line
    file = LogFile(log_path(tmp_path, "a-0"))
    file.write([b"one"])
    backup = log_files_module.backup
    waiting = [b"three"]

    def rotate_before(path: Path, at: int) -> Path:
        if at == number and waiting:
            file.write([waiting.pop()])
        return backup(path, at)

    with Follower(tmp_path, (), Filter(["a-0"])) as follower:
        file.write([b"two"])
        monkeypatch.setattr(log_files_module, "backup", rotate_before)
        lines = [line.text for _ in range(2) for line in follower.lines(lambda: True)]

    assert (lines, waiting) == (["two", "three"], [])
    file.close()
