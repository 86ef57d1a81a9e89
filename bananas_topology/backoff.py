"""Delays between attempts: exponential, capped, with jitter. Pure functions."""

from __future__ import annotations

#: Base of the exponential delay, in milliseconds: the first delay is twice this.
BASE_DELAY_MS = 1_000

#: Maximum delay between two attempts of a job, in milliseconds.
MAX_DELAY_MS = 3_600_000

#: Maximum jitter, as a fraction of the delay: spreads out jobs that failed at the same time.
JITTER = 0.1


def exponential_ms(
    attempt: int, *, base_ms: int = BASE_DELAY_MS, cap_ms: int = MAX_DELAY_MS
) -> int:
    """The delay after the failed attempt number `attempt` (1, 2, ...): base times 2^attempt.

    >>> [exponential_ms(n) for n in (1, 2, 3)]
    [2000, 4000, 8000]
    >>> exponential_ms(10_000)
    3600000
    """
    # 2**40 exceeds every cap; the limit keeps a large attempt number from creating a huge integer.
    return min(cap_ms, base_ms << min(max(attempt, 0), 40))


def with_jitter_ms(delay_ms: int, fraction: float) -> int:
    """Extend a delay by up to the fraction `JITTER`; `fraction` is a random number in [0, 1).

    >>> with_jitter_ms(2000, 0.0), with_jitter_ms(2000, 0.5)
    (2000, 2100)
    """
    return delay_ms + int(delay_ms * JITTER * fraction)
