"""What the api takes and gives, as types: read and written by msgspec, shown in the OpenAPI.

A payload stays the bytes that the caller sent: nothing in it is read or written anew.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec

from bananas_topology.api.problems import Problem
from bananas_topology.client import NewJob
from bananas_topology.contract.worker import JOB_TYPE_PATTERN, MAX_RETRIES, PRIORITIES
from bananas_topology.jobs.job import MAX_ID_LENGTH

#: Jobs in one request at the most.
MAX_JOBS = 10_000

_JobType = Annotated[
    str, msgspec.Meta(pattern=f"^{JOB_TYPE_PATTERN}$", description="The job type, as in `@job`.")
]
_Id = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_ID_LENGTH,
        description="An id of your own makes the request safe to repeat.",
    ),
]
# A pattern and not an enum: the error says what was expected.
_Priority = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^({'|'.join(PRIORITIES)})$", extra_json_schema={"enum": list(PRIORITIES)}
    ),
]
_Delay = Annotated[str, msgspec.Meta(description="How long to wait from now, such as `5m`.")]
_At = Annotated[datetime, msgspec.Meta(tz=True, description="When to run, with a time zone.")]
_MaxRetries = Annotated[int, msgspec.Meta(ge=0, le=MAX_RETRIES)]


class NewJobBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job to enqueue."""

    name: _JobType
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    priority: _Priority = "normal"
    id: _Id | None = None
    delay: _Delay | None = None
    at: _At | None = None
    max_retries: _MaxRetries | None = None

    def job(self) -> NewJob:
        """The job as the client takes it."""
        return NewJob(
            self.name,
            None if self.payload is msgspec.UNSET else self.payload,
            self.priority,
            self.id,
            self.delay,
            self.at,
            self.max_retries,
        )


def read_jobs(body: bytes) -> tuple[list[NewJob], bool]:
    """The jobs of a request, and whether it had a list of them.

    Raises:
        Problem: the body is no job and no list of jobs; nothing of it is enqueued.
    """
    is_list = body.lstrip()[:1] == b"["
    try:
        body.decode()  # a payload is passed on unread, but never with bytes that are no text
        bodies = _LIST.decode(body) if is_list else [_ONE.decode(body)]
    except msgspec.ValidationError as error:
        # It is a DecodeError too, so it goes first.
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"not a job: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
    if len(bodies) > MAX_JOBS:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{len(bodies)} jobs in one request; expected {MAX_JOBS} at the most",
        )
    return [each.job() for each in bodies], is_list


_ONE = msgspec.json.Decoder(NewJobBody)
_LIST = msgspec.json.Decoder(list[NewJobBody])
