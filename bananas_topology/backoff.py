"""How long to wait before trying again: exponential, capped, with jitter. Pure."""

from __future__ import annotations

#: What doubles with each attempt, in milliseconds: the first delay is twice this.
BASE_DELAY_MS = 1_000

#: The longest delay between two attempts of a job, in milliseconds.
MAX_DELAY_MS = 3_600_000

#: How far jitter stretches a delay, as a share of it: enough to spread a herd that failed together.
JITTER = 0.1


def exponential_ms(
    attempt: int, *, base_ms: int = BASE_DELAY_MS, cap_ms: int = MAX_DELAY_MS
) -> int:
    """The delay after failed attempt number `attempt` (1, 2, ...): base times 2 to the attempt.

    >>> [exponential_ms(n) for n in (1, 2, 3)]
    [2000, 4000, 8000]
    >>> exponential_ms(10_000)
    3600000
    """
    # Past 2**40 every cap is reached; the bound keeps a huge attempt number from a huge integer.
    return min(cap_ms, base_ms << min(max(attempt, 0), 40))


def with_jitter_ms(delay_ms: int, fraction: float) -> int:
    """Stretch a delay by up to `JITTER` of itself; `fraction` is a random number in [0, 1).

    >>> with_jitter_ms(2000, 0.0), with_jitter_ms(2000, 0.5)
    (2000, 2100)
    """
    return delay_ms + int(delay_ms * JITTER * fraction)
