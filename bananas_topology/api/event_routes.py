"""The route of server-sent events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from bananas_topology.api.answers import answers, content
from bananas_topology.api.connections import STREAMING, ClientConnection
from bananas_topology.api.event_feed import EventFeed, Subscriber
from bananas_topology.api.problems import Problem
from bananas_topology.jobs.events import EventId

#: Clients of one process that may follow events at a time, unless these would be more than half of
#: its connections.
MAX_CLIENTS = 200

router = APIRouter(tags=["operations"])

_AFTER = Query(description="As the header Last-Event-ID, for clients that cannot send it.")
_LAST = Header(description="`id` of the last event received: those after it are sent.")


class EventStream(StreamingResponse):
    """A response that passes on events until its client hangs up or the API stops."""

    def __init__(self, feed: EventFeed, subscriber: Subscriber) -> None:
        # A proxy that gathers responses, such as nginx, would hold events back.
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(subscriber.stream(), headers=headers, media_type="text/event-stream")
        self._feed = feed
        self._subscriber = subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[STREAMING] = True
        self._feed.join(self._subscriber)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave(self._subscriber)


@router.get(
    "/events",
    responses=answers(
        content({"type": "string"}, "text/event-stream"), HTTPStatus.UNPROCESSABLE_ENTITY
    ),
)
async def get_events(
    request: Request,
    after: Annotated[str, _AFTER] = "",
    last_event_id: Annotated[str, _LAST] = "",
) -> Response:
    """Follow what happens, as server-sent events.

    `counters` (CountersJson) about once a second while they change, and at least every 5 seconds;
    `job` (JobEventJson) for jobs that finish, at high rates a sample; `worker` (WorkerEventJson)
    for workers that come and go; `unavailable` with the `detail` while Redis is away, until the
    next `counters`; `reset` if events were missed: read everything again.
    """
    feed: EventFeed = request.app.state.api.events
    limit = min(MAX_CLIENTS, ClientConnection.limit // 2)
    if len(feed) >= limit:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{limit} clients follow events already; try again later, or another replica",
        )
    text = last_event_id or after
    # What is no id is as good as one that is too old.
    known = EventId.parse(text) or EventId(0, 0) if text else None
    return EventStream(feed, Subscriber(known))
