"""Keeps a run findable: restores its directory, lock, record and sockets if they are deleted.

Users clean up folders, and some systems clean up /tmp. Without its sockets a run could not be
controlled, its processes would appear to stall, and a second run could be started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from bananas_topology.errors import ControlFailed
from bananas_topology.local.sockets import create
from bananas_topology.supervisor.directories import rename
from bananas_topology.supervisor.log_files import LogFiles
from bananas_topology.supervisor.poll_source import PollSource
from bananas_topology.supervisor.record import ExclusiveLock, Publication
from bananas_topology.supervisor.supervisor import Supervisor
from bananas_topology.system.bound_socket import BoundSocket
from bananas_topology.system.clock import monotonic

#: Seconds between two checks.
CHECK_S = 1.0

log = logging.getLogger(__name__)


class Presence(PollSource):
    """A source of the supervisor's loop. `source` returns the names of the topology's files."""

    def __init__(
        self,
        supervisor: Supervisor,
        lock: ExclusiveLock,
        publication: Publication,
        sockets: Sequence[BoundSocket],
        files: LogFiles,
        source: Callable[[], str],
    ) -> None:
        self._supervisor = supervisor
        self._lock = lock
        self._publication = publication
        self._sockets = sockets
        self._files = files
        self._source = source
        self._check_at = 0.0
        self._has_failed = False

    def on_turn(self) -> None:
        now = monotonic()
        if now < self._check_at or self._supervisor.is_stopping:
            return
        self._check_at = now + CHECK_S
        is_there = self._lock.is_held and self._publication.is_complete
        if not is_there or not all(each.path.exists() for each in self._sockets):
            self._try_to_restore()

    def _try_to_restore(self) -> None:
        directory = self._publication.record.directory
        try:
            self._restore(Path(directory))
        except ControlFailed as error:
            # Another run has taken its place, and commands could not tell the two apart.
            log.error("%s was deleted meanwhile; stopping: %s", directory, error)
            self._supervisor.stop()
        except OSError as error:
            if not self._has_failed:
                log.error("cannot restore %s: %s", error.filename or directory, error.strerror)
            self._has_failed = True
        else:
            self._has_failed = False
            log.error(
                "files in %s were deleted: restored, except for data of the bundled server; those "
                "are in memory only, and lost when it stops",
                directory,
            )

    def _restore(self, directory: Path) -> None:
        self._publication.create()
        if not self._lock.is_held:
            self._lock.retake()
        record = self._publication.record
        rename(directory, record.name, self._source())
        self._files.reopen()
        for each in self._sockets:
            if each.path.parent != directory:
                create(each.path.parent)
            if not each.path.exists():
                each.rebind()
        self._publication.update(record)
