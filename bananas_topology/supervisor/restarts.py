"""When to restart a child that has exited, and when to give up. Pure.

Decisions are values derived from the exit history of one child; the supervisor acts on them.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from bananas_topology.contract.worker import EXIT_CONFIG, RESTART_CODES

#: Exits kept in a history: more than it takes to reach the maximum delay.
_MAX_HISTORY = 32


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit of a child: its time and uptime in seconds, and code (negative: signal number)."""

    at_s: float
    uptime_s: float
    code: int

    def __str__(self) -> str:
        """Describe the exit.

        >>> str(Exit(0.0, 1.0, 3)), str(Exit(0.0, 1.0, -9))
        ('exit code 3', 'killed by SIGKILL')
        """
        if self.code in RESTART_CODES:
            return f"exit code {self.code}: restart requested"
        if self.code >= 0:
            return f"exit code {self.code}"
        return f"killed by {signal.Signals(-self.code).name}"


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the child after a delay in seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not restart the child; `reason` is shown to the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Thresholds, all in seconds except `loop_exits`.

    An uptime of `stable_s` clears the history; `loop_exits` exits within `loop_window_s` are a
    crash loop.
    """

    stable_s: float = 60.0
    base_delay_s: float = 1.0
    cap_delay_s: float = 30.0
    loop_exits: int = 6
    loop_window_s: float = 60.0


History = tuple[Exit, ...]


def record_exit(history: History, latest: Exit, policy: RestartPolicy) -> History:
    """Append an exit; a stable uptime discards the earlier ones."""
    earlier = () if latest.uptime_s >= policy.stable_s else history
    return (*earlier, latest)[-_MAX_HISTORY:]


def decide(history: History, policy: RestartPolicy) -> Restart | GiveUp:
    """Decide what to do after the latest exit of a non-empty history."""
    last = history[-1]
    if last.code == EXIT_CONFIG:
        return GiveUp("invalid settings or handlers (exit code 2); see its output above")
    crashes = [each for each in history if each.code not in RESTART_CODES]
    if last.code in RESTART_CODES:
        # Immediately, unless it has only just started: then pause, or it would spin.
        return Restart(0.0 if last.uptime_s >= policy.base_delay_s else policy.base_delay_s)
    recent = [each for each in crashes if last.at_s - each.at_s <= policy.loop_window_s]
    if len(recent) >= policy.loop_exits:
        return GiveUp(
            f"exited {len(recent)} times within {policy.loop_window_s:g} s, last with {last}"
        )
    return Restart(_delay_s(len(crashes), policy))


def _delay_s(crashes: int, policy: RestartPolicy) -> float:
    """No delay after the first crash, then exponential backoff from the base up to the cap."""
    if crashes == 1:
        return 0.0
    return min(policy.cap_delay_s, policy.base_delay_s * 2.0 ** (crashes - 2))
