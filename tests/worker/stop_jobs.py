"""Handlers with something to clean up when they, or their worker, end."""

from __future__ import annotations

import asyncio
import atexit
import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

from bananas_topology import JobContext, job
from bananas_topology.worker import slots

#: With this variable, interrupted handlers have more time: a test that gives it to its worker does
#: not depend on for how long that is paused.
slots.CLEANUP_S = float(os.environ.get("CLEANUP_S", slots.CLEANUP_S))

FORK = multiprocessing.get_context("fork")


def _note(file: str, text: str) -> None:
    with open(file, "a") as notes:
        notes.write(f"{text}\n")


@job("clean_up", timeout="30s", max_retries=0)
def clean_up(payload: dict[str, Any], context: JobContext) -> None:
    _note(payload["file"], "began")
    try:
        while True:
            time.sleep(0.01)
    finally:
        time.sleep(payload.get("cleanup", 0.3))
        _note(payload["file"], f"cleaned up, cancelled: {context.cancelled}")


@job("async_clean_up", timeout="30s", max_retries=0)
async def async_clean_up(payload: dict[str, Any], context: JobContext) -> None:
    _note(payload["file"], "began")
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.3)
        _note(payload["file"], f"cleaned up, cancelled: {context.cancelled}")


@job("swallow", timeout="300ms", max_retries=1)
def swallow(payload: dict[str, Any]) -> str:
    """Go on after any Exception, as a loop over unreliable things does."""
    _note(payload["file"], "began")
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


@job("slow_cleanup", timeout="100ms", max_retries=1)
def slow_cleanup(payload: dict[str, Any], context: JobContext) -> None:
    _note(payload["file"], f"began {context.attempt}")
    try:
        while True:
            time.sleep(0.01)
    finally:
        time.sleep(0.4)
        _note(payload["file"], f"ended {context.attempt}")


@job("stubborn", max_retries=1)
def stubborn(payload: dict[str, Any], context: JobContext) -> None:
    """Go on after whatever is raised, until a file is there."""
    _note(payload["file"], f"began {context.attempt}")
    while True:
        try:
            if Path(payload["until"]).exists():
                return
            time.sleep(0.01)
        except BaseException:
            continue


@job("return_late", timeout="100ms", max_retries=0)
def return_late(payload: Any, context: JobContext) -> str:
    try:
        while True:
            time.sleep(0.01)
    except BaseException:
        return "done after all"


@job("register")
def register(payload: dict[str, Any]) -> None:
    """Leave something to do at the end of the process."""
    stopping = threading.Event()

    def work() -> None:
        stopping.wait(payload.get("seconds", 0.5))
        _note(payload["file"], "thread")

    threading.Thread(target=work, name="flusher").start()
    atexit.register(_note, payload["file"], "atexit")


@job("log_lines", max_retries=0)
def log_lines(payload: int) -> int:
    for _ in range(payload):
        logging.getLogger("app").warning("x" * 1_000)
    return payload


@job("print_lines", max_retries=0)
def print_lines(payload: int) -> int:
    for _ in range(payload):
        print("x" * 1_000)
    return payload


@job("leave_process")
def leave_process(payload: Any) -> int | None:
    process = FORK.Process(target=time.sleep, args=(60,), name="importer")
    process.start()
    return process.pid


@job("hang", timeout="100ms", max_retries=0)
def hang(payload: Any) -> None:
    time.sleep(600)


@job("late", timeout="700ms", max_retries=0)
def late(payload: dict[str, Any]) -> None:
    began = time.monotonic()
    _note(payload["file"], "began")
    try:
        while True:
            time.sleep(0.01)
    finally:
        _note(payload["file"], f"{time.monotonic() - began}")


@job("async_late", timeout="700ms", max_retries=0)
async def async_late(payload: dict[str, Any]) -> None:
    began = time.monotonic()
    _note(payload["file"], "began")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        _note(payload["file"], f"{time.monotonic() - began}")
        raise


def notes(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
