"""Whether Redis answers: when to try again, and what the log says of it, once on each edge."""

from __future__ import annotations

import logging

from bananas_topology.errors import BananasTopologyError
from bananas_topology.system.clock import monotonic

#: Seconds between tries while Redis does not answer: doubled from the first to the last. The last
#: bounds how long after Redis's return work is taken up again.
FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0

#: Seconds after which an outage that goes on is mentioned again.
REMIND_S = 30.0

log = logging.getLogger(__name__)


class Link:
    """The state of a worker's connection to Redis. Times on the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._down_since: float | None = None
        self._was_up = False
        self._pause_s = FIRST_PAUSE_S
        self._said_at = 0.0
        self.next_try = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last try failed."""
        return self._down_since is not None

    def failed(self, error: BananasTopologyError) -> None:
        """Note that a try failed."""
        now = monotonic()
        if self._down_since is None:
            self._down_since, self._said_at = now, now
            if self._was_up:
                log.warning(
                    "redis lost: %s; running jobs go on, and are settled when it is back", error
                )
            else:
                log.warning("waiting for redis: %s", error)
        elif now - self._said_at >= REMIND_S:
            self._said_at = now
            down_s = round(now - self._down_since)
            log.warning("redis still lost", extra={"down_s": down_s, "reason": str(error)})
        self.next_try = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)

    def succeeded(self) -> None:
        """Note that a try succeeded."""
        self._was_up = True
        if self._down_since is None:
            return
        log.info("redis back", extra={"down_s": round(monotonic() - self._down_since, 1)})
        self._down_since, self._pause_s, self.next_try = None, FIRST_PAUSE_S, 0.0
