"""What producers use: enqueue jobs, look at them, wait for their results.

A client is thread-safe and holds a pool of connections; make one and keep it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.client import PubSub

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import InvalidJob, JobFailed, RedisUnavailable, WaitTimeout
from bananas_topology.handlers import Duration, duration_ms
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import connect, translate_errors
from bananas_topology.jobs.inspect import Inspector, JobView
from bananas_topology.jobs.job import EncodedJob, encode_new, new_id
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic, sleep, wall_now

#: Jobs that `enqueue_many` sends in one call to the server.
BATCH = 500

#: Bytes of jobs after which a batch is sent although it has fewer than `BATCH`.
BATCH_BYTES = 4 * 2**20

#: Seconds between the tries of what is safe to repeat when the server does not answer.
RETRY_DELAYS_S = (0.05, 0.25, 1.0)

#: Seconds between looks at a job we wait for: only in case its notification was missed.
LOOK_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue: see `Client.enqueue` for the fields."""

    job_type: str
    payload: Any = None
    priority: str = "normal"
    id: str | None = None
    delay: Duration | None = None
    at: datetime | None = None
    max_retries: int | None = None


class Client:
    """A producer's connection to one Bananas: a server and a key prefix.

    Raises (every method):
        RedisUnavailable: the server cannot be reached.
        RedisUnsuitable: the URL is not one, or the server refuses us.
    """

    def __init__(self, url: str = "redis://localhost:6379", *, key_prefix: str = "bananas") -> None:
        self._redis = connect(url, key_prefix=key_prefix)
        self._keys = Keys(key_prefix)
        self._broker = Broker(self._redis, self._keys)
        self._inspector = Inspector(self._redis, self._keys)

    @classmethod
    def from_env(cls) -> Self:
        """Make a client of REDIS_URL and REDIS_KEY_PREFIX, as the workers are given them."""
        url = os.environ.get("REDIS_URL") or _DEFAULTS.redis_url
        return cls(url, key_prefix=os.environ.get("REDIS_KEY_PREFIX") or _DEFAULTS.key_prefix)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._broker.close()
        self._redis.close()

    def enqueue(
        self,
        job_type: str,
        payload: Any = None,
        *,
        priority: str = "normal",
        id: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        max_retries: int | None = None,
    ) -> str:
        """Enqueue one job and return its id.

        `id` of your own makes it safe to repeat: while a job with that id is kept, nothing is
        enqueued again. `delay` from now, or `at` a moment with a time zone, schedules it.
        `max_retries` wins over what handler, topology and pool say.

        Raises:
            InvalidJob: a value that cannot be, with what was expected.
        """
        job = _encode(job_type, payload, priority, id, delay, at, max_retries)
        self._safely(partial(self._broker.enqueue, (job,)))
        return job.job_id

    def enqueue_many(self, jobs: Iterable[NewJob]) -> list[str]:
        """Enqueue jobs, `BATCH` in a round trip, and return their ids in the same order.

        Raises:
            InvalidJob: as `enqueue`; the batches before the one with that job are enqueued.
        """
        ids: list[str] = []
        for batch in _batches(_encoded(job) for job in jobs):
            self._safely(partial(self._broker.enqueue, batch))
            ids += [job.job_id for job in batch]
        return ids

    def get(self, job_id: str) -> JobView:
        """Look at one job: its status, times, result or failure.

        Raises:
            JobNotFound: no job has that id, or not any more.
        """
        return self._safely(lambda: self._inspector.job(job_id))

    def results(self, job_ids: Iterable[str]) -> dict[str, Any]:
        """Read the results of those of the jobs that have completed, by id."""
        return self._safely(lambda: self._inspector.results(list(job_ids)))

    def wait(self, job_id: str, timeout: Duration | None = None) -> Any:
        """Wait until a job is done and return its result (None where results are not stored).

        Raises:
            JobFailed: the job is dead; the message is its error.
            JobNotFound: no job has that id, or not any more.
            WaitTimeout: it is not done after `timeout`.
        """
        deadline = None if timeout is None else monotonic() + duration_ms(timeout) / 1000
        view = self._safely(lambda: self._await_end(job_id, deadline))
        if view.status == "completed":
            return view.result
        if view.status == "failed":
            raise JobFailed(view.error or f"job {job_id} is dead")
        raise WaitTimeout(f"job {job_id} is {view.status} after {timeout}")

    def _await_end(self, job_id: str, deadline: float | None) -> JobView:
        """Look at a job until it has ended or the deadline is over."""
        channels = PubSub(self._redis.connection_pool)
        with translate_errors(self._redis), channels as channel:
            # Subscribed before the first look, so that no notification falls between the two; what
            # another connection asks may overtake it until it is confirmed.
            channel.subscribe(self._keys.notify(job_id))
            channel.get_message(timeout=LOOK_S)
            while True:
                view = self._inspector.job(job_id)
                left = LOOK_S if deadline is None else min(LOOK_S, deadline - monotonic())
                if view.status in ("completed", "failed") or left <= 0:
                    return view
                _await_message(channel, left)

    def _safely(self, action: Callable[[], T]) -> T:
        """Do what may be done twice, again if the server does not answer."""
        for delay_s in RETRY_DELAYS_S:
            try:
                return action()
            except RedisUnavailable:
                sleep(delay_s)
        return action()


def check_job(job: NewJob) -> None:
    """Find out whether a job could be enqueued, without a server.

    Raises:
        InvalidJob: it could not, with what was expected.
    """
    _encoded(job)


def _await_message(channel: Any, seconds: float) -> None:
    """Wait for a message; a late confirmation of the subscription does not count."""
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0:
        message = channel.get_message(timeout=left)
        if message is not None and message["type"] == "message":
            return


def _encode(
    job_type: str,
    payload: Any,
    priority: str,
    id: str | None,
    delay: Duration | None,
    at: datetime | None,
    max_retries: int | None,
) -> EncodedJob:
    now = wall_now()
    due, scheduled_for = "", None
    if delay is not None or at is not None:
        due, scheduled_for = _due(job_type, delay, at, now)
    job_id = new_id() if id is None else id
    body = encode_new(
        job_id=job_id,
        job_type=job_type,
        payload=payload,
        priority=priority,
        max_retries=max_retries,
        scheduled_for=scheduled_for,
        now=now,
    )
    return EncodedJob(job_id, body, priority, job_type, due)


def _encoded(job: NewJob) -> EncodedJob:
    what = (job.job_type, job.payload, job.priority, job.id)
    return _encode(*what, job.delay, job.at, job.max_retries)


def _due(
    job_type: str, delay: Duration | None, at: datetime | None, now: datetime
) -> tuple[str, datetime | None]:
    """When a job is due, as the script takes it, and as its JSON says it."""
    if delay is not None and at is not None:
        raise InvalidJob(f"{job_type} has both a delay and a time; expected one of them")
    if at is not None:
        if at.tzinfo is None:
            raise InvalidJob(f"{at.isoformat()} has no time zone; expected one, such as UTC")
        try:
            return f"{at.timestamp():.6f}", at.astimezone(UTC)
        except OverflowError as error:
            raise InvalidJob(f"{at.isoformat()} is no time in UTC: {error}") from error
    try:
        delay_ms = duration_ms(delay or 0)
    except ValueError as error:
        raise InvalidJob(f"the delay is {delay!r}: {error}") from error
    return (f"+{delay_ms}", now + timedelta(milliseconds=delay_ms)) if delay_ms else ("", None)


def _batches(jobs: Iterable[EncodedJob]) -> Iterator[list[EncodedJob]]:
    batch: list[EncodedJob] = []
    size = 0
    for job in jobs:
        batch.append(job)
        size += len(job.body)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


_DEFAULTS = WorkerConfig()
