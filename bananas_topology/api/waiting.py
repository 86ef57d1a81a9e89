"""Requests that wait for jobs.

Each has a thread. It ends at once if the client hangs up or the API stops, and frees its place for
another client.
"""

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import anyio.to_thread
from fastapi import Request

from bananas_topology.api.service import Service
from bananas_topology.client import Patience

#: Concurrent requests waiting for jobs; further ones do not wait.
MAX_WAITING = 100

#: Seconds after which a wait notices that it must end.
NOTICE_S = 0.2


class WaitingRoom:
    """Lets requests wait for jobs. For use by the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waits: set[Patience] = set()
        self._threads = anyio.CapacityLimiter(MAX_WAITING)
        self._is_closed = False

    async def job(self, request: Request, job_id: str, wait_s: float) -> bytes | None:
        """The JSON of a job, after waiting for it to finish; None if the client has hung up.

        Raises:
            JobNotFound, RedisUnavailable, RedisUnsuitable: as the service.
        """
        if wait_s <= 0 or self._is_closed or len(self._waits) >= MAX_WAITING:
            return await anyio.to_thread.run_sync(self._service.job, job_id)
        patience = Patience(wait_s, NOTICE_S)
        self._waits.add(patience)
        watch = asyncio.create_task(_end_when_client_is_gone(request, patience))
        try:
            wait = partial(self._service.finished_job, job_id, patience)
            job = await anyio.to_thread.run_sync(wait, limiter=self._threads)
            return None if watch.done() else job
        finally:
            watch.cancel()
            self._waits.discard(patience)

    def close(self) -> None:
        """End all waits, now and in future: each request is answered with the job as it is."""
        self._is_closed = True
        for patience in self._waits:
            patience.end()


async def _end_when_client_is_gone(request: Request, patience: Patience) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    patience.end()
