"""When to restart a child that has exited, and when to give up. Pure.

Decisions are values derived from the exit history of one child; the supervisor acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from bananas_topology.contract.exit_codes import EXIT_CONFIG, RESTART_CODES

#: Exits kept in a history: more than it takes to reach the maximum delay.
_MAX_HISTORY = 32


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit of a child: its time and uptime in seconds, and code (negative: signal number).

    `was_ready`: whether the process had become ready. `reason` is the exit in words.
    """

    at_s: float
    uptime_s: float
    code: int
    was_ready: bool = False
    reason: str = ""


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
    """Thresholds in seconds, except `max_failed_starts`.

    An uptime of `stable_s` clears the history. A process that had become ready is restarted within
    `cap_delay_s`, so that jobs which crash their worker are soon identified and buried. After one
    that exits earlier the delay grows up to `cap_start_delay_s`. A child that has never become
    ready is given up after `max_failed_starts` exits.
    """

    stable_s: float = 60.0
    base_delay_s: float = 1.0
    cap_delay_s: float = 5.0
    cap_start_delay_s: float = 30.0
    max_failed_starts: int = 6


History = tuple[Exit, ...]


def record_exit(history: History, latest: Exit, policy: RestartPolicy) -> History:
    """Append an exit; a stable uptime discards the earlier ones."""
    earlier = () if latest.uptime_s >= policy.stable_s else history
    return (*earlier, latest)[-_MAX_HISTORY:]


def decide(history: History, policy: RestartPolicy, *, was_ever_ready: bool) -> Restart | GiveUp:
    """Decide what to do after the latest exit of a non-empty history.

    `was_ever_ready`: whether any process of this child, however long ago, became ready. Such a
    child is never given up: what it needs was available, and may be again.
    """
    last = history[-1]
    if last.code == EXIT_CONFIG and not was_ever_ready:
        return GiveUp(f"{last.reason}; see its output above")
    crashes = [each for each in history if each.code not in RESTART_CODES]
    if last.code in RESTART_CODES:
        # Immediately, unless it has only just started: then pause, or it would spin.
        return Restart(0.0 if last.uptime_s >= policy.base_delay_s else policy.base_delay_s)
    if len(crashes) >= policy.max_failed_starts and not was_ever_ready:
        return GiveUp(f"exited {len(crashes)} times without becoming ready, last: {last.reason}")
    return Restart(_delay_s(len(crashes), last, policy))


def _delay_s(crashes: int, last: Exit, policy: RestartPolicy) -> float:
    """No delay after the first crash, then exponential backoff from the base up to the cap."""
    if crashes == 1 and last.code != EXIT_CONFIG:
        return 0.0
    cap_s = policy.cap_delay_s if last.was_ready else policy.cap_start_delay_s
    return min(cap_s, policy.base_delay_s * 2.0 ** max(0, crashes - 2))
