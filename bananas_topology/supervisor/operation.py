"""A change to what runs, carried out step by step between iterations of the supervisor's loop.

The steps are a generator: it acts on the supervisor, then yields a description of what it waits for
until that has happened. So a change that takes minutes reads from top to bottom, and blocks
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Generator

from bananas_topology.errors import ControlFailed

#: Yields what is waited for; returns a summary; raises ControlFailed if the change has failed.
Steps = Generator[str, None, str]

log = logging.getLogger(__name__)


class Operation:
    """One change under way. `name` says which, such as ``restart worker``."""

    def __init__(self, name: str, steps: Steps) -> None:
        self.name = name
        self._steps = steps
        self.is_done = False
        #: What is waited for or, once it is done, a summary.
        self.progress = ""
        #: Why it failed; empty otherwise.
        self.error = ""

    def advance(self) -> None:
        """Do what can be done now."""
        if self.is_done:
            return
        try:
            self.progress = next(self._steps)
        except StopIteration as end:
            self.is_done, self.progress = True, end.value
        except ControlFailed as error:
            self.is_done, self.error = True, str(error)
        except Exception as error:  # a defect ends the change, and not what runs
            log.exception("unexpected error in %s", self.name)
            self.is_done, self.error = True, f"unexpected error: {error!r}"

    def cancel(self, reason: str) -> None:
        """Abandon the remaining steps."""
        if not self.is_done:
            self._steps.close()
            self.is_done, self.error = True, reason
