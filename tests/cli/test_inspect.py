"""`queues`, `job` and `dead`: the commands that inspect and repair the queues."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
import redis

from bananas_topology import Client
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from tests.cli.shell import Shell
from tests.waiting import wait_for


def _tables(text: str) -> list[list[list[str]]]:
    return [
        [line.split("\t") for line in table.splitlines()] for table in text.strip().split("\n\n")
    ]


def test_queues_shows_depths(shell: Shell, producer: Client) -> None:
    producer.enqueue("a", priority="high")
    producer.enqueue("a", priority="low")
    producer.enqueue("a", delay="1h")

    result = shell("queues")

    [rows] = _tables(result.stdout)
    assert rows[0] == ["queue", "jobs", "oldest", "note"]
    assert {row[0]: row[1] for row in rows[1:]} == {
        "high": "1", "normal": "0", "low": "1",
        "scheduled": "1", "running": "0", "dead": "0", "completed": "0",
    }  # fmt: skip
    assert result.stderr == "no workers running\n"


@pytest.mark.usefixtures("worker")
def test_queues_shows_workers_and_unhandled_job_types(
    shell: Shell, producer: Client, inspector: Inspector
) -> None:
    producer.enqueue("unknown", priority="high")
    wait_for(lambda: inspector.depths()[0].parked)

    as_text = shell("queues")
    as_json = json.loads(shell("queues", "--format", "json").stdout)

    queues, workers = _tables(as_text.stdout)
    rows = {name: (jobs, oldest, note) for name, jobs, oldest, note in queues}
    assert rows["high"] == ("0", "", "")
    jobs, oldest, note = rows["high: unknown"]
    assert (jobs, note) == ("1", "no handler")
    assert oldest.endswith("s")
    assert workers[1][:2] == ["w-0", "w"]
    assert as_json["queues"]["high"]["parked"] == {"unknown": 1}
    assert as_json["queues"]["high"]["unhandled"] == ["unknown"]
    assert [worker["id"] for worker in as_json["workers"]] == ["w-0"]


def test_queues_is_a_table_on_a_terminal(shell: Shell) -> None:
    code, shown = shell.on_terminal("queues")
    _, plain = shell.on_terminal("queues", NO_COLOR="1")

    assert code == 0
    assert re.search(r"\x1b\[1m\s*queue", shown)
    assert "\x1b[" not in plain
    assert "\t" not in plain


@pytest.mark.usefixtures("worker")
def test_narrow_terminal_shows_unbroken_ids_and_every_field(shell: Shell, producer: Client) -> None:
    job_ids = [producer.enqueue("fail") for _ in range(2)]
    wait_for(lambda: all(producer.get(job_id).status == "failed" for job_id in job_ids))

    _, dead = shell.on_terminal("dead", "list", COLUMNS="40", NO_COLOR="1")
    _, queues = shell.on_terminal("queues", COLUMNS="40", NO_COLOR="1")

    blocks = dead.replace("\r", "").strip().split("\n\n")
    fields = [dict(line.split(maxsplit=1) for line in block.splitlines()) for block in blocks]
    assert sorted(each["id"] for each in fields) == sorted(job_ids)
    assert {each["error"] for each in fields} == {"Bury: no use"}
    assert re.search(r"^pid +\d+\r?$", queues, re.MULTILINE)


def test_a_time_at_the_end_of_the_calendar_is_shown_in_each_time_zone(
    shell: Shell, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    producer.enqueue("a", delay="1h", id="never")
    # As another program stores it: clients accept the next 100 years.
    client.zadd(
        keys.scheduled, {"never": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()}
    )

    result = shell("job", "never", TZ="Pacific/Kiritimati")

    assert "9999-12-31 23:59:59" in result.stdout, result.stderr


@pytest.mark.usefixtures("worker")
def test_job_shows_status_times_attempts_and_result(shell: Shell, producer: Client) -> None:
    job_id = producer.enqueue("double", 21, priority="high")
    producer.wait(job_id, "20s")

    result = shell("job", job_id)
    as_json = json.loads(shell("job", job_id, "--format", "json").stdout)

    fields = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (fields["type"], fields["status"]) == ("double", "completed")
    assert (fields["payload"], fields["result"]) == ("21", "42")
    assert {"created", "started", "completed", "duration", "attempts"} <= set(fields)
    assert (as_json["status"], as_json["result"], as_json["error"]) == ("completed", 42, None)


def test_unknown_job_is_reported_on_one_line(shell: Shell) -> None:
    result = shell("job", "nothing")

    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert 'no job has the id "nothing"' in line


def test_stored_data_cannot_control_the_terminal(
    shell: Shell, client: redis.Redis, keys: Keys
) -> None:
    client.set(
        keys.job("odd"), b'{"id": "odd", "name": "a\\u001b]0;title\\u0007", "payload": "\xff"}'
    )
    client.set(keys.job("odder"), '{"id": "odder", "name": "a\\u001b[2J", "payload": "\\ud800"}')

    for job_id in ("odd", "odder"):
        code, shown = shell.on_terminal("job", job_id, NO_COLOR="1")

        assert code == 0
        assert "\x1b" not in shown


@pytest.mark.usefixtures("worker")
def test_dead_jobs_are_listed_retried_and_purged(
    shell: Shell, producer: Client, inspector: Inspector
) -> None:
    for number in range(3):
        producer.enqueue("fail", number, id=f"job-{number}")
    wait_for(lambda: inspector.backlog().dead == 3)

    listed = shell("dead", "list", "--type", "fail", "--error", "NO USE", "--limit", "2")
    as_json = json.loads(shell("dead", "list", "--format", "json").stdout)
    shown = shell("job", "job-0")
    retried = shell("dead", "retry", "job-0", "other")
    wait_for(lambda: inspector.backlog().dead == 3)
    purged = shell("dead", "purge", "--error", "no use")

    [rows] = _tables(listed.stdout)
    assert [row[1] for row in rows] == ["type", "fail", "fail"]
    assert "showing the latest 2 (3 dead jobs in total)" in listed.stderr
    assert {job["id"] for job in as_json} == {"job-0", "job-1", "job-2"}
    assert "Traceback" in shown.stdout
    assert (retried.returncode, retried.stdout) == (1, "1 job requeued\n")
    assert "error: 1 of 2 given jobs not found" in retried.stderr
    assert (purged.returncode, purged.stdout) == (0, "3 jobs deleted\n")
    assert inspector.backlog().dead == 0


@pytest.mark.parametrize("command", ["retry", "purge"])
@pytest.mark.parametrize("arguments", [(), ("--all", "--type", "a"), ("--older-than", "long")])
def test_retry_and_purge_require_a_selection(
    shell: Shell, command: str, arguments: tuple[str, ...]
) -> None:
    assert shell("dead", command, *arguments).returncode == 2
