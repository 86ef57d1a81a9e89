"""Async handlers that harm their event loop, and handlers that set context variables."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bananas_topology import job

log = logging.getLogger("app")
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


async def _raise(error: BaseException) -> None:
    raise error


@job("bad", max_retries=0)
async def bad(how: str) -> str:
    loop = asyncio.get_running_loop()
    match how:
        case "exit in a task":
            await asyncio.gather(asyncio.create_task(_raise(SystemExit(3))))
        case "exit in a forgotten task":
            task = asyncio.create_task(_raise(SystemExit(3)))
            await asyncio.sleep(30)
            await task
        case "interrupt in a task":
            await asyncio.create_task(_raise(KeyboardInterrupt()))
        case "exit in a callback":
            loop.call_soon(sys.exit)
        case "stop":
            loop.stop()
        case "break" | "block and break":
            if how != "break":
                time.sleep(0.1)
            os.close(loop._selector.fileno())  # type: ignore[attr-defined]  # private
        case "replace":
            # Unlike a closed descriptor, no other thread gets this one meanwhile.
            with open(os.devnull) as other:
                os.dup2(other.fileno(), loop._selector.fileno())  # type: ignore[attr-defined]
    await asyncio.sleep(0.1)
    return "went on"


@job("good", max_retries=0)
async def good(payload: float) -> str:
    await asyncio.sleep(payload)
    return "fine"


@job("block", max_retries=0)
async def block(payload: str) -> str:
    """Block the loop as long as a file is there."""
    while Path(payload).exists():
        time.sleep(0.01)
    return "unblocked"


@job("block_in_task", max_retries=0)
async def block_in_task(payload: str) -> str:
    return await asyncio.create_task(block(payload))


@job("hang", timeout="300ms", max_retries=0)
async def hang(payload: Any) -> None:
    time.sleep(600)


@job("set")
def set_(payload: Any) -> None:
    tenant.set("acme")
    decimal.getcontext().prec = 3


@job("async_set")
async def async_set(payload: Any) -> None:
    tenant.set("acme")
    decimal.getcontext().prec = 3


def _seen() -> list[str]:
    return [tenant.get(), str(decimal.Decimal(1) / decimal.Decimal(3))]


@job("get")
def get(payload: Any) -> list[str]:
    return _seen()


@job("async_get")
async def async_get(payload: Any) -> list[str]:
    seen: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: seen.set_result(_seen()))
    return await seen


def _set_first(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrapper(payload: Any) -> Any:
        set_(payload)
        return function(payload)

    return wrapper


@job("wrapped_get")
@_set_first
async def wrapped_get(payload: Any) -> list[str]:
    await asyncio.sleep(0)
    return _seen()


@job("log")
def log_(payload: str) -> None:
    log.warning(payload)


@job("async_log")
async def async_log(payload: str) -> None:
    await asyncio.sleep(0)
    await asyncio.to_thread(log.warning, payload)
