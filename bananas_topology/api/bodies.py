"""Request bodies: decoded by msgspec and published in the OpenAPI document.

A payload keeps the bytes sent by the caller; it is never decoded.
"""

from __future__ import annotations

import re
import threading
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec

from bananas_topology.api.parsing import decoding
from bananas_topology.api.problems import Problem
from bananas_topology.client import NewJob, check_job
from bananas_topology.contract.values import JOB_TYPE_PATTERN, MAX_RETRIES, PRIORITIES
from bananas_topology.jobs.job import MAX_ID_LENGTH, new_id

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


class _Decoding(threading.local):
    """State of the request that a thread decodes."""

    jobs_left = 0


_decoding = _Decoding()


class NewJobBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job to enqueue."""

    name: _JobType
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    priority: _Priority = "normal"
    id: _Id | None = None
    delay: _Delay | None = None
    at: _At | None = None
    max_retries: _MaxRetries | None = None

    def __post_init__(self) -> None:
        # Counted while decoding: decoding a million of them first would delay all requests.
        _decoding.jobs_left -= 1
        if _decoding.jobs_left < 0:
            raise ValueError(f"expected at most {MAX_JOBS} jobs in one request")

    def job(self) -> NewJob:
        """Convert to a job for the client, with an id, so that it is safe to enqueue repeatedly."""
        return NewJob(
            self.name,
            None if self.payload is msgspec.UNSET else self.payload,
            self.priority,
            new_id() if self.id is None else self.id,
            self.delay,
            self.at,
            self.max_retries,
        )


def read_jobs(body: bytes) -> tuple[list[NewJob], bool]:
    """Parse the jobs of a request; returns them and whether the body was a list.

    Raises:
        Problem: the body is neither a job nor a list of jobs, or an id is not valid.
        InvalidJob: a time or a delay is not valid.
    """
    is_list = body.lstrip()[:1] == b"["
    _decoding.jobs_left = MAX_JOBS
    with decoding("job"):
        body.decode()  # payloads are not decoded, so check here that they are valid UTF-8
        bodies = _LIST.decode(body) if is_list else [_ONE.decode(body)]
    return [_checked_job(each) for each in bodies], is_list


def _checked_job(body: NewJobBody) -> NewJob:
    """Convert a job, and validate what its types do not."""
    if body.id is not None and (body.id in (".", "..") or _CONTROL.search(body.id)):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "id: expected an id that a URL can name: no control characters, not . and not .., "
            f"got {body.id!r}",
        )
    job = body.job()
    if job.delay is not None or job.at is not None:
        check_job(job)
    return job


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ONE = msgspec.json.Decoder(NewJobBody)
_LIST = msgspec.json.Decoder(list[NewJobBody])
