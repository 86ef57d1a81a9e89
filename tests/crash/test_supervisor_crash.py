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

#: A child that does as a worker does: finishes what it runs on SIGTERM, leaves at once on SIGQUIT.
#: Its process id becomes a file `started-<id>`, and `finished-<id>` when it was let finish.
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
    """A supervisor in a process of its own; what it leaves behind is killed at the end."""
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


def _wait_for_start(directory: Path, count: int, within_s: float = 10.0) -> list[int]:
    wait_for(lambda: len(_pids(directory, "started")) >= count, within_s)
    return _pids(directory, "started")


def test_a_child_killed_with_9_runs_again_within_2_seconds(tmp_path: Path) -> None:
    with _supervisor(tmp_path, f"a-0={WORKING}", f"a-1={WORKING}"):
        first, second = _wait_for_start(tmp_path, 2)

        os.kill(first, signal.SIGKILL)

        [*_, third] = _wait_for_start(tmp_path, 3, within_s=2.0)
        assert start_time_token(second) is not None
        assert start_time_token(third) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell a child of this")
def test_nothing_outlives_a_supervisor_killed_with_9_by_5_seconds(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with _supervisor(tmp_path, *[f"a-{index}={WORKING}" for index in range(4)]) as supervisor:
        children = _wait_for_start(tmp_path, 4)
        server = json.loads((tmp_path / "server" / "server.lock").read_text())["pid"]
        assert start_time_token(server) is not None

        supervisor.kill()

        wait_for(lambda: all(start_time_token(pid) is None for pid in (*children, server)), 5.0)


def test_ctrl_c_lets_children_finish_what_they_do(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with _supervisor(tmp_path, f"a-0={WORKING}", f"b-0={WORKING}") as supervisor:
        children = _wait_for_start(tmp_path, 2)

        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=10)

        assert supervisor.returncode == 0
        assert sorted(_pids(tmp_path, "finished")) == sorted(children)


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_only(tmp_path: Path) -> None:
    with _supervisor(tmp_path, f"a-0={WORKING}") as supervisor:
        [child] = _wait_for_start(tmp_path, 1)

        assert os.getsid(child) == os.getpgid(child) == child
        assert os.getsid(child) != os.getsid(supervisor.pid)


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    slow = WORKING.replace("time.sleep(0.5)", "open(f'asked-{os.getpid()}', 'w'); time.sleep(60)")
    with _supervisor(tmp_path, f"a-0={slow}") as supervisor:
        _wait_for_start(tmp_path, 1)
        supervisor.send_signal(signal.SIGINT)
        wait_for(lambda: _pids(tmp_path, "asked"), 5.0)
        asked = time.monotonic()
        wait_for(lambda: time.monotonic() - asked > DEBOUNCE_S, 5.0)

        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=5)

        assert supervisor.returncode == 0


def test_a_crash_loop_is_given_up_while_the_others_go_on(tmp_path: Path) -> None:
    with _supervisor(tmp_path, "a-0=raise SystemExit(2)", f"b-0={WORKING}") as supervisor:
        [child] = _wait_for_start(tmp_path, 1)
        supervisor.send_signal(signal.SIGINT)
        supervisor.communicate(timeout=10)

        assert supervisor.returncode == 0
        assert _pids(tmp_path, "finished") == [child]


def test_when_every_child_is_given_up_it_fails(tmp_path: Path) -> None:
    with _supervisor(tmp_path, "a-0=raise SystemExit(2)", "b-0=raise SystemExit(2)") as supervisor:
        supervisor.communicate(timeout=10)

        assert supervisor.returncode == 1


def test_a_reader_that_goes_away_ends_it_gracefully(tmp_path: Path) -> None:
    with _supervisor(tmp_path, f"a-0={WORKING}") as supervisor:
        children = _wait_for_start(tmp_path, 1)
        assert supervisor.stdout is not None

        supervisor.stdout.close()
        supervisor.wait(10)

        assert supervisor.returncode == 0
        assert _pids(tmp_path, "finished") == children


def test_a_reader_that_never_reads_costs_lines_but_not_work(tmp_path: Path) -> None:
    flooding = WORKING.replace("    time.sleep(0.05)\n", "    print('x' * 10000)\n")
    with _supervisor(tmp_path, f"a-0={flooding}") as supervisor:
        children = _wait_for_start(tmp_path, 1)

        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(10)

        assert supervisor.returncode == 0
        assert _pids(tmp_path, "finished") == children
