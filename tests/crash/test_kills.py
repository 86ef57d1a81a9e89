"""Kill -9 of everything that can be killed, again and again, while 1,000 jobs of 50 ms run."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.embedded import EmbeddedServer
from tests.crash.fleet import RuleContext
from tests.waiting import wait_for

JOBS = 1_000
NAP_S = 0.05

#: Jobs that are done between two kills.
PROGRESS = 60

#: Seconds until jobs of a killed worker run again: where it is reborn, and where it is not.
REBORN_S = 5.0
REAPED_S = 20.0

#: Threads in each of the two workers.
CONCURRENCY = 8

POOLS = f"""\
pools:
  worker: {{mode: thin, concurrency: {CONCURRENCY}, replicas: 2, scheduler: false}}
scheduler: {{interval: 200ms}}
"""


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _recovered(scene: RuleContext, killed: dict[str, set[str]]) -> bool:
    """Whether everything that killed workers held has been run to its end, or runs again."""
    runs = scene.runs()
    return all(
        runs[job_id] > 1 or not scene.redis.hexists(scene.keys.claims(worker), job_id)
        for worker, job_ids in killed.items()
        for job_id in job_ids
    )


def _kill_and_await_recovery(scene: RuleContext, workers: list[str]) -> set[str]:
    """Kill workers while they hold jobs; returns what they held."""
    # Some work is done between two kills: what is in flight at three kills in a row passes for
    # poison, and rightly so.
    completed = scene.inspector.backlog().completed
    wait_for(lambda: scene.inspector.backlog().completed >= completed + PROGRESS, 30)
    for worker in workers:
        wait_for(partial(scene.is_running, worker), 20, f"for {worker} to run jobs")
    pids = scene.pids()
    for worker in workers:
        _kill(pids[worker])
    held = {worker: scene.held_by(worker) for worker in workers}
    wait_for(lambda: _recovered(scene, held), REBORN_S, "for the recovery")
    return set().union(*held.values())


@pytest.mark.parametrize(
    "workers", [["worker-0"], ["worker-0", "worker-1"]], ids=["one worker", "all workers"]
)
def test_workers_killed_again_and_again_lose_no_job(scene: RuleContext, workers: list[str]) -> None:
    in_flight: set[str] = set()
    with scene.up(POOLS):
        wait_for(lambda: len(scene.pids()) == 3, 20)
        scene.enqueue("nap", NAP_S, JOBS)
        for _ in range(2):
            in_flight |= _kill_and_await_recovery(scene, workers)

        scene.wait_until_done(60)

    scene.assert_run_twice_only(in_flight)


def test_a_worker_that_is_never_reborn_is_reaped_by_another(scene: RuleContext) -> None:
    scene.enqueue("nap", NAP_S, JOBS)
    with scene.worker("lost", WORKER_CONCURRENCY="8") as lost:
        wait_for(lambda: scene.is_running("lost"), 20)
        _kill(lost.pid)
        killed_at = time.monotonic()
        held = scene.held_by("lost")
        with scene.worker("other", WORKER_CONCURRENCY="8"):
            wait_for(lambda: not scene.is_running("lost"), REAPED_S, "for the reaper")
            assert time.monotonic() - killed_at < REAPED_S
            scene.wait_until_done(60)

    assert held
    scene.assert_run_twice_only(held)
    assert b"lost" not in scene.redis.zrange(scene.keys.workers, 0, -1)


def test_a_supervisor_killed_again_and_again_loses_no_job(scene: RuleContext) -> None:
    scene.enqueue("nap", NAP_S, JOBS)
    for kills in (1, 2):
        with scene.up(POOLS) as supervisor:
            for worker in ("worker-0", "worker-1"):
                wait_for(partial(scene.is_running, worker), 20)
            supervisor.kill()
            # Its workers hand back what they hold and go, one a moment before the other, which may
            # take and hand back that too: what had begun may begin again, twice a kill.
            supervisor.wait(5)
            wait_for(
                lambda: not scene.is_running("worker-0") and not scene.is_running("worker-1"), 5
            )
        assert max(scene.runs().values()) <= 2 * kills
    with scene.up(POOLS):
        scene.wait_until_done(60)

    again = [job_id for job_id, count in scene.runs().items() if count > 1]
    assert max(scene.runs().values()) <= 2 * 2 + 1
    assert len(again) <= 2 * 2 * 2 * CONCURRENCY


def test_a_scheduler_killed_again_and_again_starts_each_job_once(scene: RuleContext) -> None:
    with scene.up(POOLS):
        wait_for(lambda: len(scene.pids()) == 3, 20)
        for delay_s in (0.3, 0.6, 0.9, 1.2):
            scene.enqueue("nap", 0.001, JOBS // 4, delay_s=delay_s)
        before = 0
        for _ in range(3):
            wait_for(partial(_is_another, scene, "scheduler-0", before), 10)
            before = scene.pids()["scheduler-0"]
            _kill(before)

        scene.wait_until_done(30)

    assert set(scene.runs().values()) == {1}


def test_a_scheduler_promotes_all_that_is_due_however_much_it_is(scene: RuleContext) -> None:
    scene.enqueue("nap", 0.001, 2_500, delay_s=0.001)

    with scene.worker("s", WORKER_MODE="scheduler-only", SCHEDULER_INTERVAL="60s"):
        wait_for(lambda: scene.inspector.backlog().ready == 2_500, 20)

    assert scene.inspector.backlog().scheduled == 0


def _is_another(scene: RuleContext, worker_id: str, pid: int) -> bool:
    return scene.pids().get(worker_id, pid) != pid


def _server_pid(directory: Path) -> int:
    return int(json.loads((directory / "server.lock").read_text())["pid"])


def test_a_server_killed_again_and_again_loses_no_job(
    durable_scene: tuple[RuleContext, EmbeddedServer],
) -> None:
    scene, server = durable_scene
    with scene.worker("a", WORKER_CONCURRENCY="8"), scene.worker("b", WORKER_CONCURRENCY="8"):
        scene.enqueue("nap", NAP_S, JOBS)
        for _ in range(3):
            wait_for(lambda: scene.is_running("a") and scene.is_running("b"), 20)
            _kill(_server_pid(scene.directory / "server"))
            wait_for(lambda: _is_revived(server), 20)
        scene.wait_until_done(60)
        logs = {name: scene.log(name) for name in ("a", "b")}

    # An outage is no reason to run anything again: what ran meanwhile was settled afterwards.
    assert set(scene.runs().values()) == {1}
    for log in logs.values():
        messages = [str(entry["msg"]) for entry in log]
        lost = sum(message.startswith("redis lost") for message in messages)
        assert 1 <= lost <= 3
        assert messages.count("redis back") == lost


def _is_revived(server: EmbeddedServer) -> bool:
    server.restart_if_dead()
    try:
        with connect(server.url) as client:
            return bool(client.ping())
    except Exception:
        # Not there yet, or still loading its file: whatever it says, it is not back.
        return False


def test_a_worker_asleep_beyond_its_lease_changes_nothing_when_it_wakes(scene: RuleContext) -> None:
    gate = scene.directory / "gate"
    scene.enqueue("hold", str(gate))
    [job_id] = scene.job_ids
    with scene.worker("asleep", WORKER_LEASE="1s", WORKER_CONCURRENCY="1") as asleep:
        wait_for(lambda: scene.runs()[job_id] == 1, 20)
        os.kill(asleep.pid, signal.SIGSTOP)
        with scene.worker("other", WORKER_LEASE="1s", WORKER_CONCURRENCY="1") as other:
            wait_for(lambda: scene.runs()[job_id] == 2, 20, "for the reaper")
            gate.touch()
            scene.wait_until_done(20)
            result = scene.inspector.job(job_id).result

            os.kill(asleep.pid, signal.SIGCONT)

            wait_for(lambda: _said(scene, "asleep", "claim lost"), 20, "for the late ack")
            assert scene.inspector.job(job_id).result == result == other.pid
            scene.assert_all_completed()


def _said(scene: RuleContext, worker_id: str, message: str) -> bool:
    return any(entry["msg"] == message for entry in scene.log(worker_id))


def test_five_sigterms_in_a_row_lose_nothing_and_count_no_attempt(scene: RuleContext) -> None:
    scene.enqueue("nap", 0.5, 30)
    with scene.worker("a", WORKER_CONCURRENCY="8") as worker:
        wait_for(lambda: sum(scene.runs().values()) >= 8, 20)

        for _ in range(5):
            worker.send_signal(signal.SIGTERM)
        worker.wait(20)

        assert not scene.held_by("a")
    attempts = {job_id: scene.inspector.job(job_id) for job_id in scene.job_ids}
    for view in attempts.values():
        assert view.body is not None
        assert view.body["attempts"] == (1 if view.status == "completed" else 0)
    with scene.worker("b", WORKER_CONCURRENCY="8"):
        scene.wait_until_done(30)


def test_an_idle_worker_told_to_stop_leaves_nothing_that_a_ring_has_claimed(
    scene: RuleContext,
) -> None:
    for index in range(4):
        with scene.worker(f"w{index}", WORKER_CONCURRENCY="4") as worker:
            scene.enqueue("nap", 0.001, 3)
            worker.send_signal(signal.SIGTERM)
            while worker.poll() is None:
                scene.enqueue("nap", 0.001)

            assert worker.returncode == 0
            assert not scene.is_running(f"w{index}")
            assert f"w{index}" not in scene.pids()
    assert not list(scene.redis.scan_iter(f"{scene.prefix}:crashes:*"))
    with scene.worker("last", WORKER_CONCURRENCY="8"):
        scene.wait_until_done(30)
    assert set(scene.runs().values()) == {1}


def test_a_handler_that_takes_its_worker_down_is_buried_and_its_neighbours_finish(
    scene: RuleContext,
) -> None:
    with scene.up("pools: {worker: {mode: thin, concurrency: 10, job_timeout: 30s}}\n"):
        scene.enqueue("nap", 0.02, 100)
        scene.enqueue("segfault", None)
        poison = scene.job_ids[-1]
        scene.enqueue("nap", 0.02, 100)

        wait_for(scene.is_done, 60, f"for the jobs: {scene.inspector.backlog()}")

    scene.assert_all_completed(but={poison})
    assert scene.runs()[poison] == 3
    assert "job_type=segfault" in (scene.directory / "up.log").read_text()
    failure = scene.inspector.job(poison).failure
    assert failure is not None
    assert "worker-0" in json.dumps(failure)
