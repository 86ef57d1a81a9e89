from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from bananas_topology.api.process import listen
from bananas_topology.client import Client
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic
from tests.api.conftest import TOKEN
from tests.api.event_stream import following
from tests.jobs.servers import black_hole, free_port
from tests.waiting import wait_for


@contextmanager
def _api(port: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "bananas_topology.api"],
        env={**os.environ, "API_PORT": str(port), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_until_alive(process: subprocess.Popen[str], port: int) -> None:
    def responds() -> bool:
        assert process.poll() is None, process.communicate()
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/livez"):
            return True
        return False

    wait_for(responds, 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_exits_with_0(server_url: str, number: signal.Signals) -> None:
    port = free_port()
    with _api(port, REDIS_URL=server_url) as process:
        _wait_until_alive(process, port)

        process.send_signal(number)
        output, errors = process.communicate(timeout=30)

        assert process.returncode == 0, errors
        assert "loopback only" in output


def test_listens_on_all_interfaces_only_with_a_token(server_url: str) -> None:
    port = free_port()
    with _api(port, REDIS_URL=server_url, API_TOKEN=TOKEN) as process:
        _wait_until_alive(process, port)

        process.terminate()
        output, _ = process.communicate(timeout=30)

        assert '"host": "0.0.0.0"' in output
        assert TOKEN not in output


def test_taken_port_is_reported_on_one_line(server_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with _api(port, REDIS_URL=server_url) as process:
            _, errors = process.communicate(timeout=30)

            assert process.returncode == 1
            [line] = errors.splitlines()
            assert line == (
                f"error: API_PORT is {port}: cannot listen on it: Address already in use; "
                "set another port, or stop the process that uses it"
            )


def test_equal_tokens_in_files_are_refused(server_url: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    file = {"API_TOKEN_FILE": str(tmp_path / "token")}
    for read_token in ({"API_READ_TOKEN": TOKEN}, {"API_READ_TOKEN_FILE": file["API_TOKEN_FILE"]}):
        with _api(free_port(), REDIS_URL=server_url, **file, **read_token) as process:
            _, errors = process.communicate(timeout=30)

            assert process.returncode == 2
            assert errors == (
                "error: API_READ_TOKEN is the same as API_TOKEN: expected another token\n"
            )


def test_connections_do_not_delay_the_second_part_of_a_response() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_all_invalid_settings_are_reported(server_url: str) -> None:
    with _api(0, REDIS_URL=server_url, API_TOKEN="short", LOG_LEVEL="loud") as process:
        _, errors = process.communicate(timeout=30)

        assert process.returncode == 2
        assert 'API_PORT is "0": expected an integer from 1 to 65535' in errors
        assert "API_TOKEN is invalid (value hidden): expected at least 16" in errors
        assert "LOG_LEVEL" in errors
        assert "short" not in errors


def test_missing_package_is_reported_with_the_install_command() -> None:
    code = (
        "import runpy, sys\n"
        "sys.modules['uvicorn'] = None\n"
        "runpy.run_module('bananas_topology.api', run_name='__main__')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )

    assert done.returncode == 2
    expected = (
        "error: the api requires the module uvicorn; run pip install 'bananas-topology[api]'\n"
    )
    assert done.stderr == expected


def test_configured_origins_require_a_token(server_url: str) -> None:
    port, origin = free_port(), "https://ops.example.com"
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/jobs", None, asked, method="OPTIONS")
    variables = {"REDIS_URL": server_url, "API_CORS_ORIGINS": origin}
    with _api(port, **variables, API_TOKEN=TOKEN) as process:
        _wait_until_alive(process, port)
        with urllib.request.urlopen(request) as response:
            assert response.headers["Access-Control-Allow-Origin"] == origin
    with _api(port, **variables) as process:
        _wait_until_alive(process, port)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as refused:
            assert refused.code == 403
        process.terminate()
        output, _ = process.communicate(timeout=30)

    assert "CORS disabled: API_CORS_ORIGINS requires API_TOKEN" in output


@pytest.mark.parametrize("accepts", [True, False], ids=["no reply", "no connection"])
def test_requests_are_answered_within_seconds_if_redis_does_not_reply(accepts: bool) -> None:
    port = free_port()
    with (
        black_hole(accepts=accepts) as silent,
        _api(port, REDIS_URL=f"redis://localhost:{silent}") as process,
    ):
        _wait_until_alive(process, port)
        for request in (
            urllib.request.Request(f"http://127.0.0.1:{port}/jobs", b'{"name": "add"}'),
            f"http://127.0.0.1:{port}/jobs/1",
            f"http://127.0.0.1:{port}/readyz",
            f"http://127.0.0.1:{port}/health",
        ):
            started = monotonic()
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request)
            with caught.value as response:
                assert (response.code, monotonic() - started < 10) == (503, True)


def test_waiting_requests_are_answered_when_the_api_stops(
    server_url: str, prefix: str, producer: Client
) -> None:
    port = free_port()
    job_id = producer.enqueue("add")
    with _api(port, REDIS_URL=server_url, REDIS_KEY_PREFIX=prefix) as process:
        _wait_until_alive(process, port)
        waiting = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(5)]
        for connection in waiting:
            connection.request("GET", f"/jobs/{job_id}?wait=50s")
        # Answered after the others have been received.
        urllib.request.urlopen(f"http://127.0.0.1:{port}/jobs/{job_id}?wait=200ms").close()

        process.terminate()
        statuses = []
        for connection in waiting:
            with closing(connection):
                statuses.append(json.loads(connection.getresponse().read())["status"])
        output, errors = process.communicate(timeout=30)

    # They would get no answer once the grace period is over.
    assert statuses == ["pending"] * 5
    assert (process.returncode, errors) == (0, "")
    assert output.count("api stopping") == 1


def test_streams_end_when_the_api_stops(server_url: str, prefix: str) -> None:
    port = free_port()
    with _api(port, REDIS_URL=server_url, REDIS_KEY_PREFIX=prefix) as process:
        _wait_until_alive(process, port)
        with ExitStack() as streams:
            followers = [streams.enter_context(following(port)) for _ in range(20)]
            for each in followers:
                each.next("counters")

            process.terminate()
            for each in followers:
                while each.read() is not None:
                    pass
        output, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    assert '"level": "error"' not in output  # as when the grace period is over


def test_a_client_that_reads_no_events_does_not_delay_the_stop(
    server_url: str, prefix: str, client: redis.Redis, keys: Keys
) -> None:
    port, broker = free_port(), Broker(client, keys)
    with _api(port, REDIS_URL=server_url, REDIS_KEY_PREFIX=prefix) as process:
        _wait_until_alive(process, port)
        with following(port, small=True) as stuck, following(port) as other:
            stuck.next("counters")
            other.next("counters")
            broker.publish_jobs([json.dumps({"id": "x" * 200_000}).encode()] * 100)
            other.next("job")

            process.terminate()
            output, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    assert '"level": "error"' not in output  # as when the grace period is over


def test_a_client_that_reads_no_response_is_no_error_when_the_api_stops(
    server_url: str, prefix: str
) -> None:
    port = free_port()
    with Client(server_url, key_prefix=prefix) as producer:
        job_id = producer.enqueue("add", "x" * 10_000_000)
    request = f"GET /jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with _api(port, REDIS_URL=server_url, REDIS_KEY_PREFIX=prefix) as process:
        _wait_until_alive(process, port)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as stuck:
            # The second response has to wait until the first one is read.
            stuck.sendall(2 * request)
            wait_for(lambda: stuck.recv(1, socket.MSG_PEEK))

            process.terminate()
            output, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    assert '"level": "error"' not in output
