"""Passwords from files: read again for each connection, by real processes and a real server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from bananas_topology.client import Client
from bananas_topology.errors import BananasTopologyError, RedisAccessDenied, RedisUnsuitable
from bananas_topology.jobs.access import RestartCheck, ServerUrl, without_login
from bananas_topology.jobs.connection import connect
from tests.jobs.servers import ask, free_port, running
from tests.waiting import wait_for

#: Runs a module with less patience than a minute.
IMPATIENT = """
import runpy, sys
from bananas_topology.jobs import access
access.PATIENCE_S = 1.0
if sys.argv[1] == "bananas_topology.api":
    from bananas_topology.api import process
    process.ACCESS_CHECK_S = 0.2
runpy.run_module(sys.argv[1], run_name="__main__")
"""


class Server:
    """A server with a password that can be changed."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.password = password
        self.url = f"redis://localhost:{port}/0"

    def change(self, password: str) -> None:
        """Change the password and close all connections, as a restart does."""
        with self._admin() as admin:
            admin.config_set("requirepass", password)
        self.password = password
        with self._admin() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)

    def _admin(self) -> Any:
        client = ask(self.port)
        client.connection_pool.connection_kwargs["password"] = self.password
        return client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "server", "--requirepass", "first") as port:
        wait_for(lambda: _answers(port), 20)
        yield Server(port, "first")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def secret(path: Path, text: str) -> str:
    """Replace a file as a kubelet does: the new one takes the old one's name."""
    new = path.with_suffix(".new")
    new.write_text(f"{text}\n")
    new.replace(path)
    return str(path)


@contextmanager
def process(module: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    kept = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    with subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, module],
        env={**kept, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


WORKER = {"WORKER_HANDLERS": "tests.worker.sample_jobs", "WORKER_ID": "w0"}


def test_a_client_authenticates_with_what_the_files_contain_now(
    server: Server, tmp_path: Path
) -> None:
    password = secret(tmp_path / "password", "first")
    url = secret(tmp_path / "url", server.url.replace("://", "://:first@"))
    clients = [
        Client(ServerUrl(server.url, password_file=password)),
        Client(ServerUrl("", url_file=url)),
    ]
    for client in clients:
        client.enqueue("echo")

    server.change("next/@:")
    secret(tmp_path / "password", "next/@:")
    secret(tmp_path / "url", server.url.replace("://", "://:next%2F%40%3A@"))

    for client in clients:
        wait_for(lambda client=client: _enqueues(client), 10)  # type: ignore[misc]  # mypy infers no lambda
        client.close()


def _enqueues(client: Client) -> bool:
    try:
        client.enqueue("echo")
    except BananasTopologyError:
        return False
    return True


def test_a_worker_with_files_survives_a_new_password(server: Server, tmp_path: Path) -> None:
    password = secret(tmp_path / "password", "first")
    with (
        process(
            "bananas_topology.worker",
            REDIS_URL=server.url,
            REDIS_PASSWORD_FILE=password,
            **WORKER,
        ) as worker,
        Client(ServerUrl(server.url, password_file=password)) as producer,
    ):
        producer.wait(producer.enqueue("echo", 1), timeout=20)
        server.change("second")
        secret(tmp_path / "password", "second")

        wait_for(lambda: _enqueues(producer), 10)
        assert producer.wait(producer.enqueue("echo", 2), timeout=20) == 2
        assert worker.poll() is None


def test_a_worker_without_files_exits_to_be_restarted(server: Server) -> None:
    url = server.url.replace("://", "://:first@")
    with (
        process("bananas_topology.worker", REDIS_URL=url, **WORKER) as worker,
        Client(url) as producer,
    ):
        producer.wait(producer.enqueue("echo", 1), timeout=20)
        server.change("second")

        assert worker.wait(60) == 77


def test_a_worker_whose_file_names_another_server_exits_once_its_own_is_gone(
    server: Server, tmp_path: Path
) -> None:
    with running(tmp_path / "other") as port:
        url = secret(tmp_path / "url", f"redis://localhost:{port}/0")
        with (
            process("bananas_topology.worker", REDIS_URL_FILE=url, **WORKER) as worker,
            Client(f"redis://localhost:{port}/0") as producer,
        ):
            wait_for(lambda: _enqueues(producer), 20)
            producer.wait(producer.enqueue("echo", 1), timeout=20)
            secret(tmp_path / "url", server.url)
            # Until the worker has read that its outcome is stored, which it would wait to repeat.
            wait_for(lambda: any("b" in each["flags"] for each in ask(port).client_list()), 20)
            ask(port).shutdown(nosave=True)

            assert worker.wait(60) == 77


def test_an_api_without_files_exits_to_be_restarted_and_one_with_files_recovers(
    server: Server, tmp_path: Path
) -> None:
    password = secret(tmp_path / "password", "first")
    stale, fresh = free_port(), free_port()
    with (
        process(
            "bananas_topology.api",
            REDIS_URL=server.url.replace("://", "://:first@"),
            API_PORT=str(stale),
        ) as one,
        process(
            "bananas_topology.api",
            REDIS_URL=server.url,
            REDIS_PASSWORD_FILE=password,
            API_PORT=str(fresh),
        ) as other,
    ):
        wait_for(lambda: _is_ready(stale) and _is_ready(fresh), 60)
        server.change("second")
        secret(tmp_path / "password", "second")

        assert one.wait(60) == 77
        wait_for(lambda: _is_ready(fresh), 20)
        assert other.poll() is None


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("url", "file", "expected"),
    [
        ("redis://h", "s", ("s",)),
        ("redis://app@h", "s", ("app", "s")),
        ("redis://app:old@h", "s", ("app", "s")),
        ("redis://app:o%2Fd@h", "", ("app", "o/d")),
        ("rediss://h?username=app&password=x", "", ("app", "x")),
        ("redis+sentinel://app:x@a:1,b:2/main", "", ("app", "x")),
        ("unix://app:x@/run/redis.sock", "", ("app", "x")),
        ("redis://app@h", "", ()),
    ],
)
def test_user_and_password_are_found_wherever_they_are(
    tmp_path: Path, url: str, file: str, expected: tuple[str, ...]
) -> None:
    path = secret(tmp_path / "password", file) if file else ""

    assert ServerUrl(url, password_file=path).login() == expected
    assert "app" not in without_login(url)


def test_every_form_of_url_takes_its_password_from_a_file(tmp_path: Path) -> None:
    path = secret(tmp_path / "password", "s3cret")

    for url in (
        "redis://app:old@h/1",
        "rediss://h",
        "redis+sentinel://a:1,b:2/main",
        "unix:///run/x.sock",
    ):
        client = connect(ServerUrl(url, password_file=path), key_prefix="{b}")
        options = client.connection_pool.connection_kwargs
        assert options["credential_provider"].get_credentials()[-1] == "s3cret"
        client.connection_pool.connection_class(**options)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")

    for source in (
        ServerUrl("", url_file=str(tmp_path / "nothing")),
        ServerUrl("redis://h", password_file=str(tmp_path / "nothing")),
    ):
        with pytest.raises(RedisUnsuitable, match=r"cannot read .*nothing: No such file"):
            connect(source)
    with pytest.raises(RedisUnsuitable, match="empty is empty"):
        connect(ServerUrl("", url_file=str(tmp_path / "empty")))


def test_a_url_for_other_programs_contains_the_password_of_the_file(tmp_path: Path) -> None:
    path = secret(tmp_path / "password", "a/b@c")

    for url, expected in (
        ("redis://app:old@h:1/2?db=3", "redis://app:a%2Fb%40c@h:1/2?db=3"),
        ("redis://h?username=a%40b&password=old", "redis://a%40b:a%2Fb%40c@h"),
        ("unix:///run/x.sock?username=app&db=1", "unix://app:a%2Fb%40c@/run/x.sock?db=1"),
        ("rediss://h", "rediss://:a%2Fb%40c@h"),
    ):
        assert ServerUrl(url, password_file=path).resolve() == expected


def test_a_refusal_is_waited_out_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("bananas_topology.jobs.access.monotonic", lambda: now)
    check = RestartCheck(ServerUrl("redis://h"))
    denied = RedisAccessDenied("no")

    assert check.reason(denied) is None
    now = 50.0
    assert check.reason(denied) is None
    assert check.reason(None) is None
    now = 100.0
    assert check.reason(denied) is None
    now = 161.0
    assert "only by a restart" in (check.reason(denied) or "")
