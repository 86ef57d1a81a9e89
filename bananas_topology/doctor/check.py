"""What a check is: a small function that judges facts, with its code, threshold and remedy.

Every module in `checks/` registers its functions with `@check`; the documentation's table and
`--only` are made from the registry. Some are also the alerts of the HTTP API (api/alerts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from bananas_topology.doctor.examination import Examination, MissingFact


class Group(StrEnum):
    """Parts of the checklist, in its order."""

    TOPOLOGY = "topology"
    REDIS = "redis"
    HOST = "host"
    RUNNING = "running"
    TROUBLE = "troubleshooting"

    @property
    def heading(self) -> str:
        """A heading for the group's checks."""
        return _HEADINGS[self]

    @property
    def is_live(self) -> bool:
        """Whether its checks need a server."""
        return self not in (Group.TOPOLOGY, Group.HOST)


_HEADINGS = {
    Group.TOPOLOGY: "Before deploying: topology",
    Group.REDIS: "Before deploying: Redis",
    Group.HOST: "Before deploying: this host",
    Group.RUNNING: "After deploying",
    Group.TROUBLE: "Troubleshooting",
}


class Status(StrEnum):
    """Outcome of a check. Failures make the command fail; a skipped check lacked its facts."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: what was measured, and how to fix it where the check knows better."""

    status: Status
    measured: str
    remedy: str | None = None


Examine = Callable[[Examination], Verdict]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `code` (``DR201``) never changes its meaning; `remedy` is a command or setting.

    `threshold` says in words what is expected.
    """

    code: str
    group: Group
    title: str
    threshold: str
    remedy: str
    examine: Examine


@dataclass(frozen=True, slots=True)
class Result:
    """A check with its verdict."""

    check: Check
    verdict: Verdict

    @property
    def remedy(self) -> str | None:
        """How to fix what was found; None if nothing needs fixing."""
        if self.verdict.status not in (Status.WARNING, Status.FAILURE):
            return None
        return self.verdict.remedy or self.check.remedy


_CHECKS: dict[str, Check] = {}


def check(
    code: str, group: Group, title: str, threshold: str, remedy: str
) -> Callable[[Examine], Examine]:
    """Register a function as a check."""

    def register(examine: Examine) -> Examine:
        assert code not in _CHECKS, f"{code} is taken"
        _CHECKS[code] = Check(code, group, title, threshold, remedy, examine)
        return examine

    return register


def all_checks() -> tuple[Check, ...]:
    """Every check, by code."""
    import bananas_topology.doctor.checks.all  # noqa: F401  (registers them)

    return tuple(_CHECKS[code] for code in sorted(_CHECKS))


def registered(codes: Iterable[str]) -> tuple[Check, ...]:
    """Checks whose modules are imported already, by code."""
    return tuple(_CHECKS[code] for code in codes)


def select(only: Collection[str]) -> tuple[Check, ...]:
    """The checks of groups and codes; none given: all of them.

    Raises:
        ValueError: a name is neither, with what was expected.
    """
    checks = all_checks()
    known = {each.code for each in checks} | set(Group)
    for name in only:
        if name not in known:
            groups = ", ".join(Group)
            raise ValueError(f'expected {groups}, or a code such as {checks[0].code}, got "{name}"')
    return tuple(each for each in checks if not only or {each.code, each.group} & set(only))


def run(checks: Collection[Check], examination: Examination) -> tuple[Result, ...]:
    """Judge the facts; a check whose facts are missing is skipped."""
    return tuple(Result(each, _verdict(each, examination)) for each in checks)


def _verdict(each: Check, examination: Examination) -> Verdict:
    try:
        return each.examine(examination)
    except MissingFact as missing:
        return Verdict(Status.SKIPPED, str(missing))


def ok(measured: str) -> Verdict:
    """Within the threshold."""
    return Verdict(Status.OK, measured)


def warning(measured: str, remedy: str | None = None) -> Verdict:
    """Beyond the threshold, but nothing is lost yet."""
    return Verdict(Status.WARNING, measured, remedy)


def failure(measured: str, remedy: str | None = None) -> Verdict:
    """Jobs are lost or do not run, or will not after the next restart."""
    return Verdict(Status.FAILURE, measured, remedy)


def graded(value: float, warn_from: float, fail_from: float, measured: str) -> Verdict:
    """Judge a value that should be low."""
    if value >= fail_from:
        return failure(measured)
    return warning(measured) if value >= warn_from else ok(measured)
