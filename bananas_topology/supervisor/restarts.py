"""When a child that has ended is started again, and when no more. Pure.

Decisions are values made from the history of one child's ends; acting on them is the
supervisor's business.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from bananas_topology.contract.worker import EXIT_CONFIG, EXIT_RESTART

#: Ends that a history remembers: more than it takes for the longest delay.
_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of a child: when, after how long, and with what code (negative: by which signal)."""

    at_s: float
    lived_s: float
    code: int

    def __str__(self) -> str:
        """What it ended with, in words.

        >>> str(Exit(0.0, 1.0, 3)), str(Exit(0.0, 1.0, -9))
        ('exit code 3', 'killed by SIGKILL')
        """
        if self.code == EXIT_RESTART:
            return f"exit code {self.code}: it asks for a fresh start"
        if self.code >= 0:
            return f"exit code {self.code}"
        return f"killed by {signal.Signals(-self.code).name}"


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after the delay."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not start it again; `reason` is for the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """The numbers behind the decisions, all in seconds but `loop_exits`.

    A life of `stable_s` clears a child's history. `loop_exits` ends within `loop_window_s` are a
    crash loop.
    """

    stable_s: float = 60.0
    base_delay_s: float = 1.0
    cap_delay_s: float = 30.0
    loop_exits: int = 6
    loop_window_s: float = 60.0


History = tuple[Exit, ...]


def remember(history: History, end: Exit, policy: RestartPolicy) -> History:
    """Add an end; a life that was long enough makes those before it forgotten."""
    earlier = () if end.lived_s >= policy.stable_s else history
    return (*earlier, end)[-_REMEMBERED:]


def decide(history: History, policy: RestartPolicy) -> Restart | GiveUp:
    """What to do after the last end of a history that is not empty."""
    last = history[-1]
    if last.code == EXIT_CONFIG:
        return GiveUp("its settings or handlers are wrong (exit code 2): see its lines above")
    crashes = [end for end in history if end.code != EXIT_RESTART]
    if last.code == EXIT_RESTART:
        # At once, unless it has just been started: then a pause, or it would spin.
        return Restart(0.0 if last.lived_s >= policy.base_delay_s else policy.base_delay_s)
    recent = [end for end in crashes if last.at_s - end.at_s <= policy.loop_window_s]
    if len(recent) >= policy.loop_exits:
        return GiveUp(
            f"it ended {len(recent)} times within {policy.loop_window_s:g} s, last with {last}"
        )
    return Restart(_delay_s(len(crashes), policy))


def _delay_s(ends: int, policy: RestartPolicy) -> float:
    """At once after the first end, then the base delay doubled each time, up to the cap."""
    if ends == 1:
        return 0.0
    return min(policy.cap_delay_s, policy.base_delay_s * 2.0 ** (ends - 2))
