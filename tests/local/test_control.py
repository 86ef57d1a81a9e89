"""The control socket: what it answers, and what it puts up with."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bananas_topology.errors import ControlFailed
from bananas_topology.local import control as control_module
from bananas_topology.local.client import request
from bananas_topology.local.control import MAX_REQUEST_BYTES, Command, ControlServer
from bananas_topology.supervisor.operation import Operation, Steps
from bananas_topology.supervisor.record import RunRecord
from bananas_topology.system.processes import start_time_token
from tests.waiting import wait_for


class Served:
    """A control server turned by a thread, as the supervisor's loop turns it."""

    def __init__(self, path: Path) -> None:
        self.record = RunRecord(
            pid=os.getpid(),
            start_time_token=start_time_token(os.getpid()) or "",
            name="shop",
            topology="topology.yaml",
            redis_url="redis://h",
            key_prefix="bananas",
            started_at="2026-01-01T00:00:00.000000Z",
            control=str(path),
        )
        self.received: list[Mapping[str, Any]] = []
        self.operations: list[Operation] = []
        self.watched = 0
        commands: dict[str, Command] = {
            "echo": self._echo,
            "work": self._work,
            "fail": self._fail,
            "round": self._round,
        }
        self.server = ControlServer(path, commands)

    def _echo(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.received.append(arguments)
        return {"text": arguments["text"]}

    def _work(self, arguments: Mapping[str, Any]) -> Operation:
        def steps() -> Steps:
            for number in range(arguments["steps"]):
                yield f"step {number}"
            1 / arguments.get("divisor", 1)
            if error := arguments.get("error"):
                raise ControlFailed(error)
            return "worked"

        self.operations.append(Operation("work", steps()))
        return self.operations[-1]

    def _round(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"number": int(arguments["number"])}

    def _fail(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        raise ControlFailed("cannot do that")

    def turn(self) -> None:
        poll = select.poll()
        for fd, events in self.server.interests().items():
            poll.register(fd, events)
        for fd, _ in poll.poll(10):
            self.server.on_ready(fd)
        for operation in self.operations:
            operation.advance()
        self.server.on_turn()
        self.watched = len(self.server.interests())


@contextmanager
def _serving(path: Path) -> Iterator[Served]:
    served = Served(path)
    is_over = threading.Event()

    def turn() -> None:
        while not is_over.is_set():
            served.turn()

    with served.server:
        thread = threading.Thread(target=turn)
        thread.start()
        try:
            yield served
        finally:
            is_over.set()
            thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with _serving(tmp_path / "c") as served:
        yield served


def _raw(served: Served, *chunks: bytes) -> dict[str, Any]:
    """Send bytes; return the last line of the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect(served.record.control)
        for chunk in chunks:
            connection.sendall(chunk)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        answer: dict[str, Any] = json.loads(received.splitlines()[-1]) if received else {}
        return answer


def test_request_is_answered(served: Served) -> None:
    assert request(served.record, "echo", text="é" * 10_000) == {"text": "é" * 10_000}
    assert served.received[0]["version"] == 1


def test_progress_is_shown_until_the_end(served: Served) -> None:
    shown: list[str] = []

    assert request(served.record, "work", shown.append, steps=5) == {"summary": "worked"}
    assert shown == sorted(shown)
    assert shown[0].startswith("step")


def test_failure_of_a_command_is_raised(served: Served) -> None:
    with pytest.raises(ControlFailed, match="cannot do that"):
        request(served.record, "fail")
    with pytest.raises(ControlFailed, match="broke"):
        request(served.record, "work", steps=2, error="broke")
    with pytest.raises(ControlFailed, match="unknown command nonsense"):
        request(served.record, "nonsense")


def test_request_of_a_client_that_has_given_up_is_not_carried_out(tmp_path: Path) -> None:
    served = Served(tmp_path / "c")
    line = b'{"version": 1, "command": "echo", "text": "x"}\n'
    with served.server, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
            for connection in (gone, waiting):
                connection.connect(served.record.control)
                connection.sendall(line)
            waiting.shutdown(socket.SHUT_WR)

        def has_answer() -> bool:
            served.turn()
            return bool(select.select([waiting], [], [], 0)[0])

        # The loop, which was suspended, turns again only now.
        wait_for(has_answer)

        assert json.loads(waiting.recv(4096))["result"] == {"text": "x"}
        assert len(served.received) == 1


def test_request_in_pieces_is_understood(served: Served) -> None:
    line = b'{"version": 1, "command": "echo", "text": "x"}\n'

    assert _raw(served, *(bytes([byte]) for byte in line))["result"] == {"text": "x"}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 10_000,
        b'{"version": 1}',
        b'{"version": 1, "command": "echo"}',
        b'{"version": 1, "command": ["echo"]}',
        b'{"version": 1, "command": "round", "number": 1e400}',
    ],
)
def test_invalid_request_is_refused(served: Served, line: bytes) -> None:
    assert "invalid request" in _raw(served, line + b"\n")["error"]
    assert request(served.record, "echo", text="x") == {"text": "x"}


def test_defect_in_a_change_ends_the_change_only(served: Served) -> None:
    with pytest.raises(ControlFailed, match="unexpected error: ZeroDivisionError"):
        request(served.record, "work", steps=1, divisor=0)
    assert request(served.record, "echo", text="x") == {"text": "x"}


def test_other_version_is_refused_with_advice(served: Served) -> None:
    answer = _raw(served, b'{"version": 2, "command": "echo", "text": "x"}\n')

    assert "use the release that started it" in answer["error"]


def test_overlong_request_ends_the_connection(served: Served) -> None:
    with pytest.raises((ConnectionError, AssertionError)):
        assert _raw(served, b"x" * (MAX_REQUEST_BYTES + 1))

    assert request(served.record, "echo", text="x") == {"text": "x"}


def test_client_that_goes_away_stops_nothing(served: Served) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(served.record.control)
        connection.sendall(b'{"version": 1, "command": "work", "steps": 50}\n')
        wait_for(lambda: served.operations)

    wait_for(lambda: served.operations[0].progress == "worked")
    wait_for(lambda: served.watched == 1)


def test_waiting_client_costs_no_turns(tmp_path: Path) -> None:
    served = Served(tmp_path / "c")
    with served.server, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(served.record.control)
        served.turn()
        wanted = served.server.interests()
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)

        assert len(wanted) == 2
        assert poll.poll(50) == []


def test_silent_clients_do_not_lock_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(control_module, "monotonic", lambda: now)
    monkeypatch.setattr(control_module, "MAX_CONNECTIONS", 2)
    served = Served(tmp_path / "c")
    with served.server, ExitStack() as stack:
        *_, last = connections = [
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(5)
        ]
        for each in connections:
            each.connect(served.record.control)
        last.sendall(b'{"version": 1, "command": "echo", "text": "x"}\n')

        def has_answer() -> bool:
            nonlocal now
            served.turn()
            now += control_module.REQUEST_TIMEOUT_S / 3
            return bool(select.select([last], [], [], 0)[0])

        wait_for(has_answer)

        assert json.loads(last.recv(4096))["result"] == {"text": "x"}


def test_socket_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    with _serving(tmp_path / "c"):
        assert (tmp_path / "c").stat().st_mode & 0o777 == 0o600

    assert not (tmp_path / "c").exists()


def test_unreachable_run_is_reported(tmp_path: Path) -> None:
    with _serving(tmp_path / "c") as served:
        pass

    with pytest.raises(
        ControlFailed, match=rf"cannot reach the running `up` \(process {os.getpid()}"
    ):
        request(served.record, "echo", text="x")


def test_run_that_does_not_answer_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bananas_topology.local.client.ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr("bananas_topology.local.client._CHECK_S", 0.1)
    served = Served(tmp_path / "c")
    with served.server, pytest.raises(ControlFailed, match=r"is process \d+ suspended"):
        request(served.record, "echo", text="x")
