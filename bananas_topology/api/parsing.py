"""Parsing what clients send: what is not valid becomes a problem."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import msgspec

from bananas_topology.api.problems import Problem
from bananas_topology.units import parse_duration_ms


@contextmanager
def decoding(expected: str) -> Iterator[None]:
    """Translate errors of decoding a body, which should be what is `expected`.

    Raises:
        Problem: 400, it is not JSON; or 422, it is JSON of another kind.
    """
    try:
        yield
    except msgspec.ValidationError as error:
        # A subclass of DecodeError, so it comes first.
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"not a valid {expected}: {error}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not valid JSON: {error}") from error


def duration_ms(name: str, text: str) -> int:
    """The milliseconds of a duration, which is the value of the parameter or field `name`.

    Raises:
        Problem: 422, it is not a duration.
    """
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f'{name}: {error}, got "{text}"') from error
