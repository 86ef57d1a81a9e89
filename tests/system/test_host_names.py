from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable

import pytest

from bananas_topology.system import host_names

HOLD = """\
import sys
from bananas_topology.system import host_names
print(getattr(host_names, sys.argv[1])(sys.argv[2]), flush=True)
sys.stdin.read()
"""

HOLD_AND_FORK = """\
import os, sys
from bananas_topology.system import host_names
print(getattr(host_names, sys.argv[1])(sys.argv[2]), flush=True)
if os.fork() == 0:
    print("forked", flush=True)
    sys.stdin.read()
os._exit(0)
"""


@pytest.fixture(params=[host_names._bind, host_names._lock], ids=["socket", "file"])
def hold(request: pytest.FixtureRequest) -> Callable[[str], bool]:
    hold: Callable[[str], bool] = request.param
    return hold


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def test_a_name_is_held_until_the_process_is_killed(hold: Callable[[str], bool], name: str) -> None:
    argv = [sys.executable, "-c", HOLD, hold.__name__, name]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not hold(name)
        other.kill()

    assert hold(name)


def test_different_names_do_not_exclude_each_other(name: str) -> None:
    assert host_names.hold_name(name)
    assert host_names.hold_name(f"{name}-2")
    assert not host_names.hold_name(name)


def test_a_forked_child_does_not_hold_its_parents_names(
    hold: Callable[[str], bool], name: str
) -> None:
    """A child forked by a handler may outlive its worker."""
    argv = [sys.executable, "-c", HOLD_AND_FORK, hold.__name__, name]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert other.stdout.readline() == "forked\n"
        assert other.wait(20) == 0

        assert hold(name)
