"""The body of the requests that retry or purge dead jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec

from bananas_topology.api.parsing import decoding, duration_ms
from bananas_topology.api.problems import Problem
from bananas_topology.jobs.dead import DeadFilter

_Ids = Annotated[list[str], msgspec.Meta(min_length=1, max_length=10_000)]


class DeadSelection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dead jobs to retry or purge: those that match all criteria, or `all`.

    With `dry_run` they are only counted.
    """

    ids: _Ids | None = None
    type: str | None = None
    error: Annotated[str, msgspec.Meta(description="Text in the error.")] | None = None
    older_than: (
        Annotated[str, msgspec.Meta(description="Time since they died, such as `24h`.")] | None
    ) = None
    all: bool = False
    dry_run: bool = False

    def filter(self) -> DeadFilter:
        """The jobs selected.

        Raises:
            Problem: 422, no criterion and not `all`, or both.
        """
        criteria = (self.ids, self.type, self.error, self.older_than)
        if self.all == any(each is not None for each in criteria):
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "expected ids, type, error or older_than, or all: true for all dead jobs",
            )
        ids = None if self.ids is None else frozenset(self.ids)
        return dead_filter(ids, self.type, self.error, self.older_than)


def dead_filter(
    ids: frozenset[str] | None, job_type: str | None, error: str | None, older_than: str | None
) -> DeadFilter:
    """A filter with a duration as text.

    Raises:
        Problem: 422, it is not a duration.
    """
    older_than_ms = None if older_than is None else duration_ms("older_than", older_than)
    return DeadFilter(ids, job_type, error, older_than_ms)


def read_selection(body: bytes) -> DeadSelection:
    """Parse the body of a request.

    Raises:
        Problem: it is not one.
    """
    with decoding("body"):
        return _SELECTION.decode(body)


_SELECTION = msgspec.json.Decoder(DeadSelection)
