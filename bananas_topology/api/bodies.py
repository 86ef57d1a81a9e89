"""Request bodies: decoded by msgspec and published in the OpenAPI document.

A payload keeps the bytes sent by the caller; it is never decoded.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec

from bananas_topology.api.problems import Problem
from bananas_topology.client import NewJob
from bananas_topology.contract.values import JOB_TYPE_PATTERN, MAX_RETRIES, PRIORITIES
from bananas_topology.jobs.job import MAX_ID_LENGTH

#: Maximum number of jobs in one request.
MAX_JOBS = 10_000

_JobType = Annotated[
    str, msgspec.Meta(pattern=f"^{JOB_TYPE_PATTERN}$", description="Job type, as in `@job`.")
]
_Id = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_ID_LENGTH,
        description="Idempotency key; generated if omitted.",
    ),
]
# A pattern instead of an enum, so that the error message lists the expected values.
_Priority = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^({'|'.join(PRIORITIES)})$", extra_json_schema={"enum": list(PRIORITIES)}
    ),
]
_Delay = Annotated[str, msgspec.Meta(description="Delay before the job runs, such as `5m`.")]
_At = Annotated[
    datetime, msgspec.Meta(tz=True, description="Time to run the job, with a time zone.")
]
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
        """Convert to a job for the client."""
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
    """Parse the jobs of a request; returns them and whether the body was a list.

    Raises:
        Problem: the body is neither a job nor a list of jobs.
    """
    is_list = body.lstrip()[:1] == b"["
    try:
        body.decode()  # payloads are not decoded, so check here that they are valid UTF-8
        bodies = _LIST.decode(body) if is_list else [_ONE.decode(body)]
    except msgspec.ValidationError as error:
        # A subclass of DecodeError, so it comes first.
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"not a valid job: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not valid JSON: {error}") from error
    if len(bodies) > MAX_JOBS:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"expected at most {MAX_JOBS} jobs in one request, got {len(bodies)}",
        )
    return [each.job() for each in bodies], is_list


_ONE = msgspec.json.Decoder(NewJobBody)
_LIST = msgspec.json.Decoder(list[NewJobBody])
