"""Responses of JSON, encoded by msgspec."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Response


def json_response(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Encode a response."""
    return encoded_response(msgspec.json.encode(value), status)


def encoded_response(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Make a response from encoded JSON."""
    return Response(body, status, media_type="application/json")
