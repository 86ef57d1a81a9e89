from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bananas_topology.system.processes import start_time_token
from bananas_topology.system.signals import DEBOUNCE_S
from tests.waiting import wait_for

HOST = Path(__file__).with_name("supervisor_host.py")

#: A child that behaves like a worker: finishes its work on SIGTERM, exits at once on SIGQUIT. It
#: creates the file `started-<pid>`, and `finished-<pid>` if it could finish.
WORKING = """
import os, signal, sys, time
def finish(*_):
    time.sleep(0.5)
    open(f"finished-{os.getpid()}", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
signal.signal(signal.SIGQUIT, lambda *_: os._exit(131))
open(f"started-{os.getpid()}", "w").close()
while True:
    print("working", flush=True)
    time.sleep(0.05)
"""


@contextmanager
def _supervisor(directory: Path, *children: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a supervisor in its own process; children that it leaves behind are killed."""
    argv = [sys.executable, str(HOST), str(directory), *children]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()
            for pid in _pids(directory, "started"):
                if start_time_token(pid) is not None:
                    os.kill(pid, signal.SIGKILL)


def _pids(directory: Path, what: str) -> list[int]:
    paths = sorted(directory.glob(f"{what}-*"), key=os.path.getmtime)
    return [int(path.name.partition("-")[2]) for path in paths]


def _wait_for_start(directory: Path, count: int) -> list[int]:
    wait_for(lambda: len(_pids(directory, "started")) >= count)
    return _pids(directory, "started")


def test_a_killed_child_is_restarted(tmp_path: Path) -> None:
    with _supervisor(tmp_path, f"a-0={WORKING}", f"a-1={WORKING}"):
        first, second = _wait_for_start(tmp_path, 2)

        os.kill(first, signal.SIGKILL)

        [*_, third] = _wait_for_start(tmp_path, 3)
        assert start_time_token(second) is not None
        assert start_time_token(third) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG of Linux")
def test_everything_exits_with_a_killed_supervisor(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with _supervisor(tmp_path, *[f"a-{index}={WORKING}" for index in range(4)]) as supervisor:
        children = _wait_for_start(tmp_path, 4)
        server = json.loads((tmp_path / "server" / "server.lock").read_text())["pid"]
        assert start_time_token(server) is not None

        supervisor.kill()

        wait_for(lambda: all(start_time_token(pid) is None for pid in (*children, server)))


def test_ctrl_c_lets_children_finish_their_work(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with _supervisor(tmp_path, f"a-0={WORKING}", f"b-0={WORKING}") as supervisor:
        children = _wait_for_start(tmp_path, 2)

        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=30)

        assert supervisor.returncode == 0
        assert sorted(_pids(tmp_path, "finished")) == sorted(children)


def test_ctrl_c_in_the_terminal_reaches_only_the_supervisor(tmp_path: Path) -> None:
    with _supervisor(tmp_path, f"a-0={WORKING}") as supervisor:
        [child] = _wait_for_start(tmp_path, 1)

        assert os.getsid(child) == os.getpgid(child) == child
        assert os.getsid(child) != os.getsid(supervisor.pid)


def test_a_second_ctrl_c_stops_immediately(tmp_path: Path) -> None:
    slow = WORKING.replace("time.sleep(0.5)", "open(f'asked-{os.getpid()}', 'w'); time.sleep(60)")
    with _supervisor(tmp_path, f"a-0={slow}") as supervisor:
        _wait_for_start(tmp_path, 1)
        supervisor.send_signal(signal.SIGINT)
        wait_for(lambda: _pids(tmp_path, "asked"))
        asked = time.monotonic()
        wait_for(lambda: time.monotonic() - asked > DEBOUNCE_S)

        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=30)

        assert supervisor.returncode == 0


def test_a_crashing_child_is_given_up_while_others_continue(tmp_path: Path) -> None:
    with _supervisor(tmp_path, "a-0=raise SystemExit(2)", f"b-0={WORKING}") as supervisor:
        [child] = _wait_for_start(tmp_path, 1)
        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=30)

        assert supervisor.returncode == 0
        assert _pids(tmp_path, "finished") == [child]


def test_the_supervisor_fails_when_every_child_is_given_up(tmp_path: Path) -> None:
    with _supervisor(tmp_path, "a-0=raise SystemExit(2)", "b-0=raise SystemExit(2)") as supervisor:
        supervisor.communicate(timeout=30)

        assert supervisor.returncode == 1


def test_a_closed_output_stops_the_supervisor_gracefully(tmp_path: Path) -> None:
    with _supervisor(tmp_path, f"a-0={WORKING}") as supervisor:
        children = _wait_for_start(tmp_path, 1)
        assert supervisor.stdout is not None

        supervisor.stdout.close()
        supervisor.wait(30)

        assert supervisor.returncode == 0
        assert _pids(tmp_path, "finished") == children


def test_an_output_that_is_never_read_loses_lines_but_no_work(tmp_path: Path) -> None:
    flooding = WORKING.replace("    time.sleep(0.05)\n", "    print('x' * 10000)\n")
    with _supervisor(tmp_path, f"a-0={flooding}") as supervisor:
        children = _wait_for_start(tmp_path, 1)

        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(30)

        assert supervisor.returncode == 0
        assert _pids(tmp_path, "finished") == children
