"""The script that starts the managed Redis in a container, run with the bundled server."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

import pytest
import redis

from bananas_topology.jobs.bundled_server import find_binary
from bananas_topology.render.redis_server import (
    DATA_DIRECTORY,
    PASSWORD_PATTERN,
    PORT,
    start_script,
)
from bananas_topology.system.clock import monotonic
from tests.jobs.servers import free_port

#: Seconds until the server must answer.
_DEADLINE_S = 30.0


def _start(folder: Path, password: str, port: int) -> subprocess.Popen[str]:
    (folder / "redis-server").symlink_to(find_binary())
    (folder / "password").write_text(f"{password}\n")
    script = start_script(4 * 2**30, f"{folder}/password").replace(DATA_DIRECTORY, str(folder))
    return subprocess.Popen(
        ["sh", "-ec", script.replace(f"--port {PORT}", f"--port {port}")],
        env={"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _connected(port: int, password: str, process: subprocess.Popen[str]) -> redis.Redis:
    client = redis.Redis(port=port, password=password, protocol=2)
    deadline = monotonic() + _DEADLINE_S
    while monotonic() < deadline:
        with contextlib.suppress(redis.ConnectionError):
            client.ping()
            return client
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    raise AssertionError("the server does not answer")


def test_the_server_is_durable_bounded_protected_and_never_evicts(tmp_path: Path) -> None:
    port = free_port()
    process = _start(tmp_path, "a-long_Password1", port)
    try:
        with _connected(port, "a-long_Password1", process) as client:
            settings = client.config_get("*")
            client.set("kept", "1")
        with redis.Redis(port=port, protocol=2) as anonymous, pytest.raises(redis.RedisError):
            anonymous.ping()
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    finally:
        process.terminate()
        process.communicate(timeout=_DEADLINE_S)

    assert settings["appendonly"] == "yes"
    assert settings["maxmemory"] == str(3 * 2**30)
    assert settings["maxmemory-policy"] == "noeviction"
    # The shell has been replaced by the server, so signals reach it; the password is not visible.
    assert b"redis-server" in arguments
    assert b"Password1" not in arguments
    assert process.returncode == 0
    assert list(tmp_path.glob("appendonlydir/*.aof"))


@pytest.mark.parametrize("password", ["p/w", "two words", "quote'", "line\nbreak", ""])
def test_a_password_that_would_break_a_url_is_rejected(tmp_path: Path, password: str) -> None:
    process = _start(tmp_path, password, PORT)

    _, stderr = process.communicate(timeout=_DEADLINE_S)

    assert process.returncode == 2
    assert "REDIS_PASSWORD may contain only letters" in stderr
    assert not re.fullmatch(PASSWORD_PATTERN, password)
