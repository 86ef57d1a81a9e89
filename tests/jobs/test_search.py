from __future__ import annotations

import random
from collections.abc import Sequence
from typing import get_args

import pytest
import redis

from bananas_topology.errors import InvalidCursor
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.search import (
    MAX_EXAMINED,
    JobFilter,
    JobPage,
    JobSummary,
    Search,
    State,
)
from bananas_topology.jobs.settlements import AckJob
from tests.jobs.support import Worker, encoded, store_dead


@pytest.fixture
def search(client: redis.Redis, keys: Keys) -> Search:
    return Search(client, keys)


def _pages(search: Search, selected: JobFilter, limit: int = 10) -> list[JobPage]:
    pages = [search.page(selected, limit)]
    while pages[-1].cursor is not None:
        pages.append(search.page(selected, limit, pages[-1].cursor))
    return pages


def _jobs(pages: Sequence[JobPage]) -> list[JobSummary]:
    """The jobs of all pages: one may be empty, since others share the server that it scans."""
    return [job for page in pages for job in page.jobs]


def _ids(pages: Sequence[JobPage]) -> list[str]:
    return [job.job_id for job in _jobs(pages)]


def _one_of_each(client: redis.Redis, keys: Keys, broker: Broker) -> None:
    """A job in each state, whose id is the state."""
    worker = Worker(broker)
    broker.heartbeat(worker.consumer, worker.incarnation, {"pool": "mail"}, boot=True)
    broker.enqueue([encoded("completed"), encoded("processing")])
    first, _ = worker.exchange(count=2).claims
    assert first.body is not None
    worker.exchange([AckJob(first, first.body, b"3", "2026-01-01T00:00:00.000000Z", 5)])
    store_dead(client, keys, "failed", "the Disk is full")
    broker.enqueue([encoded("pending", "sub", {"to": "Zoë"}), encoded("scheduled", due="+60000")])


def test_jobs_are_found_by_state(
    client: redis.Redis, keys: Keys, broker: Broker, search: Search
) -> None:
    _one_of_each(client, keys, broker)

    for state in get_args(State):
        [job] = _jobs(_pages(search, JobFilter(state=state)))
        assert (job.job_id, job.status) == (state, state)
    assert sorted(_ids(_pages(search, JobFilter()))) == sorted(get_args(State))


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        (JobFilter(job_type="sub"), "pending"),
        (JobFilter(pool="mail"), "processing"),
        (JobFilter(text="disk IS"), "failed"),
        (JobFilter(text="zoë"), "pending"),
        (JobFilter(text="SCHED"), "scheduled"),
        (JobFilter(state="scheduled", text="sched", job_type="add"), "scheduled"),
    ],
)
def test_jobs_are_found_by_type_pool_and_text(
    client: redis.Redis,
    keys: Keys,
    broker: Broker,
    search: Search,
    selected: JobFilter,
    expected: str,
) -> None:
    _one_of_each(client, keys, broker)

    [job] = [job for page in _pages(search, selected) for job in page.jobs]

    assert job.job_id == expected
    assert (job.pool, job.worker_id) == (
        ("mail", "w-0") if expected == "processing" else (None,) * 2
    )


@pytest.mark.parametrize("state", ["pending", "scheduled", "processing", "failed"])
@pytest.mark.parametrize("limit", [1, 7, 200])
def test_pages_have_each_job_once(
    client: redis.Redis, keys: Keys, broker: Broker, search: Search, state: str, limit: int
) -> None:
    ids = [f"{number:03}" for number in range(120)]
    if state == "failed":
        for job_id in ids:
            store_dead(client, keys, job_id)
    elif state == "scheduled":
        broker.enqueue([encoded(job_id, due="4102444800.000001") for job_id in ids])
    else:
        broker.enqueue(
            [encoded(each, priority=("high", "normal", "low")[int(each) % 3]) for each in ids]
        )
    if state == "processing":
        for number in range(3):
            Worker(broker, f"w-{number}").claim(40)

    found = _ids(_pages(search, JobFilter(state=state), limit))

    assert sorted(found) == ids


def test_no_job_that_stays_is_left_out_while_others_move(
    broker: Broker, search: Search, client: redis.Redis, keys: Keys
) -> None:
    chance = random.Random(7)
    staying = {f"stay-{number}" for number in range(60)}
    jobs = [encoded(job_id) for job_id in staying] + [encoded(f"go-{n}") for n in range(60)]
    chance.shuffle(jobs)
    broker.enqueue(jobs)
    delayed = [encoded(f"due-{n:02}", due="4102444800.5") for n in range(40)]
    broker.enqueue(delayed)

    for state, wanted in (
        ("pending", staying),
        ("scheduled", {f"due-{n:02}" for n in range(1, 40, 2)}),
    ):
        found: set[str] = set()
        page = search.page(JobFilter(state=state), 5)
        for step in range(1_000):
            found.update(job.job_id for job in page.jobs)
            if page.cursor is None:
                break
            broker.cancel(f"go-{step}")
            broker.cancel(f"due-{2 * step:02}")
            broker.enqueue([encoded(f"new-{state}-{step}")])
            page = search.page(JobFilter(state=state), 5, page.cursor)
        assert found >= wanted


def test_a_page_examines_a_bounded_number_of_jobs(broker: Broker, search: Search) -> None:
    broker.enqueue([encoded(str(number)) for number in range(2 * MAX_EXAMINED)])
    broker.enqueue([encoded("needle", "sub")])

    for selected in (JobFilter(state="pending", text="nothing"), JobFilter(text="nothing")):
        page = search.page(selected, 10)
        assert (page.jobs, page.cursor is not None) == ((), True)
    assert _ids(_pages(search, JobFilter(job_type="sub"))) == ["needle"]


def test_a_long_payload_is_searched_at_its_start(broker: Broker, search: Search) -> None:
    broker.enqueue([encoded("big", payload="needle" + "x" * 5_000_000, priority="high")])

    [job] = _jobs(_pages(search, JobFilter(text="NEEDLE")))

    assert (job.job_id, job.job_type, job.priority, job.status) == ("big", "add", "high", "pending")
    assert job.created_at is not None


def test_what_other_clients_store_breaks_no_page(
    client: redis.Redis, keys: Keys, search: Search
) -> None:
    client.lpush(keys.queue("normal"), b"\xff\xfe", "gone", "list", "text", "odd")
    client.set(keys.job("").encode() + b"\xff\xfe", '{"name": 7, "attempts": "x", "error": []}')
    client.lpush(keys.job("list"), "not a string")
    client.set(keys.job("text"), "not JSON")
    client.set(keys.job("odd"), '{"payload": "\\ud800"}')
    client.set(keys.failure("text"), '{"type": 7, "message": []}')

    for selected in (JobFilter(), JobFilter(state="pending"), JobFilter(text="x")):
        _pages(search, selected, 1)


@pytest.mark.parametrize(
    "cursor", ["", "x", "00", b"[]".hex(), b'["\xff",1]'.hex(), b'["z~",{}]'.hex()]
)
def test_a_cursor_of_another_kind_is_an_error(search: Search, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        search.page(JobFilter(), 10, cursor)


def test_a_cursor_of_another_search_is_an_error(keys: Keys, broker: Broker, search: Search) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    for position in ('"text"', '["x","y"]', "-5.5"):
        cursor = f'["{keys.queue("normal")}",{position}]'.encode().hex()
        with pytest.raises(InvalidCursor):
            search.page(JobFilter(state="pending"), 10, cursor)
