"""Problems of the running system: checks of `bananas doctor`, evaluated continuously.

A reading costs the server a few milliseconds, however much is stored, and is reused for some
seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypedDict

from bananas_topology.contract.api import Replicas
from bananas_topology.doctor.check import Result, Status, registered, run
from bananas_topology.doctor.checks import redis as _redis  # noqa: F401  (registers its checks)
from bananas_topology.doctor.checks import running as _running  # noqa: F401  (the same)
from bananas_topology.doctor.checks import scheduling as _scheduling  # noqa: F401  (the same)
from bananas_topology.doctor.checks import troubleshooting as _others  # noqa: F401  (the same)
from bananas_topology.doctor.examination import UNKNOWN_HOST, Examination, LiveFacts
from bananas_topology.errors import BananasTopologyError
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.schedules import ScheduleReader
from bananas_topology.jobs.server_facts import read_server
from bananas_topology.jobs.stored import printable
from bananas_topology.jobs.survey import Survey, Surveyor
from bananas_topology.system.clock import monotonic

if TYPE_CHECKING:
    import redis

#: Seconds for which a reading is reused.
KEEP_S = 5.0

#: Number of surveys that are compared, and their maximum age in seconds.
MAX_SURVEYS, MAX_AGE_S = 7, 300.0

#: Minimum seconds between the first and the latest survey for a comparison.
MIN_OBSERVED_S = 3.0

#: Checks that compare surveys: whether a state lasts.
_COMPARING = registered(("DR401", "DR405", "DR501"))

#: Checks of one survey. Omitted are those of settings, and those that warn about a system that is
#: just busy or being deployed.
_IMMEDIATE = registered(
    (
        "DR203", "DR205", "DR406", "DR407", "DR408", "DR409", "DR410", "DR412", "DR415", "DR502",
        "DR503", "DR507",
    )
)  # fmt: skip


class AlertJson(TypedDict):
    """A problem, and how to fix it.

    `code` is that of the check of `bananas doctor`. With a
    `failure`, jobs are lost or do not run, or soon will; a `warning` comes before that.
    """

    code: str
    severity: Literal["warning", "failure"]
    message: str
    remedy: str


class AlertsJson(TypedDict):
    """The alerts, failures first."""

    alerts: list[AlertJson]


class Alerts:
    """Evaluates one prefix, whose pools should have these workers. Thread-safe.

    Raises (`read`):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys, pools: Mapping[str, Replicas]) -> None:
        self._client = client
        self._keys = keys
        self._schedules = ScheduleReader(client, keys)
        self._pools = pools
        self._lock = Lock()
        self._surveys: deque[tuple[float, Survey]] = deque(maxlen=MAX_SURVEYS)
        self._latest: AlertsJson | BananasTopologyError = {"alerts": []}
        self._read_at = float("-inf")

    def read(self) -> AlertsJson:
        """Return the latest reading, or make one if that is too old."""
        with self._lock:
            if monotonic() - self._read_at >= KEEP_S:
                try:
                    self._latest = self._judge()
                except BananasTopologyError as error:
                    self._latest = error
                self._read_at = monotonic()
            if isinstance(self._latest, BananasTopologyError):
                raise self._latest
            return self._latest

    def _judge(self) -> AlertsJson:
        server, now = read_server(self._client, pings=1), monotonic()
        schedules = [each.name for each in self._schedules.read().schedules]
        self._surveys.append((now, Surveyor(self._client, self._keys, schedules).survey()))
        while now - self._surveys[0][0] > MAX_AGE_S:
            self._surveys.popleft()
        live = LiveFacts(server, tuple(survey for _, survey in self._surveys))
        examination = Examination(None, live, UNKNOWN_HOST, deployed=self._pools)
        is_observed = examination.observed_s >= MIN_OBSERVED_S
        results = run((*_IMMEDIATE, *(_COMPARING if is_observed else ())), examination)
        alerts = [alert for result in results if (alert := _alert(result)) is not None]
        return {"alerts": sorted(alerts, key=lambda alert: (alert["severity"], alert["code"]))}


def _alert(result: Result) -> AlertJson | None:
    status = result.verdict.status
    if status is Status.OK or status is Status.SKIPPED:
        return None
    return {
        "code": result.check.code,
        "severity": "failure" if status is Status.FAILURE else "warning",
        "message": printable(f"{result.check.title}: {result.verdict.measured}"),
        "remedy": result.remedy or "",
    }
