from __future__ import annotations

import random
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob, RetryJob
from bananas_topology.worker.run import Run, bind_handlers
from bananas_topology.worker.settlement import Settler
from bananas_topology.worker.slots import Slots
from tests.waiting import wait_for
from tests.worker import slot_jobs
from tests.worker.slot_jobs import GATES


@pytest.fixture
def make_slots() -> Iterator[Callable[[int], Slots]]:
    handlers = load_handlers((slot_jobs.__name__,))

    def make(concurrency: int) -> Slots:
        config = WorkerConfig(worker_id="w", concurrency=concurrency)
        return Slots(concurrency, bind_handlers(handlers, config), Settler(random.random))

    yield make
    for event in GATES.values():
        event.set()
    GATES.clear()


def _run(job_type: str, payload: str = "null", job_id: str = "1") -> Run:
    body = f'{{"id":"{job_id}","name":"{job_type}","payload":{payload}}}'
    return Run(Claim(job_id, body.encode(), b"t.1|normal|0"), time.monotonic())


def _collect(slots: Slots, count: int, within_s: float = 20.0) -> list[Run]:
    ended: list[Run] = []
    poll = select.poll()
    poll.register(slots.fileno(), select.POLLIN)
    deadline = time.monotonic() + within_s
    while len(ended) < count:
        assert time.monotonic() < deadline, f"only {len(ended)} of {count} ended"
        slots.sleep(lambda seconds: poll.poll(seconds * 1000), 0.05, 0)
        slots.clear_wakeup()
        slots.interrupt_late()
        ended += [*slots.collect(), *slots.settle_interrupted()]
    return ended


def test_runs_wait_for_a_free_thread(make_slots: Callable[[int], Slots]) -> None:
    slots = make_slots(2)
    GATES["a"] = threading.Event()
    slots.submit([_run("gate", '"a"', str(n)) for n in range(5)])
    wait_for(lambda: slots.running == 2)

    assert (slots.waiting, slots.free) == (3, -3)

    GATES["a"].set()
    ended = _collect(slots, 5)
    assert all(isinstance(run.settlement, AckJob) for run in ended)
    assert (slots.free, slots.waiting, slots.running) == (2, 0, 0)


def test_blocking_jobs_run_in_parallel(make_slots: Callable[[int], Slots]) -> None:
    slots = make_slots(8)
    # Short jobs just before must not hold up the blocking ones.
    slots.submit([_run("count", job_id=str(n)) for n in range(500)])
    _collect(slots, 500)
    GATES["a"] = threading.Event()

    slots.submit([_run("gate", '"a"', str(n)) for n in range(16)])

    wait_for(lambda: slots.running == 8)
    assert slots.waiting == 8
    GATES["a"].set()
    _collect(slots, 16)


def test_short_jobs_are_run_by_few_threads(make_slots: Callable[[int], Slots]) -> None:
    slots = make_slots(50)
    most = 0

    for _ in range(10):
        slots.submit([_run("name", job_id=str(n)) for n in range(200)])
        names: Counter[bytes] = Counter()
        for run in _collect(slots, 200):
            assert isinstance(run.settlement, AckJob)
            names[run.settlement.result] += 1
        most = max(most, *names.values())

    # At best: whenever the process has to wait for a processor, another thread goes on. Evenly
    # distributed it would be 4.
    assert most > 40


def test_a_more_urgent_run_is_taken_first(make_slots: Callable[[int], Slots]) -> None:
    slots = make_slots(1)
    GATES["a"] = threading.Event()
    slots.submit([_run("gate", '"a"', "first")])
    wait_for(lambda: slots.running == 1)
    slots.submit([_run("count", job_id=str(n)) for n in range(3)])

    slots.reorder([_run("count", job_id="urgent")], lambda run: run.claim.job_id != "urgent")

    GATES["a"].set()
    ended = [run.claim.job_id for run in _collect(slots, 5)]
    assert ended == ["first", "urgent", "0", "1", "2"]


def test_released_waiting_runs_never_start(make_slots: Callable[[int], Slots]) -> None:
    slots = make_slots(1)
    GATES["a"] = threading.Event()
    slots.submit([_run("gate", '"a"'), *(_run("count", job_id=f"w{n}") for n in range(3))])
    wait_for(lambda: slots.running == 1)

    released = slots.release_waiting()

    # The last one first: pushed to the right end of a list one by one, they are in order again.
    assert [run.claim.job_id for run in released] == ["w2", "w1", "w0"]
    assert all(isinstance(run.settlement, ReleaseJob) for run in released)
    GATES["a"].set()
    assert len(_collect(slots, 1)) == 1
    assert not slots.held


def test_a_released_running_job_ends_and_frees_its_slot(
    make_slots: Callable[[int], Slots],
) -> None:
    slots = make_slots(1)
    slots.submit([_run("spin", "5")])
    wait_for(lambda: slots.running == 1)

    slots.interrupt_running()

    assert len(_collect(slots, 1)) == 1
    assert slots.stuck == 0
    slots.submit([_run("name")])
    assert isinstance(_collect(slots, 1)[0].settlement, AckJob)


def test_every_run_is_settled_once_whatever_coincides(
    make_slots: Callable[[int], Slots],
) -> None:
    chance = random.Random(7)
    slots = make_slots(6)
    total = 1500
    ids = [str(n) for n in range(total)]
    waiting = list(ids)
    ended: list[Run] = []
    deadline = time.monotonic() + 240

    while len(ended) < total:
        assert time.monotonic() < deadline, f"only {len(ended)} ended"
        if waiting and slots.free > -20:
            batch = [waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 20)))]
            slots.submit([_random_run(job_id, chance) for job_id in batch])
        if chance.random() < 0.05:
            ended += slots.release_waiting()
        if chance.random() < 0.02:
            slots.interrupt_running()
        slots.interrupt_late()
        at_once = chance.random() < 0.1
        ended += [*slots.settle_interrupted(at_once=at_once), *slots.collect()]
        time.sleep(chance.choice([0, 0, 0.001]))

    assert Counter(run.claim.job_id for run in ended) == Counter(ids)
    kinds = {type(run.settlement) for run in ended}
    assert {AckJob, BuryJob, ReleaseJob} <= kinds <= {AckJob, BuryJob, ReleaseJob, RetryJob}
    wait_for(lambda: slots.stuck == 0)
    assert (slots.free, slots.running, slots.waiting) == (6, 0, 0)
    # No thread was lost to a late exception: all of them still work.
    GATES["again"] = threading.Event()
    slots.submit([_run("gate", '"again"', f"again-{n}") for n in range(6)])
    wait_for(lambda: slots.running == 6)
    GATES["again"].set()
    again = _collect(slots, 6)
    assert all(isinstance(run.settlement, AckJob) for run in again)


def _random_run(job_id: str, chance: random.Random) -> Run:
    kind = chance.choice(["count", "count", "sleep", "spin", "spin"])
    # Some spins end just when they time out.
    seconds = chance.choice([0.0, 0.001, 0.019, 0.02, 0.021])
    return _run(kind, "null" if kind == "count" else str(seconds), job_id)
