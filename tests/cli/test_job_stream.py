"""`bananas up` on a terminal shows jobs as they finish."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bananas_topology import Client
from bananas_topology.client import NewJob
from tests.cli.running import JOBS, TOPOLOGY, shop_in
from tests.cli.shell import Shell

#: Jobs that end in quick succession, after `up` was told to stop.
LEAVING = """\
import os
import signal
import threading
import time

from bananas_topology import job

ALL_RUN = threading.Barrier(3)


@job("leave")
def leave(payload: float) -> None:
    if ALL_RUN.wait(20) == 0:
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(payload)
"""


@pytest.fixture
def shop(shell: Shell) -> Iterator[Shell]:
    shell.environ["NO_COLOR"] = "1"
    with shop_in(shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _lines_about(shown: str, job_id: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", shown) if job_id in line]


def test_each_finished_job_is_shown_once(shop: Shell, producer: Client) -> None:
    done = producer.enqueue("quick", 1)
    failed = producer.enqueue("fail")

    _, shown = shop.on_terminal("up", "--drain")

    [line] = _lines_about(shown, done)
    expected = rf"worker-\d +\| \d\d:\d\d:\d\d info  job completed job_id={done} job_type=quick "
    assert re.search(expected + r"attempt=1 duration_ms=\d+$", line), line
    # The worker's log has it, with its error.
    [line] = _lines_about(shown, failed)
    assert "error job buried" in line
    assert "no use" in line
    logs = shop("logs", "--format", "json").stdout
    assert done not in logs
    assert failed in logs


def test_jobs_that_finish_while_everything_stops_are_shown(shop: Shell, producer: Client) -> None:
    (shop.directory / "jobs.py").write_text(LEAVING)
    last_ones = [producer.enqueue("leave", 0.3 + 0.03 * number) for number in range(3)]

    code, shown = shop.on_terminal("up", "--scale", "worker=1")

    assert code == 0
    assert [len(_lines_about(shown, job_id)) for job_id in last_ones] == [1, 1, 1]


@pytest.mark.parametrize("option", ["--quiet", "--log-format=json"])
def test_finished_jobs_are_not_shown_if_not_wanted(
    shop: Shell, producer: Client, option: str
) -> None:
    job_id = producer.enqueue("quick", 1)

    _, shown = shop.on_terminal("up", "--drain", option)

    assert _lines_about(shown, job_id) == []


def test_finished_jobs_are_not_shown_in_a_pipe(shop: Shell, producer: Client) -> None:
    job_id = producer.enqueue("quick", 1)

    result = shop("up", "--drain")

    assert result.returncode == 0
    assert job_id not in result.stdout + result.stderr


def test_many_jobs_are_counted_instead(shop: Shell, producer: Client) -> None:
    producer.enqueue_many([NewJob("quick", number) for number in range(2000)])

    _, shown = shop.on_terminal("up", "--drain")

    # At most 20 in each second, of which a busy machine may need some.
    assert shown.count("job completed") <= 200
    assert "2,000 completed" in shown


def test_the_log_level_of_a_run_is_chosen(shop: Shell, producer: Client) -> None:
    job_id = producer.enqueue("quick", 1)
    shown = shop("up", "--drain", "--log-level", "debug").stdout
    [line] = _lines_about(shown, job_id)
    assert "debug job completed" in line

    job_id = producer.enqueue("fail")
    shown = shop("up", "--drain", "--log-level", "error").stdout
    assert "worker ready" not in shown
    [line] = _lines_about(shown, job_id)
    assert "error job buried" in line
