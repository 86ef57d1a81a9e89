from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from bananas_topology import Client
from bananas_topology.cli.enqueue.batch import CHUNK_BYTES
from bananas_topology.jobs.inspect import Inspector
from tests.cli.shell import Shell, running_worker
from tests.waiting import wait_for


def test_id_goes_to_standard_output_and_messages_to_standard_error(
    shell: Shell, producer: Client
) -> None:
    result = shell("enqueue", "double", "--payload", "[1.10, {}]", "--max-retries", "7")

    assert result.returncode == 0
    body = producer.get(result.stdout.strip()).body
    assert body is not None
    assert (body["name"], body["payload"], body["priority"]) == ("double", [1.1, {}], "normal")
    assert body["max_retries"] == 7
    assert "no workers running" in result.stderr


def test_user_who_may_only_enqueue_gets_the_id(
    shell: Shell, client: redis.Redis, inspector: Inspector, server_url: str, prefix: str
) -> None:
    user = f"producer-{prefix}"
    rules = ("on", ">pw", "~*", "&*", "+@all", "-zrangebyscore")
    # redis-py does not annotate this method.
    client.execute_command("ACL", "SETUSER", user, *rules)  # type: ignore[no-untyped-call]
    try:
        url = server_url.replace("redis://", f"redis://{user}:pw@")
        result = shell("enqueue", "double", "--id", "mine", REDIS_URL=url)
    finally:
        client.acl_deluser(user)

    assert (result.returncode, result.stdout) == (0, "mine\n"), result.stderr
    assert inspector.backlog().ready == 1


def test_job_with_an_existing_id_is_enqueued_once(shell: Shell, inspector: Inspector) -> None:
    for _ in range(2):
        assert shell("enqueue", "double", "--id", "mine").stdout == "mine\n"

    assert inspector.backlog().ready == 1


@pytest.mark.parametrize("option", [("--in", "5m"), ("--at", "2090-01-31T18:00Z")])
def test_delayed_job_is_scheduled(
    shell: Shell, inspector: Inspector, option: tuple[str, str]
) -> None:
    result = shell("enqueue", "double", *option)

    view = inspector.job(result.stdout.strip())
    assert (view.status, inspector.backlog().scheduled) == ("scheduled", 1)


@pytest.mark.parametrize("option", [("--in", "-5m"), ("--in", "0s")])
def test_job_whose_delay_has_passed_is_ready(
    shell: Shell, inspector: Inspector, option: tuple[str, str]
) -> None:
    result = shell("enqueue", "double", *option)

    assert inspector.job(result.stdout.strip()).status == "pending"


def test_payload_is_read_from_a_file_or_standard_input(shell: Shell, inspector: Inspector) -> None:
    (shell.directory / "payload.json").write_text('{"a": 1}')

    first = shell("enqueue", "double", "--payload", "@payload.json")
    second = shell("enqueue", "double", "--payload", "-", stdin='{"a": 2}')

    bodies = [inspector.job(result.stdout.strip()).body or {} for result in (first, second)]
    assert [body["payload"] for body in bodies] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "arguments",
    [
        ("double", "--payload", "text"),
        ("double", "--payload", "NaN"),
        ("double", "--in", "5m", "--at", "2090-01-01T00:00Z"),
        ("double", "--at", "tomorrow"),
        ("double", "--batch", "-"),
        (),
    ],
)
def test_invalid_command_line_is_a_usage_error(
    shell: Shell, inspector: Inspector, arguments: tuple[str, ...]
) -> None:
    result = shell("enqueue", *arguments)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert inspector.backlog().ready == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("double", "--priority", "urgent"), "expected one of high, normal, low"),
        (("two words",), "expected 1 to 200 characters"),
        (("double", "--in", "soon"), "expected a duration"),
        (("double", "--max-retries", "-1"), "max_retries"),
    ],
)
def test_invalid_job_is_a_usage_error_with_the_expected_value(
    shell: Shell, arguments: tuple[str, ...], expected: str
) -> None:
    result = shell("enqueue", *arguments, "--redis-url", "redis://127.0.0.1:1")

    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr.splitlines()[-1]


def test_missing_payload_file_is_reported_on_one_line(shell: Shell) -> None:
    result = shell("enqueue", "double", "--payload", "@nothing.json")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: nothing.json: No such file or directory\n"


@pytest.mark.usefixtures("worker")
def test_wait_prints_the_result_or_the_error(shell: Shell) -> None:
    done = shell("enqueue", "double", "--payload", "21", "--wait")
    dead = shell("enqueue", "fail", "--wait")

    assert (done.returncode, done.stdout) == (0, "42\n")
    assert (dead.returncode, dead.stdout) == (1, "")
    assert "failed: Bury: no use\n" in dead.stderr
    assert "`bananas job " in dead.stderr.splitlines()[-1]


def test_wait_says_that_a_result_is_not_kept(shell: Shell, inspector: Inspector) -> None:
    with running_worker(shell, inspector, RESULT_BACKEND_ENABLED="false"):
        done = shell("enqueue", "double", "--payload", "21", "--wait")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1].endswith("it has expired, or results are not kept")


@pytest.mark.usefixtures("worker")
def test_unhandled_job_type_is_reported_with_a_suggestion(shell: Shell) -> None:
    result = shell("enqueue", "duoble")

    assert result.returncode == 0
    assert 'no running worker handles "duoble" (did you mean "double"?)' in result.stderr


def test_ctrl_c_during_wait_leaves_the_job_queued(shell: Shell, inspector: Inspector) -> None:
    with shell.start("enqueue", "double", "--wait", stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: inspector.backlog().ready)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in messages
    assert inspector.backlog().ready == 1


def test_priority_comes_from_the_command_line_then_the_topology(
    shell: Shell, inspector: Inspector
) -> None:
    (shell.directory / "topology.yaml").write_text(
        "version: 1\nname: shop\nhandlers: [jobs]\nredis: {key_prefix: "
        f"{shell.environ['REDIS_KEY_PREFIX']}}}\n"
        "jobs: {double: {priority: high}}\npools: {worker: {mode: thin}}\n"
    )

    shell("enqueue", "double")
    shell("enqueue", "double", "--priority", "low")
    shell("enqueue", "--batch", "-", stdin='{"name": "double"}\n{"name": "other"}\n')

    ready = {depth.priority: depth.shared.count for depth in inspector.depths()}
    assert ready == {"high": 2, "normal": 1, "low": 1}


def _write_lines(path: Path, *lines: object) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_batch_line_accepts_all_fields(shell: Shell, inspector: Inspector) -> None:
    _write_lines(
        shell.directory / "jobs.jsonl",
        {"name": "a", "payload": {"n": 1}, "priority": "high", "id": "one", "max_retries": 9},
        {"name": "a", "id": "two", "delay": "1h"},
        {"name": "a", "id": "three", "at": "2090-01-31T17:00Z"},
        {"name": "a", "id": "four", "delay": -1},
        {"name": "a", "id": "five", "delay": "-5m"},
    )

    result = shell("enqueue", "--batch", "jobs.jsonl")

    assert (result.returncode, result.stdout) == (0, "one\ntwo\nthree\nfour\nfive\n")
    assert "enqueued 5 jobs" in result.stderr
    body = inspector.job("one").body or {}
    assert (body["payload"], body["priority"], body["max_retries"]) == ({"n": 1}, "high", 9)
    assert [inspector.job(each).status for each in ("two", "three")] == ["scheduled"] * 2
    assert [inspector.job(each).status for each in ("four", "five")] == ["pending"] * 2


INVALID_LINES = (
    '{"name": "good"}\n\n{"name": "good", "nme": 1}\n{"payload": 1}\n[]\nno json\n'
    '{"name": "x", "max_retries": "many"}\n{"name": "x", "at": "2090-01-31T17:00"}\n'
    '{"name": "x", "priority": "urgent"}\n{"name": "x", "payload": NaN}\n{"name": "good"}\n'
)


def test_file_with_invalid_lines_enqueues_nothing_and_reports_all(
    shell: Shell, inspector: Inspector
) -> None:
    (shell.directory / "jobs.jsonl").write_text(INVALID_LINES)

    result = shell("enqueue", "--batch", "jobs.jsonl")

    assert (result.returncode, result.stdout) == (1, "")
    *invalid, last = result.stderr.splitlines()
    assert [line.split(":")[1] for line in invalid] == [str(number) for number in range(3, 11)]
    assert "unknown field nme" in invalid[0]
    assert last == "error: 8 of 10 lines invalid; nothing was enqueued"
    assert inspector.backlog().ready == 0


def test_valid_lines_from_standard_input_are_enqueued(shell: Shell, inspector: Inspector) -> None:
    result = shell("enqueue", "--batch", "-", stdin=INVALID_LINES)

    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == inspector.backlog().ready == 2
    assert "standard input:3: error: " in result.stderr
    assert "enqueued 2 jobs, skipped 8 invalid lines" in result.stderr


def test_standard_input_is_enqueued_as_it_arrives(shell: Shell, inspector: Inspector) -> None:
    with shell.start(
        "enqueue",
        "--batch",
        "-",
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write('{"name": "a"}\n{"name": "b"}\n{"name": ')
        process.stdin.flush()
        # An id is printed once its job is counted.
        ids = [process.stdout.readline() for _ in range(2)]
        assert inspector.backlog().ready == 2

        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)

    assert process.returncode == 130
    assert all(ids)
    assert "stopped: enqueued 2 jobs, through line 2 of standard input" in messages


def test_line_longer_than_a_chunk_keeps_every_byte(shell: Shell, inspector: Inspector) -> None:
    head = b'\xef\xbb\xbf{"name": "double", "id": "long", "payload": "'
    # A byte order mark at the start of the second chunk belongs to the payload.
    payload = b"x" * (CHUNK_BYTES - len(head)) + b"\xef\xbb\xbf" + b"y" * CHUNK_BYTES
    (shell.directory / "jobs.jsonl").write_bytes(head + payload + b'"}')

    result = shell("enqueue", "--batch", "jobs.jsonl")

    assert result.returncode == 0, result.stderr
    body = inspector.job("long").body
    assert body is not None
    assert body["payload"].encode() == payload


def test_the_id_is_printed_as_it_is_but_cannot_control_a_terminal(shell: Shell) -> None:
    piped = shell("enqueue", "add", "--id", "a\x1b[2J\u202e")
    _, shown = shell.on_terminal("enqueue", "add", "--id", "b\x1b[2J\u202e")

    assert piped.stdout == "a\x1b[2J\u202e\n"
    assert "b\\x1b[2J\\u202e" in shown
    assert "\x1b[2J" not in shown


def test_large_batch_shows_progress_on_a_terminal(shell: Shell, inspector: Inspector) -> None:
    path = shell.directory / "jobs.jsonl"
    path.write_text("".join(f'{{"name": "a", "payload": {n}.10}}\n' for n in range(20_000)))

    code, shown = shell.on_terminal("enqueue", "--batch", "jobs.jsonl")

    assert code == 0
    assert "20000/20000" in shown
    assert "enqueued 20,000 jobs" in shown
    assert inspector.backlog().ready == 20_000
