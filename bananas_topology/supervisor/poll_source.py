"""What the supervisor's loop serves beside its children, such as the control socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class PollSource(Protocol):
    """A class that polls no descriptors derives from this one, and defines `on_turn` only."""

    def interests(self) -> Mapping[int, int]:
        """Return the descriptors to poll, with their events as for `select.poll`."""
        return {}

    def on_ready(self, fd: int) -> None:
        """Act on a descriptor on which one of its events has occurred."""
        return

    def on_turn(self) -> None:
        """Called at the end of every iteration of the loop."""
