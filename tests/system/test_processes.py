from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bananas_topology.system.processes import start_time_token
from tests.waiting import wait_for

proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")


def test_a_running_process_keeps_its_token() -> None:
    assert start_time_token(os.getpid()) == start_time_token(os.getpid()) is not None


def test_an_exited_process_has_no_token() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass

    assert start_time_token(gone.pid) is None


@proc
def test_a_zombie_has_no_token() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as zombie:
        wait_for(lambda: start_time_token(zombie.pid) is None)


@proc
def test_processes_have_different_tokens() -> None:
    assert start_time_token(1) != start_time_token(os.getpid())
