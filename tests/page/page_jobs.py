"""Handlers of the workers that the page shows."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from bananas_topology import job


@dataclass(frozen=True, slots=True)
class Address:
    city: str
    zip: Annotated[str, Meta(pattern=r"^\d{5}$")]


@dataclass(frozen=True, slots=True)
class Order:
    number: Annotated[int, Meta(ge=1, description="As on the invoice.")]
    address: Address
    note: str | None = None
    express: bool = True
    items: list[str] = field(default_factory=list)
    carrier: Literal["post", "courier"] = "courier"
    labels: dict[str, int] = field(default_factory=dict)


@job("ship_order", max_retries=0)
def ship_order(order: Order) -> str:
    return repr(order)


@dataclass(frozen=True, slots=True)
class Mail:
    to: str


@job("send_email", max_retries=0)
def send_email(mail: Mail) -> str:
    if "@" not in mail.to:
        raise ValueError(f"{mail.to} is not an address")
    return f"sent to {mail.to}"


@job("echo", max_retries=0)
def echo(payload: Any) -> Any:
    return payload


@job("render_video", max_retries=0, timeout="2m")
def render_video(payload: float) -> str:
    until = time.monotonic() + payload
    while time.monotonic() < until:
        time.sleep(0.01)
    return "rendered"


@job("fragile", max_retries=0)
def fragile(payload: int) -> int:
    if os.environ.get("PAGE_JOBS_BROKEN"):
        raise RuntimeError("broken")
    return payload


@job("fail_with", max_retries=0)
def fail_with(payload: dict[str, Any]) -> None:
    raise ValueError(" ".join(map(str, payload.values())))


@job("digest")
def digest(payload: Any) -> str:
    return hashlib.sha256(json.dumps(payload).encode()).hexdigest()
