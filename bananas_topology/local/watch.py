"""`up --watch`: applies the topology's files and restarts workers as their sources are edited.

A thread of watchfiles sees the changes, and only passes on their paths; everything else happens in
the supervisor's loop.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

from bananas_topology.errors import ControlFailed
from bananas_topology.local.apply import READY_TIMEOUT_S, Applier
from bananas_topology.local.changes import Changes
from bananas_topology.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from watchfiles import Change

#: Milliseconds over which changes are combined: editors write a file in several steps.
DEBOUNCE_MS = 200

#: Milliseconds between the thread's checks whether to stop.
_TIMEOUT_MS = 500

#: Seconds between checks that the thread is alive, until it watches.
_START_POLL_S = 0.1

log = logging.getLogger(__name__)


def check_installed() -> None:
    """Check that watching is possible.

    Raises:
        ControlFailed: the package that it needs is not installed.
    """
    if importlib.util.find_spec("watchfiles") is None:
        raise ControlFailed(
            "--watch requires an additional package: run pip install 'bananas-topology[watch]'"
        )


class _Stop(threading.Event):
    """Stops the thread. It is asked for the first time once everything is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.is_watching = threading.Event()

    def is_set(self) -> bool:
        self.is_watching.set()
        return super().is_set()


class Watcher:
    """Watches a topology's folder, and those below it, for its files and Python sources.

    A source of the supervisor's loop. Directories that begin with a dot are ignored. While a change
    is under way, those that follow wait. Changes after `__enter__` are seen.
    """

    def __init__(self, supervisor: Supervisor, changes: Changes, applier: Applier) -> None:
        self._supervisor = supervisor
        self._changes = changes
        self._applier = applier
        self._folder = _seen(applier.deployment.topology.path).parent
        self._paths: SimpleQueue[Path] = SimpleQueue()
        self._pending: set[Path] = set()
        self._stop = _Stop()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        # Otherwise a source could be edited after a worker has read it, and before it is watched.
        while not self._stop.is_watching.wait(_START_POLL_S) and self._thread.is_alive():
            pass
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * _TIMEOUT_MS / 1000)
        if not self._thread.is_alive():
            os.close(self._read_fd)
            os.close(self._write_fd)

    def interests(self) -> Mapping[int, int]:
        return {self._read_fd: select.POLLIN}

    def on_ready(self, fd: int) -> None:
        """Take in the changed paths."""
        with suppress(BlockingIOError):
            os.read(fd, 4096)
        with suppress(Empty):
            while True:
                self._pending.add(self._paths.get_nowait())

    def on_turn(self) -> None:
        """Act on changed paths once nothing else is under way: the topology comes first."""
        supervisor = self._supervisor
        if not self._pending or supervisor.operation is not None or supervisor.is_stopping:
            return
        if files := sorted(self._pending & {_seen(path) for path in self._applier.files}):
            self._pending.difference_update(files)
            log.info("%s changed", " ".join(path.name for path in files))
            self._applier.reload()
            return
        sources = sorted(path for path in self._pending if path.suffix == ".py")
        self._pending.clear()
        if sources:
            more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
            log.info("%s%s changed", os.path.relpath(sources[0], self._folder), more)
            supervisor.begin(self._changes.restart([], READY_TIMEOUT_S))

    def _watch(self) -> None:
        # Imported here: only needed with --watch.
        from watchfiles import watch

        changes = watch(
            self._folder,
            watch_filter=self._is_relevant,
            debounce=DEBOUNCE_MS,
            stop_event=self._stop,
            rust_timeout=_TIMEOUT_MS,
            raise_interrupt=False,
        )
        for change in changes:
            for _, path in change:
                self._paths.put(Path(path))
            with suppress(BlockingIOError):  # full: the loop will wake up anyway
                os.write(self._write_fd, b".")

    def _is_relevant(self, change: Change, path: str) -> bool:
        relative = Path(path).relative_to(self._folder)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        return not is_hidden and relative.suffix in (".py", ".yaml", ".yml")


def _seen(path: Path) -> Path:
    """The path by which a change of this file is reported."""
    return path.absolute().parent.resolve() / path.name
