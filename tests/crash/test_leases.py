"""Workers that live but cannot renew their leases: no job is blamed for it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest

from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from tests.crash.fleet import Fleet, kill_server, server_pid
from tests.crash.network import Condition, Network
from tests.waiting import wait_for

#: Long enough that no worker loses it while tests compete for the processor.
LEASE_S = 4.0

#: Seconds that an outage takes, so that every lease expires.
OUTAGE_S = 5.0

WORKERS = ("a", "b", "c", "d")


def _wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= until, seconds + 10)


@contextlib.contextmanager
def _killed(server: BundledServer, fleet: Fleet) -> Iterator[None]:
    kill_server(server.url, server_pid(fleet.directory))
    yield
    wait_for(lambda: _is_restarted(server))


def _is_restarted(server: BundledServer) -> bool:
    server.restart_if_dead()
    with contextlib.suppress(Exception), connect(server.url) as client:
        return bool(client.ping())
    return False  # not listening yet, or still loading its file


@contextlib.contextmanager
def _stalled(server: BundledServer, fleet: Fleet) -> Iterator[None]:
    pid = server_pid(fleet.directory)
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _out_of_memory(server: BundledServer, fleet: Fleet) -> Iterator[None]:
    fleet.redis.config_set("maxmemory", "1mb")
    yield
    fleet.redis.config_set("maxmemory", "0")


Outage = Callable[[BundledServer, Fleet], AbstractContextManager[None]]


@pytest.mark.parametrize("outage", [_killed, _stalled, _out_of_memory])
def test_after_an_outage_longer_than_the_lease_no_job_runs_twice(
    durable_fleet: tuple[Fleet, BundledServer], outage: Outage
) -> None:
    fleet, server = durable_fleet
    variables = {"WORKER_LEASE": f"{LEASE_S:g}s", "WORKER_CONCURRENCY": "4"}
    with ExitStack() as stack:
        for name in WORKERS[:3]:
            stack.enter_context(fleet.worker(name, **variables))
        for nap_s in (OUTAGE_S / 2, OUTAGE_S + LEASE_S):
            fleet.enqueue("nap", nap_s, 6)
        wait_for(lambda: len(fleet.runs()) == 12, 20, "for all jobs to start")

        with outage(server, fleet):
            _wait(OUTAGE_S)

        fleet.wait_until_done(30)
        assert set(fleet.runs().values()) == {1}
        for name in WORKERS[:3]:
            messages = [entry["msg"] for entry in fleet.log(name)]
            assert "worker reaped" not in messages
            assert "claim lost" not in messages
    assert not list(fleet.redis.scan_iter(f"{fleet.prefix}:crashes:*"))


@contextlib.contextmanager
def _suspended(pid: int, network: Network) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _cut_off(condition: Condition, pid: int, network: Network) -> Iterator[None]:
    with network.forced(condition, 0):
        yield


Silence = Callable[[int, Network], AbstractContextManager[None]]


class Silencer:
    """Workers of which each can be made silent while it runs the one job."""

    def __init__(self, fleet: Fleet, stack: ExitStack, silence: Silence) -> None:
        self._fleet = fleet
        self._silence = silence
        self.gate = fleet.directory / "gate"
        self._workers: dict[str, tuple[int, Network]] = {}
        port = urlsplit(fleet.url).port or 0
        for name in WORKERS:
            network = Network(port)
            stack.callback(network.close)
            far = replace(fleet, url=network.url)
            variables = {"WORKER_LEASE": "1s", "WORKER_CONCURRENCY": "1"}
            process = stack.enter_context(far.worker(name, **variables))
            self._workers[name] = process.pid, network
        fleet.enqueue("hold", str(self.gate))

    def holder(self) -> str:
        """The worker that runs the job."""
        found: list[str] = []

        def has_holder() -> bool:
            found[:] = self._holders()
            return bool(found)

        wait_for(self._fleet.runs)
        wait_for(has_holder)
        return found[0]

    def _holders(self) -> list[str]:
        return [name for name in WORKERS if self._fleet.is_running(name)]

    @contextlib.contextmanager
    def silencing(self, name: str) -> Iterator[None]:
        """Make a worker silent, until another one runs its job."""
        with self._silence(*self._workers[name]):
            wait_for(lambda: self._holders() not in ([], [name]), 20, "for the reaper")
            yield


SILENCES = [
    pytest.param(_suspended, id="suspended"),
    pytest.param(partial(_cut_off, Condition.DOWN), id="disconnected"),
    pytest.param(partial(_cut_off, Condition.STALLED), id="stalled"),
]


@pytest.mark.parametrize("silence", SILENCES)
def test_a_job_whose_workers_fall_silent_one_after_another_is_not_poison(
    fleet: Fleet, silence: Silence
) -> None:
    with ExitStack() as stack:
        silencer = Silencer(fleet, stack, silence)
        [job_id] = fleet.job_ids
        for _ in range(3):
            name = silencer.holder()
            with silencer.silencing(name):
                pass
            wait_for(lambda: not fleet.redis.exists(fleet.keys.crashes(job_id)), 20)
            wait_for(partial(_has_named, fleet, name, f"hold {job_id}"), 20, "for the warning")

        silencer.gate.touch()

        fleet.wait_until_done(30)


def _has_named(fleet: Fleet, worker_id: str, job: str) -> bool:
    return any(
        str(entry["msg"]).startswith("lease expired while") and entry["jobs"] == job
        for entry in fleet.log(worker_id)
    )


@pytest.mark.parametrize("silence", SILENCES)
def test_a_job_whose_workers_are_all_silent_at_once_is_not_poison(
    fleet: Fleet, silence: Silence
) -> None:
    with ExitStack() as stack:
        silencer = Silencer(fleet, stack, silence)
        with ExitStack() as silent:
            for _ in range(3):
                silent.enter_context(silencer.silencing(silencer.holder()))
            # Once per worker, unless one has lost its short lease while tests compete.
            assert fleet.runs().total() <= 2 * len(WORKERS)
        silencer.gate.touch()

        fleet.wait_until_done(30)


def test_a_job_that_holds_the_interpreter_beyond_the_lease_completes(fleet: Fleet) -> None:
    variables = {"WORKER_LEASE": "1s", "WORKER_CONCURRENCY": "1"}
    with fleet.worker("a", **variables), fleet.worker("b", **variables):
        fleet.enqueue("hold_interpreter", 3)

        fleet.wait_until_done(40)

        [job_id] = fleet.job_ids
        job = f"hold_interpreter {job_id}"
        wait_for(lambda: any(_has_named(fleet, name, job) for name in "ab"), 20)
        wait_for(lambda: not fleet.redis.exists(fleet.keys.crashes(job_id)), 20)
        # The lease has grown: the next one is not lost.
        before = fleet.runs().total()
        fleet.enqueue("hold_interpreter", 3, 2)
        fleet.wait_until_done(40)
        assert fleet.runs().total() <= before + 3
