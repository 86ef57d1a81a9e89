"""The history as JSON, for pages that poll it."""

from __future__ import annotations

import msgspec

from bananas_topology.jobs.history import HistoryReader, PeriodName
from bananas_topology.jobs.history_views import history_json
from bananas_topology.system.clock import monotonic

#: Seconds for which an answer is reused. Making one takes up to 0.3 s of processor time if the
#: history is full; new counts arrive every ten seconds.
REUSE_S = 3.0

#: Number of answers that are kept.
_MAX_KEPT = 100

_Question = tuple[PeriodName, str | None, str | None]


class HistoryAnswers:
    """Reads the history, and keeps the answers for a moment. Thread-safe.

    Raises (`read`):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, reader: HistoryReader) -> None:
        self._reader = reader
        self._kept: dict[_Question, tuple[float, bytes]] = {}

    def read(self, period: PeriodName, job_type: str | None, pool: str | None) -> bytes:
        """Read a period, as JSON; its points are of this job type and this pool, if given."""
        question = (period, job_type, pool)
        made_at, answer = self._kept.get(question, (0.0, b""))
        if not answer or monotonic() - made_at > REUSE_S:
            history = self._reader.read(period, job_type, pool)
            answer = msgspec.json.encode(history_json(period, history))
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[question] = (monotonic(), answer)
        return answer
