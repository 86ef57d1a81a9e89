"""What keys and readings do to the model of `bananas top`, and what it looks like."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from bananas_topology.cli.top.keys import Quit, Retry, press, split_keys
from bananas_topology.cli.top.model import (
    JobDetails,
    Message,
    Model,
    Pane,
    Rate,
    ReadFailed,
    Snapshot,
    receive,
)
from bananas_topology.cli.top.tables import cursor, pool_rows, rows
from bananas_topology.cli.top.view import Size, last_scroll, view
from bananas_topology.contract.api import Replicas
from bananas_topology.jobs.activity import Activity, RunningJob
from bananas_topology.jobs.dead import DeadJob
from bananas_topology.jobs.depths import QueueDepth, ReadyList
from bananas_topology.jobs.inspect import JobView, WorkerView

AT = datetime(2026, 1, 2, 12, tzinfo=UTC)


def _job(job_id: str, age_s: float, job_type: str = "add", worker_id: str = "w-0") -> RunningJob:
    return RunningJob(job_id, job_type, "high", worker_id, AT - timedelta(seconds=age_s))


def _dead(job_id: str, age_s: float) -> DeadJob:
    died_at = AT - timedelta(seconds=age_s)
    return DeadJob(job_id, "add", "high", f"ValueError: {job_id}", "", 4, died_at, True)


def _worker(worker_id: str, pool: str, **more: Any) -> WorkerView:
    return WorkerView(worker_id, pool, "host", 7, 10, more.pop("running", 5), (), AT, (), **more)


def _snapshot(
    *jobs: RunningJob, dead: int = 0, completed: int = 0, taken_s: float = 0.0
) -> Snapshot:
    activity = Activity(AT, jobs, len(jobs), 0, dead, None, completed, 0)
    depths = tuple(QueueDepth(name, ReadyList(0, None), {}) for name in ("high", "normal", "low"))
    ids = [_dead(f"dead-{number}", number) for number in range(dead)]
    return Snapshot(taken_s, depths, (_worker("w-0", "main"),), activity, tuple(ids))


def _pressed(model: Model, *keys: str) -> Model:
    for key in keys:
        model, _ = press(model, key, 10, 10)
    return model


def _ids(model: Model) -> list[str]:
    return [row.row_id for row in rows(model)]


def _text(model: Model, width: int = 80, height: int = 24) -> str:
    return "\n".join(line.plain for line in view(model, Size(width, height), 0.0))


MODEL = receive(Model(), _snapshot(_job("b", 5), _job("a", 60, "mail", "w-1"), _job("c", 1)))


def test_running_jobs_are_sorted_by_age_and_then_as_asked() -> None:
    assert _ids(MODEL) == ["a", "b", "c"]
    assert _ids(_pressed(MODEL, "S")) == ["c", "b", "a"]
    assert _ids(_pressed(MODEL, "s")) == ["b", "c", "a"]
    assert "type*" in _text(_pressed(MODEL, "s"))


def test_each_list_keeps_its_own_order() -> None:
    model = _pressed(MODEL, "s", "tab", "tab", "tab")

    assert (model.pane, model.sort.column) == (Pane.RUNNING, 1)


def test_the_selection_stays_with_its_job_and_then_in_its_place() -> None:
    model = _pressed(MODEL, "down")
    assert _ids(model)[cursor(model, rows(model))] == "b"

    older = receive(model, _snapshot(_job("b", 5), _job("a", 60), _job("d", 30)))
    gone = receive(model, _snapshot(_job("a", 60), _job("c", 1)))

    assert cursor(older, rows(older)) == 2
    assert cursor(gone, rows(gone)) == 1


def test_keys_typed_into_the_filter_do_nothing_else() -> None:
    model = _pressed(MODEL, "/", "q", "backspace", "M", "a", "i", "l")

    assert (_ids(model), model.is_typing) == (["a"], True)
    assert "filter: Mail" in _text(model)
    assert _ids(_pressed(model, "enter")) == ["a"]
    assert len(_ids(_pressed(model, "escape"))) == 3


def test_enter_on_a_worker_lists_its_jobs() -> None:
    model = _pressed(MODEL, "2", "enter")

    assert (model.pane, _ids(model)) == (Pane.RUNNING, ["b", "c"])


def test_enter_on_a_job_asks_for_it_and_escape_returns() -> None:
    model = _pressed(MODEL, "enter")

    assert model.wanted.job_id == "a"
    assert _pressed(model, "escape").wanted.job_id is None
    assert "no job has the id a" in _text(receive(model, JobDetails("a", None)))
    assert receive(model, JobDetails("b", None)).job is None


def test_a_long_job_is_scrolled_to_its_last_line_and_back() -> None:
    body = {"name": "add", "payload": "x" * 400}
    failure = {"type": "E", "message": "m", "traceback": "\n".join(map(str, range(90)))}
    view_of_a = JobView(
        "a", "failed", body, None, None, None, None, "m", AT, 12, failure, has_result=False
    )
    model = receive(_pressed(MODEL, "enter"), JobDetails("a", view_of_a))
    last = last_scroll(model, Size(80, 24))

    model, _ = press(model, "end", 10, last)

    assert "89" in _text(model).splitlines()[-2]
    model, _ = press(model, "up", 10, last)
    assert "88" in _text(model).splitlines()[-2]


def test_only_dead_jobs_are_retried() -> None:
    model = _pressed(receive(Model(), _snapshot(_job("a", 1), dead=2)), "3", "down")

    _, request = press(model, "r", 10)
    refused, nothing = press(_pressed(model, "1"), "r", 10)

    assert request == Retry("dead-1")
    assert nothing is None
    assert "only dead jobs" in _text(refused)
    assert "done" in _text(receive(model, Message("done")))


def test_a_paused_view_stays_as_it_is_but_says_that_redis_is_gone() -> None:
    model = _pressed(MODEL, "space")
    model = receive(model, _snapshot(_job("new", 1), completed=10, taken_s=2.0))

    assert _ids(model) == ["a", "b", "c"]
    assert model.rates == ()
    assert "Redis unavailable for 1.0s: refused" in _text(
        receive(model, ReadFailed(0.0, "refused"))
    )
    assert "PAUSED" in _text(model)
    resumed = receive(_pressed(model, "p"), _snapshot(_job("new", 1), completed=12, taken_s=3.0))
    assert _ids(resumed) == ["new"]
    assert resumed.rates == (Rate(4.0, 0.0),)


def test_why_redis_cannot_be_read_is_shown_to_its_end() -> None:
    reason = "Redis at 10.0.0.5:6379 denied access: NOAUTH Authentication required; the URL has no "
    reason += "password"

    lines = _text(receive(MODEL, ReadFailed(0.0, reason))).splitlines()

    assert " ".join(lines[1:3]) == f"Redis unavailable for 1.0s: {reason}"
    assert len(lines) == 24


def test_the_outage_is_counted_from_its_beginning_and_forgotten_at_its_end() -> None:
    model = receive(receive(MODEL, ReadFailed(10.0, "refused")), ReadFailed(20.0, "timed out"))

    assert (model.lost_since_s, model.lost_reason) == (10.0, "timed out")
    assert receive(model, _snapshot()).lost_since_s is None


def test_throughput_is_never_negative() -> None:
    model = receive(receive(Model(), _snapshot(completed=9)), _snapshot(completed=2, taken_s=1.0))

    assert model.rates == (Rate(0.0, 0.0),)


def test_pools_that_are_short_of_workers_are_shown_even_without_any() -> None:
    wanted = {"main": Replicas(2, 2), "io": Replicas(3, 3)}
    model = replace(MODEL, wanted_replicas=wanted)

    lines = [line.split() for line in _text(model).splitlines()]

    assert ["main", "1/2", "5/10", "50%"] in lines
    assert ["io", "0/3", "0/0"] in lines


def test_an_autoscaled_pool_is_short_of_workers_below_its_minimum_only() -> None:
    model = replace(MODEL, wanted_replicas={"main": Replicas(1, 20)})
    assert model.snapshot is not None

    [pool] = pool_rows(model, model.snapshot)

    assert (pool.cells[1], pool.is_alert) == ("1/1-20", False)


def test_the_help_fits_80_columns() -> None:
    assert "…" not in _text(_pressed(MODEL, "?"))


@pytest.mark.parametrize("size", [(1, 1), (10, 3), (80, 24), (120, 10), (200, 50)])
@pytest.mark.parametrize("keys", ["", "2", "3", "?", "/x", "\r"])
def test_every_view_has_the_size_of_the_terminal(size: tuple[int, int], keys: str) -> None:
    workers = tuple(_worker(f"w-{n}", f"pool-{n}", stuck=n % 2) for n in range(60))
    snapshot = replace(_snapshot(_job("猫" * 40, 5, "é\x1b[2J\n\t"), dead=50), workers=workers)
    model = _pressed(receive(Model(title="shop"), snapshot), *split_keys(keys))

    lines = view(receive(model, ReadFailed(0.0, "refused")), Size(*size), 5.0)

    assert len(lines) == size[1]
    assert max(cell_len(line.plain) for line in lines) <= size[0]
    assert not any(set("\x1b\n\t") & set(line.plain) for line in lines)


def test_quit_leaves_from_everywhere_but_the_filter() -> None:
    for keys in ((), ("?",), ("enter",), ("space",)):
        assert press(_pressed(MODEL, *keys), "q", 10)[1] == Quit()
    assert press(_pressed(MODEL, "/"), "q", 10)[1] is None
