"""Handlers for the worker tests, imported by the workers under test."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bananas_topology import Bury, JobContext, Retry, job

LEAKED: list[bytes] = []


@dataclass
class Mail:
    to: str
    copies: int = 1


@job("echo")
def echo(payload: Any) -> Any:
    return payload


@job("forgotten", keep={"completed": 0, "results": "10m"})
def forgotten(payload: Any) -> Any:
    return payload


@job("forgotten_too", keep={"completed": 0, "results": "10m"})
def forgotten_too(payload: Any) -> Any:
    return payload


@job("repeat")
def repeat(payload: dict[str, Any]) -> str:
    """Return a text that is larger than the payload."""
    return str(payload["text"]) * int(payload["times"])


@job("mail")
def mail(payload: Mail) -> str:
    return f"{payload.copies} to {payload.to}"


@job("sleep")
def sleep(payload: float) -> float:
    time.sleep(payload)
    return payload


def _enter(gate: str, context: JobContext) -> Path:
    """Note that the job runs; returns the file that is to end it. See `Gate` in support.py."""
    (Path(gate) / f"{context.worker_id} {context.job_id}").touch()
    return Path(gate) / "open"


@job("hold")
def hold(payload: str, context: JobContext) -> str:
    is_open = _enter(payload, context).exists
    while not is_open():
        time.sleep(0.01)
    return "done"


@job("async_hold")
async def async_hold(payload: str, context: JobContext) -> str:
    is_open = _enter(payload, context).exists
    while not is_open():
        await asyncio.sleep(0.01)
    return "done"


@job("mark")
def mark(payload: dict[str, Any]) -> None:
    """Append a line to a file after a delay, to record what ran in which order."""
    time.sleep(payload.get("seconds", 0))
    with Path(payload["file"]).open("a") as file:
        file.write(f"{payload['text']}\n")


@job("fail", max_retries=0)
def fail(payload: str) -> None:
    raise ValueError(payload)


@job("ask_again", max_retries=1)
def ask_again(payload: Any) -> None:
    raise Retry("not yet", delay="10ms")


@job("leak")
def leak(payload: int) -> None:
    """Keep so many MiB for the life of the process."""
    LEAKED.append(b"x" * (payload * 2**20))


@job("give_up")
def give_up(payload: Any) -> None:
    raise Bury("no use")


@job("leave", max_retries=0)
def leave(payload: str) -> None:
    if payload == "exit":
        sys.exit(3)
    raise KeyboardInterrupt


@job("odd_error", max_retries=0)
def odd_error(payload: Any) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no message")

    raise Odd


@job("surrogates", max_retries=0)
def surrogates(payload: Any) -> None:
    raise ValueError("\ud800 is a surrogate" * 1000)


@job("deep", max_retries=0)
def deep(payload: Any) -> None:
    deep(payload)


@job("not_json")
def not_json(payload: Any) -> Any:
    return object()


@job("non_finite")
def non_finite(payload: Any) -> Any:
    return [None, {"x": float("inf")}]


@job("late", timeout="100ms", max_retries=0)
def late(payload: Any) -> None:
    while True:
        time.sleep(0.01)


@job("ignore_timeout", timeout="100ms", max_retries=0)
def ignore_timeout(payload: float) -> None:
    """Ignore timeouts for a while."""
    until = time.monotonic() + payload
    while time.monotonic() < until:
        try:
            time.sleep(0.01)
        except BaseException:
            continue


@job("who")
def who(payload: Any, context: JobContext) -> dict[str, Any]:
    return {
        "job_id": context.job_id,
        "attempt": context.attempt,
        "max_retries": context.max_retries,
        "worker_id": context.worker_id,
        "remaining": context.remaining() > 0,
        "cancelled": context.cancelled,
        "pid": os.getpid(),
    }


@job("async_sleep")
async def async_sleep(payload: float) -> float:
    await asyncio.sleep(payload)
    return payload


#: Lets five async handlers go on once all of them run.
MEETING = asyncio.Barrier(5)
MET: set[str] = set()


@job("meet")
async def meet(payload: float, context: JobContext) -> int:
    """Run beside four others for a while; returns how many have been there at once."""
    MET.add(context.job_id)
    await MEETING.wait()
    await asyncio.sleep(payload)
    count = len(MET)
    MET.remove(context.job_id)
    return count


@job("async_late", timeout="100ms", max_retries=0)
async def async_late(payload: Any) -> None:
    await asyncio.sleep(30)


@job("async_fail", max_retries=0)
async def async_fail(payload: str) -> None:
    raise ValueError(payload)


@job("environ")
def environ(payload: str) -> str | None:
    return os.environ.get(payload)


@job("hold_interpreter")
def hold_interpreter(payload: int) -> None:
    print("holding", flush=True)
    # A call into C that does not release the interpreter, unlike those of ctypes.CDLL.
    ctypes.PyDLL(None).sleep(payload)


def _plain(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@job("wrapped_async", max_retries=0, timeout="1s")
@_plain
async def wrapped_async(payload: float, context: JobContext) -> list[object]:
    await asyncio.sleep(payload)
    return [payload, context.attempt]


@job("run_async")
@_plain
def run_async(payload: float) -> Any:
    """An async function that its wrapper runs itself."""
    return asyncio.run(asyncio.sleep(payload, "done"))


@job("late_coroutine", max_retries=0, timeout="200ms")
def late_coroutine(payload: Any) -> Any:
    try:
        while True:
            time.sleep(0.01)
    finally:
        return asyncio.sleep(0)  # noqa: B012  (replaces the interrupt on purpose)


@job("third_time", max_retries=5)
def third_time(payload: float, context: JobContext) -> str:
    """Take the given seconds, and succeed at the third attempt."""
    time.sleep(payload)
    if context.attempt < 3:
        raise Retry(f"attempt {context.attempt}", delay="10ms")
    return "done"
