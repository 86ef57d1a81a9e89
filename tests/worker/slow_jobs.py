"""Handlers whose module takes as long to import as a file exists, like one that loads a model."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

from bananas_topology import job

_MODEL = Path(os.environ.get("MODEL", "/not/given"))


@job("pid")
def pid(payload: None) -> int:
    return os.getpid()


def _load() -> None:
    deadline = time.monotonic() + 120
    while _MODEL.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


if "FORKED" in os.environ:
    # A module that starts processes of its own, which may outlive the worker.
    multiprocessing.get_context("fork").Process(target=_load, daemon=True).start()

_load()
if "BROKEN" in os.environ:
    raise RuntimeError("no such model")
