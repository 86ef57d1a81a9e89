"""Kill -9 of workers, supervisors, schedulers and servers while 1,000 jobs of 50 ms run."""

from __future__ import annotations

import json
import os
import signal
from functools import partial

import pytest

from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from tests.crash.fleet import Fleet, kill_server, server_pid, suspend
from tests.waiting import wait_for

JOBS = 1_000
NAP_S = 0.05

#: Jobs that complete between two kills.
PROGRESS = 60

#: Maximum seconds until jobs of a killed worker run again. Its lease is 15 s.
RECOVERED_S = 40.0

#: Threads in each of the two workers.
CONCURRENCY = 8

POOLS = f"""\
pools:
  worker: {{mode: thin, concurrency: {CONCURRENCY}, replicas: 2, scheduler: false}}
scheduler: {{interval: 200ms}}
"""


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _recovered(fleet: Fleet, killed: dict[str, set[str]]) -> bool:
    """Whether everything that killed workers held has completed or runs again."""
    runs = fleet.runs()
    return all(
        runs[job_id] > 1 or not fleet.redis.hexists(fleet.keys.claims(worker), job_id)
        for worker, job_ids in killed.items()
        for job_id in job_ids
    )


def _kill_and_await_recovery(fleet: Fleet, workers: list[str]) -> set[str]:
    """Kill workers while they hold jobs; returns what they held."""
    # Some jobs must complete between two kills: a job in flight at three kills in a row is buried
    # as poison, as it should be.
    completed = fleet.inspector.backlog().completed
    wait_for(
        lambda: (
            _are_busy(fleet, workers)
            and fleet.inspector.backlog().completed >= completed + PROGRESS
        ),
        60,
        f"for {workers} to run jobs",
    )
    pids = [fleet.pids()[worker] for worker in workers]
    # Suspended first, so that this is what they hold when they are killed.
    for pid in pids:
        suspend(pid)
    held = {worker: fleet.held_by(worker) for worker in workers}
    for pid in pids:
        _kill(pid)
    wait_for(lambda: _recovered(fleet, held), RECOVERED_S, "for the recovery")
    return set().union(*held.values())


def _are_busy(fleet: Fleet, workers: list[str]) -> bool:
    """Whether these workers run jobs. Enqueues more if a slow test has let them run out."""
    if fleet.inspector.backlog().ready < PROGRESS:
        fleet.enqueue("nap", NAP_S, JOBS // 2)
    return all(fleet.is_running(worker) for worker in workers)


@pytest.mark.parametrize(
    "workers", [["worker-0"], ["worker-0", "worker-1"]], ids=["one worker", "all workers"]
)
def test_workers_killed_repeatedly_lose_no_job(fleet: Fleet, workers: list[str]) -> None:
    in_flight: set[str] = set()
    with fleet.up(POOLS):
        wait_for(lambda: len(fleet.pids()) == 3, 60)
        fleet.enqueue("nap", NAP_S, JOBS)
        for _ in range(2):
            in_flight |= _kill_and_await_recovery(fleet, workers)

        fleet.wait_until_done(60)

    fleet.assert_rerun_only(in_flight)


def test_a_worker_that_does_not_restart_is_reaped_by_another(fleet: Fleet) -> None:
    # The other one is there all the time: without any, it would look like an outage of the server.
    with (
        fleet.worker("lost", WORKER_CONCURRENCY="8") as lost,
        fleet.worker("other", WORKER_CONCURRENCY="8"),
    ):
        fleet.enqueue("nap", NAP_S, JOBS)
        wait_for(lambda: _are_busy(fleet, ["lost"]))
        _kill(lost.pid)
        held = fleet.held_by("lost")

        wait_for(lambda: not fleet.is_running("lost"), RECOVERED_S, "for the reaper")
        fleet.wait_until_done(60)

    assert held
    fleet.assert_rerun_only(held)
    assert b"lost" not in fleet.redis.zrange(fleet.keys.workers, 0, -1)


def test_a_supervisor_killed_repeatedly_loses_no_job(fleet: Fleet) -> None:
    fleet.enqueue("nap", NAP_S, JOBS)
    for kills in (1, 2):
        with fleet.up(POOLS) as supervisor:
            wait_for(lambda: _are_busy(fleet, ["worker-0", "worker-1"]), 60)
            supervisor.kill()
            # Its workers release their jobs and exit, one a moment before the other, which may
            # claim and release those as well: a job may start twice per kill.
            supervisor.wait(20)
            wait_for(lambda: not fleet.is_running("worker-0") and not fleet.is_running("worker-1"))
        assert max(fleet.runs().values()) <= 2 * kills
    with fleet.up(POOLS):
        fleet.wait_until_done(60)

    again = [job_id for job_id, count in fleet.runs().items() if count > 1]
    assert max(fleet.runs().values()) <= 2 * 2 + 1
    assert len(again) <= 2 * 2 * 2 * CONCURRENCY


def test_a_scheduler_killed_repeatedly_starts_every_job_once(fleet: Fleet) -> None:
    with fleet.up(POOLS):
        wait_for(lambda: len(fleet.pids()) == 3, 60)
        for delay_s in (0.3, 0.6, 0.9, 1.2):
            fleet.enqueue("nap", 0.001, JOBS // 4, delay_s=delay_s)
        before = 0
        for _ in range(3):
            wait_for(partial(_is_restarted, fleet, "scheduler-0", before), 60)
            before = fleet.pids()["scheduler-0"]
            _kill(before)

        fleet.wait_until_done(30)

    assert set(fleet.runs().values()) == {1}


def test_a_scheduler_promotes_any_number_of_due_jobs(fleet: Fleet) -> None:
    fleet.enqueue("nap", 0.001, 2_500, delay_s=0.001)

    with fleet.worker("s", WORKER_MODE="scheduler-only", SCHEDULER_INTERVAL="60s"):
        wait_for(lambda: fleet.inspector.backlog().ready == 2_500, 20)

    assert fleet.inspector.backlog().scheduled == 0


def _is_restarted(fleet: Fleet, worker_id: str, pid: int) -> bool:
    return fleet.pids().get(worker_id, pid) != pid


def test_a_server_killed_repeatedly_loses_no_job(
    durable_fleet: tuple[Fleet, BundledServer],
) -> None:
    fleet, server = durable_fleet
    with fleet.worker("a", WORKER_CONCURRENCY="8"), fleet.worker("b", WORKER_CONCURRENCY="8"):
        fleet.enqueue("nap", NAP_S, JOBS)
        for _ in range(3):
            wait_for(lambda: _are_busy(fleet, ["a", "b"]))
            kill_server(server.url, server_pid(fleet.directory))
            wait_for(lambda: _is_restarted_server(server))
        fleet.wait_until_done(60)
        for name in ("a", "b"):
            wait_for(lambda name=name: _has_reconnected(fleet, name))  # type: ignore[misc]

    # No job runs again because of an outage: those that ran meanwhile were settled afterwards.
    assert set(fleet.runs().values()) == {1}
    for name in ("a", "b"):
        lost, restored = _outages(fleet, name)
        assert 1 <= lost == restored <= 3


def _outages(fleet: Fleet, worker_id: str) -> tuple[int, int]:
    """How often a worker has lost its connection, and how often it was restored."""
    messages = [str(entry["msg"]) for entry in fleet.log(worker_id)]
    lost = sum(message.startswith("connection lost") for message in messages)
    return lost, messages.count("connection restored")


def _has_reconnected(fleet: Fleet, worker_id: str) -> bool:
    lost, restored = _outages(fleet, worker_id)
    return 1 <= lost == restored


def _is_restarted_server(server: BundledServer) -> bool:
    server.restart_if_dead()
    try:
        with connect(server.url) as client:
            return bool(client.ping())
    except Exception:
        # Not listening yet, or still loading its file.
        return False


def test_a_worker_suspended_beyond_its_lease_changes_nothing_when_it_resumes(fleet: Fleet) -> None:
    gate = fleet.directory / "gate"
    fleet.enqueue("hold", str(gate))
    [job_id] = fleet.job_ids
    with fleet.worker("suspended", WORKER_LEASE="1s", WORKER_CONCURRENCY="1") as suspended:
        wait_for(lambda: fleet.runs()[job_id] == 1, 20)
        os.kill(suspended.pid, signal.SIGSTOP)
        with fleet.worker("other", WORKER_LEASE="1s", WORKER_CONCURRENCY="1") as other:
            wait_for(lambda: fleet.runs()[job_id] == 2, 20, "for the reaper")
            gate.touch()
            fleet.wait_until_done(20)
            result = fleet.inspector.job(job_id).result

            os.kill(suspended.pid, signal.SIGCONT)

            wait_for(lambda: _has_logged(fleet, "suspended", "claim lost"), 20, "for the late ack")
            assert fleet.inspector.job(job_id).result == result == other.pid
            fleet.assert_all_completed()


def _has_logged(fleet: Fleet, worker_id: str, message: str) -> bool:
    return any(entry["msg"] == message for entry in fleet.log(worker_id))


def test_five_sigterms_in_a_row_lose_no_job_and_count_no_attempt(fleet: Fleet) -> None:
    fleet.enqueue("nap", 0.5, 30)
    with fleet.worker("a", WORKER_CONCURRENCY="8") as worker:
        wait_for(lambda: sum(fleet.runs().values()) >= 8, 20)

        for _ in range(5):
            worker.send_signal(signal.SIGTERM)
        worker.wait(20)

        assert not fleet.held_by("a")
    attempts = {job_id: fleet.inspector.job(job_id) for job_id in fleet.job_ids}
    for view in attempts.values():
        assert view.body is not None
        assert view.body["attempts"] == (1 if view.status == "completed" else 0)
    with fleet.worker("b", WORKER_CONCURRENCY="8"):
        fleet.wait_until_done(30)


def test_an_idle_worker_that_stops_keeps_no_claim_made_by_a_wake_up(
    fleet: Fleet,
) -> None:
    for index in range(4):
        with fleet.worker(f"w{index}", WORKER_CONCURRENCY="4") as worker:
            fleet.enqueue("nap", 0.001, 3)
            worker.send_signal(signal.SIGTERM)
            while worker.poll() is None:
                fleet.enqueue("nap", 0.001)

            assert worker.returncode == 0
            assert not fleet.is_running(f"w{index}")
            assert f"w{index}" not in fleet.pids()
    assert not list(fleet.redis.scan_iter(f"{fleet.prefix}:crashes:*"))
    with fleet.worker("last", WORKER_CONCURRENCY="8"):
        fleet.wait_until_done(30)
    assert set(fleet.runs().values()) == {1}


def test_a_job_that_crashes_its_worker_is_buried_and_other_jobs_complete(
    fleet: Fleet,
) -> None:
    with fleet.up("pools: {worker: {mode: thin, concurrency: 10, job_timeout: 30s}}\n"):
        fleet.enqueue("nap", 0.02, 100)
        fleet.enqueue("segfault", None)
        poison = fleet.job_ids[-1]
        fleet.enqueue("nap", 0.02, 100)

        wait_for(fleet.is_done, 120, f"for the jobs: {fleet.inspector.backlog()}")
        wait_for(lambda: "job_type=segfault" in (fleet.directory / "up.log").read_text())

    fleet.assert_all_completed(expected_dead={poison})
    assert fleet.runs()[poison] == 3
    failure = fleet.inspector.job(poison).failure
    assert failure is not None
    assert "worker-0" in json.dumps(failure)
