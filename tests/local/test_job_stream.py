from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bananas_topology.local import job_stream
from bananas_topology.local.job_stream import MAX_LINES_PER_S, JobStream
from bananas_topology.supervisor.state import ChildState

CHILD = cast(ChildState, SimpleNamespace(name="worker-0", pool="worker"))


class _Shown:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rates: list[str] = []
        self.stream = JobStream(
            lambda name, pool, text: self.lines.append(f"{name} {text}"),
            self.rates.append,
        )


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(job_stream, "monotonic", lambda: clock[0])
    return clock


def _report(count: int, described: int | None = None, **more: Any) -> str:
    job = {"event": "job completed", "job_id": "1", "job_type": "t", "attempt": 1}
    job |= {"duration_ms": 2, **more}
    return json.dumps({"count": count, "jobs": [job] * (count if described is None else described)})


def test_jobs_are_shown_up_to_a_rate_and_then_counted(now: list[float]) -> None:
    shown = _Shown()

    shown.stream.take(CHILD, _report(10))
    shown.stream.take(CHILD, _report(10))
    assert len(shown.lines) == MAX_LINES_PER_S
    shown.stream.take(CHILD, _report(1000, described=10))
    assert len(shown.lines) == MAX_LINES_PER_S
    now[0] += 1
    shown.stream.on_turn()
    assert shown.rates == ["1,020 jobs/s"]

    # It goes on counting until the rate is low for a whole second.
    shown.stream.take(CHILD, _report(5))
    now[0] += 1
    shown.stream.on_turn()
    assert shown.rates[1:] == ["5 jobs/s"]
    now[0] += 1
    shown.stream.on_turn()
    assert shown.rates[2:] == [""]
    shown.stream.take(CHILD, _report(1))
    assert len(shown.lines) == MAX_LINES_PER_S + 1


def test_control_characters_are_escaped(now: list[float]) -> None:
    shown = _Shown()

    shown.stream.take(CHILD, _report(1, job_id="\x1b[2J", job_type="a b\nc"))

    [line] = shown.lines
    assert "job_id=\\x1b[2J" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"count": "x", "jobs": []}',
        '{"count": 1}',
        '{"count": 1, "jobs": [1]}',
        '{"count": 1, "jobs": [{}]}',
    ],
)
def test_an_unreadable_report_is_ignored(text: str) -> None:
    shown = _Shown()

    shown.stream.take(CHILD, text)

    assert shown.lines == []
