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

#: Maximum number of subscribers of one process, and at most half of its connections.
MAX_SUBSCRIBERS = 200

router = APIRouter(tags=["operations"])

_AFTER = Query(description="Same as the header Last-Event-ID, for clients that cannot send it.")
_LAST = Header(description="`id` of the last received event; later ones are sent.")


class EventStream(StreamingResponse):
    """A response that ends when its client disconnects or the API stops."""

    def __init__(self, feed: EventFeed, subscriber: Subscriber) -> None:
        # nginx would buffer the events otherwise.
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
    response_class=Response,  # otherwise, the OpenAPI document names JSON, too
    responses=answers(
        content({"type": "string"}, "text/event-stream"), HTTPStatus.UNPROCESSABLE_ENTITY
    ),
)
async def get_events(
    request: Request,
    after: Annotated[str, _AFTER] = "",
    last_event_id: Annotated[str, _LAST] = "",
) -> Response:
    """Subscribe to server-sent events.

    `counters` (CountersJson) about once a second while they change, and at least every 5 seconds;
    `job` (JobEventJson) for finished jobs, a sample at high rates; `worker` (WorkerEventJson) for
    workers that join or leave; `unavailable`, with a `detail`, when Redis cannot be reached, until
    the next `counters`; `reset` if events were lost: fetch everything again.
    """
    feed: EventFeed = request.app.state.api.events
    limit = min(MAX_SUBSCRIBERS, ClientConnection.limit // 2)
    if len(feed) >= limit:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"expected at most {limit} subscribers of events in one process; try again later",
        )
    text = last_event_id or after
    # Anything else is treated as an id that is too old.
    known = EventId.parse(text) or EventId(0, 0) if text else None
    return EventStream(feed, Subscriber(known))
