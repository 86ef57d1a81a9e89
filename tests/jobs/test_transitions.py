"""The broker's transitions in random order, against a model of where every job is."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.dead import DeadFilter, DeadJobs
from bananas_topology.jobs.job import Claim, encode_new, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import (
    SETTLEMENTS,
    AckJob,
    BuryJob,
    ReleaseJob,
    RetryJob,
    Settlement,
)
from bananas_topology.system.clock import format_timestamp, wall_now
from tests.jobs.invariants import assert_each_in_one_place
from tests.jobs.support import Worker, encoded

TYPES = ("add", "sub", "mul")
#: Workers and the types they handle; the last handles all.
WORKERS = {"w-add": ("add",), "w-sub": ("sub", "add"), "w-all": TYPES}
FAILURE = b'{"type":"E","message":"no","traceback":""}'


class Transitions(RuleBasedStateMachine):
    """`where` is the model: "live", "completed" or "dead" by id; `held` what each worker holds."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys(f"{{state}}{uuid.uuid4().hex[:8]}")
        self.broker = Broker(self.client, self.keys)
        self.dead = DeadJobs(self.client, self.keys)
        self.where: dict[str, str] = {}
        self.held: dict[str, dict[str, Claim]] = {name: {} for name in WORKERS}
        self.stale: list[Claim] = []
        self.numbers = itertools.count()

    @initialize()
    def boot(self) -> None:
        self.workers = {name: self._boot(name) for name in WORKERS}

    def teardown(self) -> None:
        self.broker.close()
        self.dead.close()

    def _boot(self, name: str) -> Worker:
        worker = Worker(self.broker, name, job_types=WORKERS[name])
        self.broker.heartbeat(worker.consumer, worker.incarnation, {}, boot=True)
        return worker

    @rule(
        count=st.integers(1, 5),
        job_type=st.sampled_from(TYPES),
        priority=st.sampled_from(PRIORITIES),
        due=st.sampled_from(["", "", "+60000"]),
        size=st.sampled_from([1, 1000]),
    )
    def enqueue(self, count: int, job_type: str, priority: str, due: str, size: int) -> None:
        ids = [f"{job_type}{next(self.numbers)}" for _ in range(count)]
        jobs = [encoded(i, job_type, "x" * size, priority=priority, due=due) for i in ids]
        assert self.broker.enqueue([*jobs, jobs[0]]) == [True] * count + [False]
        self.where |= dict.fromkeys(ids, "live")

    @rule(job_type=st.sampled_from(TYPES), priority=st.sampled_from(PRIORITIES))
    def foreign(self, job_type: str, priority: str) -> None:
        job_id = f"f{next(self.numbers)}"
        body = encode_new(
            job_id=job_id,
            job_type=job_type,
            payload=[],
            priority="low",
            max_retries=None,
            scheduled_for=None,
            now=wall_now(),
        )
        self.client.set(self.keys.job(job_id), body)
        self.client.lpush(self.keys.queue(priority), job_id)
        self.where[job_id] = "live"

    @rule(
        name=st.sampled_from(list(WORKERS)),
        count=st.integers(1, 8),
        max_bytes=st.sampled_from([1, 2_000, 10**6]),
        promote=st.booleans(),
        is_received=st.sampled_from([True, True, True, False]),
    )
    def claim(
        self, name: str, count: int, max_bytes: int, promote: bool, is_received: bool
    ) -> None:
        held = self.held[name]
        was_alone = any(claim.crashes for claim in held.values())
        claims = (
            self.workers[name].exchange(count=count, max_bytes=max_bytes, promote=promote).claims
        )
        assert len(claims) <= count
        for claim in claims:
            assert self.where[claim.job_id] == "live"
            assert all(claim.job_id not in other for other in self.held.values())
            assert claim.body is not None
            assert any(f'"name":"{kind}"'.encode() in claim.body for kind in WORKERS[name])
        if any(claim.crashes for claim in claims):
            assert len(claims) == 1
            assert not held
        assert not (was_alone and claims)
        if is_received:
            held |= {claim.job_id: claim for claim in claims}
        else:
            worker = self.workers[name]
            known = [job_id.encode() for job_id in held]
            recovery = self.broker.recover(worker.consumer, worker.token(), known)
            assert (recovery.returned, recovery.crashed) == (len(claims), 0)

    # What is drawn must not depend on what is held: a replay may claim other jobs.
    @rule(
        name=st.sampled_from(list(WORKERS)),
        picks=st.lists(
            st.tuples(st.integers(0, 7), st.sampled_from(SETTLEMENTS)), min_size=1, max_size=8
        ),
    )
    def settle(self, name: str, picks: list[tuple[int, type[Settlement]]]) -> None:
        held = self.held[name]
        settlements: list[Settlement] = []
        for place, kind in picks[: len(held)]:
            job_id = sorted(held)[place % len(held)]
            claim = held.pop(job_id)
            settlements.append(_settlement(kind, claim))
            self.where[job_id] = (
                "completed" if kind is AckJob else "dead" if kind is BuryJob else "live"
            )
            self.stale.append(claim)
        assert self.workers[name].exchange(settlements).lost == ()

    @rule(kind=st.sampled_from(SETTLEMENTS), name=st.sampled_from(list(WORKERS)))
    def settle_late(self, kind: type[Settlement], name: str) -> None:
        late = [_settlement(kind, claim) for claim in self.stale]
        assert self.workers[name].exchange(late).lost == tuple(late)

    @rule(name=st.sampled_from(list(WORKERS)))
    def crash(self, name: str) -> None:
        held = self.held[name]
        self.workers[name] = self._boot(name)
        worker = self.workers[name]
        recovery = self.broker.recover(worker.consumer, worker.token(), [])
        assert (recovery.returned, recovery.crashed) == (len(held), len(held))
        self.stale += held.values()
        held.clear()

    @rule(name=st.sampled_from(list(WORKERS)), by=st.sampled_from(list(WORKERS)))
    def reap(self, name: str, by: str) -> None:
        if name == by:
            return
        reaper = self.workers[by]
        # No outage is suspected, however long ago the last heartbeat was.
        self.broker.heartbeat(reaper.consumer, reaper.incarnation, {}, boot=False)
        self.client.zadd(self.keys.workers, {name: 1})
        beat = self.broker.heartbeat(reaper.consumer, reaper.incarnation, {}, boot=False)
        assert name in beat.expired
        self.broker.reap(reaper.consumer, beat.expired)
        for gone in beat.expired:
            self.stale += self.held[gone].values()
            self.held[gone].clear()

    @rule()
    def pass_time(self) -> None:
        scheduled: Any = self.client.zrange(self.keys.scheduled, 0, -1)
        if scheduled:
            self.client.zadd(self.keys.scheduled, {name: i for i, name in enumerate(scheduled)})
            assert self.broker.promote() == len(scheduled)

    @rule(kind=st.sampled_from(TYPES))
    def retry_dead(self, kind: str) -> None:
        retried = self.dead.retry(DeadFilter(job_type=kind))
        again = [i for i, place in self.where.items() if place == "dead" and self._type(i) == kind]
        assert (retried.jobs, retried.unreadable) == (len(again), ())
        self.where |= dict.fromkeys(again, "live")

    @rule(kind=st.sampled_from(TYPES))
    def purge_dead(self, kind: str) -> None:
        gone = [i for i, place in self.where.items() if place == "dead" and self._type(i) == kind]
        assert self.dead.purge(DeadFilter(job_type=kind)) == len(gone)
        for job_id in gone:
            assert not self.client.exists(self.keys.job(job_id), self.keys.failure(job_id))
            del self.where[job_id]

    def _type(self, job_id: str) -> str | None:
        found = next(self.dead.list(DeadFilter(job_ids=frozenset({job_id}))), None)
        if found is not None:
            return found.job_type
        return self.types.get(job_id)

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        self.types = {job.job_id: job.job_type for job in self.dead.list()}
        found = assert_each_in_one_place(self.client, self.keys, self.where)
        assert found.keys() == self.where.keys()
        for job_id, expected in self.where.items():
            place = found[job_id]
            assert (place if place in ("completed", "dead") else "live") == expected, job_id
        for name, held in self.held.items():
            assert {i for i, place in found.items() if place == f"claims:{name}"} == set(held)


def _settlement(kind: type[Settlement], claim: Claim) -> Settlement:
    at = format_timestamp(wall_now())
    body = claim.body or b""
    if kind is AckJob:
        done = rewrite(body, status="completed", attempts=1, updated_at=at)
        return AckJob(claim, done, b"1", at, 1)
    if kind is RetryJob:
        again = rewrite(body, wall_now(), status="pending", attempts=1, updated_at=at, error="no")
        return RetryJob(claim, again, FAILURE, 60_000)
    if kind is BuryJob:
        dead = rewrite(body, status="failed", attempts=1, updated_at=at, error="no")
        return BuryJob(claim, dead, FAILURE, "no", at, 1)
    assert kind is ReleaseJob
    return ReleaseJob(claim)


@pytest.mark.usefixtures("keys")
def test_no_order_of_transitions_loses_or_duplicates_a_job(client: redis.Redis) -> None:
    machine = type("Machine", (Transitions,), {"client": client})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
