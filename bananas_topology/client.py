"""The producer's API: enqueue jobs, inspect them, wait for their results.

A client is thread-safe and holds a pool of connections: create one and reuse it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from redis.client import PubSub

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import (
    InvalidJob,
    JobFailed,
    RedisFull,
    RedisUnavailable,
    RequestRejected,
    ResultNotFound,
    WaitTimeout,
    WrongJobState,
)
from bananas_topology.handlers import Duration, delay_to_ms
from bananas_topology.jobs.access import ServerUrl
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.calls import LARGE_BYTES
from bananas_topology.jobs.connection import PRODUCER_TIMEOUT_S, connect, translate_errors
from bananas_topology.jobs.inspect import Inspector, JobView
from bananas_topology.jobs.job import EncodedJob, encode_new, new_id
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic, sleep, wall_now
from bananas_topology.units import MAX_DURATION_MS

#: Maximum number of jobs that `enqueue_many` sends in one round trip.
BATCH = 500

#: Total size of jobs, in bytes, at which a smaller batch is sent.
BATCH_BYTES = 4 * 2**20

#: Seconds between attempts of operations that are safe to retry, while the server is unavailable.
RETRY_DELAYS_S = (0.05, 0.25, 1.0)

#: Seconds after which an operation is not attempted again. An attempt that gets no reply takes
#: longer than that, so it is the last one.
RETRY_FOR_S = 1.3

#: How far ahead a job may be delayed.
_FURTHEST = timedelta(milliseconds=MAX_DURATION_MS)

#: Seconds between polls of a job that `wait` waits for, in case its notification was missed.
POLL_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue; see `Client.enqueue` for the fields."""

    job_type: str
    payload: Any = None
    priority: str = "normal"
    id: str | UUID | None = None
    delay: Duration | None = None
    at: datetime | None = None
    max_retries: int | None = None


class Patience:
    """How long to wait for a job. Another thread may end it, which takes up to `notice_s`."""

    def __init__(self, wait_s: float, notice_s: float = POLL_S) -> None:
        self.notice_s = notice_s
        self._until = monotonic() + wait_s

    @property
    def left_s(self) -> float:
        """Seconds left; infinite without a limit, and not positive at the end."""
        return self._until - monotonic()

    def end(self) -> None:
        """Wait no longer."""
        self._until = -math.inf


class Client:
    """A producer's connection to one deployment: a server and a key prefix.

    Raises (every method):
        RedisUnavailable: the server cannot be reached. Methods that do not wait for a job try for
            about a second, and raise within three even if the server accepts connections and does
            not reply.
        RedisUnsuitable: the URL is not valid, or the server rejects the request.
    """

    def __init__(
        self, url: str | ServerUrl = "redis://localhost:6379", *, key_prefix: str = "bananas"
    ) -> None:
        self._redis = connect(url, key_prefix=key_prefix, timeout_s=PRODUCER_TIMEOUT_S)
        self._keys = Keys(key_prefix)
        self._broker = Broker(self._redis, self._keys)
        self._inspector = Inspector(self._redis, self._keys)

    @classmethod
    def from_env(cls) -> Self:
        """Create a client from the variables that workers read.

        These are REDIS_URL or REDIS_URL_FILE, REDIS_PASSWORD_FILE, and REDIS_KEY_PREFIX.
        """
        url = ServerUrl.from_env(os.environ) or ServerUrl(_DEFAULTS.redis_url)
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
        id: str | UUID | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        max_retries: int | None = None,
    ) -> str:
        """Enqueue one job and return its id.

        `id` is an idempotency key: while a job with this id is stored, nothing is enqueued again.
        `delay` from now, or `at`, a time with a time zone, delays the job, unless it has passed (a
        negative delay). `max_retries` overrides the handler, the topology and the pool.

        Raises:
            InvalidJob: a value is not valid; the message says what was expected.
            RequestRejected: the server does not accept the job, because of its size for example.
            RedisFull: the server is out of memory.
        """
        job = _encode(job_type, payload, priority, id, delay, at, max_retries)
        self._send((job,))
        return job.job_id

    def enqueue_many(self, jobs: Iterable[NewJob]) -> list[str]:
        """Enqueue jobs, up to `BATCH` per round trip, and return their ids in the same order.

        Raises:
            InvalidJob: see `enqueue`; the batches before the invalid job are enqueued.
            RequestRejected, RedisFull: see `enqueue`; the jobs before that one are enqueued.
        """
        ids: list[str] = []
        for batch in _batches(_encode_job(job) for job in jobs):
            self._send(batch)
            ids += [job.job_id for job in batch]
        return ids

    def get(self, job_id: str | UUID) -> JobView:
        """Read one job: its status, times, and result or failure.

        Raises:
            JobNotFound: no job has this id, or its retention has expired.
        """
        return self._with_retries(lambda: self._inspector.job(str(_plain(job_id))))

    def cancel(self, job_id: str | UUID) -> None:
        """Delete a job that has not started: one that is ready, delayed, or due to be retried.

        Raises:
            JobNotFound: no job has this id.
            WrongJobState: it runs, has completed, or is dead.
        """
        # Not retried: after a lost reply, the job would no longer be found.
        if not self._broker.cancel(str(_plain(job_id))):
            status = self.get(job_id).status
            raise WrongJobState(
                f'job "{job_id}" is {status}: only jobs that have not started can be cancelled'
            )

    def results(self, job_ids: Iterable[str | UUID]) -> dict[str, Any]:
        """Read the results, by id, of the jobs among these that have completed."""
        return self._with_retries(
            lambda: self._inspector.results([str(_plain(job_id)) for job_id in job_ids])
        )

    def wait(self, job_id: str | UUID, timeout: Duration | None = None) -> Any:
        """Wait until a job has finished and return its result.

        Raises:
            JobFailed: the job is dead; the message is its error.
            JobNotFound: no job has this id, or its retention has expired.
            ResultNotFound: it has completed, but its result has expired, or was not to be kept.
            WaitTimeout: it has not finished after `timeout`.
            ValueError: `timeout` is not a duration.
        """
        try:
            wait_s = math.inf if timeout is None else delay_to_ms(timeout) / 1000
        except ValueError as error:
            raise ValueError(f"timeout: {error}, got {timeout!r}") from error
        view = self.await_end(str(_plain(job_id)), Patience(wait_s))
        if view.status == "completed" and view.has_result:
            return view.result
        if view.status == "completed":
            raise ResultNotFound(
                f"job {job_id} has completed, but its result is not stored: it has expired, or "
                "results are not kept"
            )
        if view.status == "failed":
            raise JobFailed(view.error or f"job {job_id} is dead")
        raise WaitTimeout(f"job {job_id} is still {view.status} after {timeout}")

    def await_end(self, job_id: str, patience: Patience) -> JobView:
        """Read a job once it has finished, or there is no patience left.

        Goes on after outages of about a second.

        Raises:
            JobNotFound: no job has this id, or its retention has expired.
        """
        while True:
            try:
                return self._wait_for_end(job_id, patience)
            except RedisUnavailable:
                if patience.left_s <= 0:
                    raise
                self.get(job_id)
                sleep(RETRY_DELAYS_S[0])

    def _wait_for_end(self, job_id: str, patience: Patience) -> JobView:
        channels = PubSub(self._redis.connection_pool)
        with translate_errors(self._redis), channels as channel:
            # Subscribe before the first read, so that no notification is missed in between. Until
            # the subscription is confirmed, a read on another connection may overtake it.
            channel.subscribe(self._keys.notify(job_id))
            channel.get_message(timeout=POLL_S)
            while True:
                view = self._inspector.job(job_id)
                if view.status in ("completed", "failed") or patience.left_s <= 0:
                    return view
                _wait_for_message(channel, patience)

    def _send(self, jobs: Sequence[EncodedJob]) -> None:
        """Enqueue jobs together or, if the server rejects that, in ever smaller parts."""
        try:
            self._with_retries(partial(self._broker.enqueue, jobs))
        except (RequestRejected, RedisUnavailable) as error:
            if isinstance(error, RedisUnavailable) and not self._is_closed_for_size(error, jobs):
                raise
            if len(jobs) == 1:
                [job] = jobs
                name = f"{job.job_type} job {job.job_id} of {len(job.body):,} bytes"
                raise RequestRejected(f"cannot enqueue {name}: {error}") from error
            middle = len(jobs) // 2
            self._send(jobs[:middle])
            self._send(jobs[middle:])

    def _is_closed_for_size(self, error: RedisUnavailable, jobs: Sequence[EncodedJob]) -> bool:
        """Whether the server works, and closes the connection because of the size of the jobs."""
        # Of the built-in class, as opposed to a connection that was refused or has timed out.
        is_closed = isinstance(error.__cause__, ConnectionError)
        if not is_closed or sum(len(job.body) for job in jobs) < LARGE_BYTES:
            return False
        try:
            self._broker.now()
        except RedisUnavailable:
            return False
        return True

    def _with_retries(self, action: Callable[[], T]) -> T:
        """Run an action that is safe to repeat, retrying while the server is unavailable."""
        started = monotonic()
        for delay_s in RETRY_DELAYS_S:
            try:
                return action()
            except RedisFull:
                raise  # it lasts
            except RedisUnavailable:
                if monotonic() - started > RETRY_FOR_S:
                    raise
                sleep(delay_s)
        return action()


def check_job(job: NewJob) -> None:
    """Validate a job without a server.

    Raises:
        InvalidJob: a value is not valid; the message says what was expected.
    """
    _encode_job(job)


def _wait_for_message(channel: Any, patience: Patience) -> None:
    """Wait for a message up to `POLL_S`, ignoring a late confirmation of the subscription."""
    until = monotonic() + POLL_S
    while (left := min(until - monotonic(), patience.left_s)) > 0:
        message = channel.get_message(timeout=min(left, patience.notice_s))
        if message is not None and message["type"] == "message":
            return


def _encode(
    job_type: str,
    payload: Any,
    priority: str,
    id: str | UUID | None,
    delay: Duration | None,
    at: datetime | None,
    max_retries: int | None,
) -> EncodedJob:
    now = wall_now()
    due, scheduled_for = "", None
    if delay is not None or at is not None:
        due, scheduled_for = _due(job_type, delay, at, now)
    job_type, priority = _plain(job_type), _plain(priority)
    job_id = new_id() if id is None else _plain(id)
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


def _plain(value: Any) -> Any:
    """The text of a UUID, or of an enum or another class that is a str."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    return str(value) if isinstance(value, UUID) else value


def _encode_job(job: NewJob) -> EncodedJob:
    return _encode(
        job.job_type, job.payload, job.priority, job.id, job.delay, job.at, job.max_retries
    )


def _due(
    job_type: str, delay: Duration | None, at: datetime | None, now: datetime
) -> tuple[str, datetime | None]:
    """A job's due time: the script's argument (see `EncodedJob`), and the time for its JSON."""
    if delay is not None and at is not None:
        raise InvalidJob(f"{job_type}: expected a delay or a time, got both")
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            shown = at.isoformat() if isinstance(at, datetime) else repr(at)
            raise InvalidJob(f"at: expected a time with a time zone such as UTC, got {shown}")
        if at > now + _FURTHEST:
            raise InvalidJob(f"at: expected a time in the next 100 years, got {at.isoformat()}")
        return (f"{at.timestamp():.6f}", at.astimezone(UTC)) if at > now else ("", None)
    try:
        delay_ms = 0 if delay is None else delay_to_ms(delay)
    except ValueError as error:
        raise InvalidJob(f"delay: {error}, got {delay!r}") from error
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
