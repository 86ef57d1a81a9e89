"""`doctor`: what it prints, what it exits with, and that it is silent about healthy systems."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis

from bananas_topology import Client
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.survey import Surveyor
from bananas_topology.supervisor.record import find
from tests.cli.shell import JOBS, Shell
from tests.doctor.seeding import SOUND, Seed, topology_text
from tests.jobs.servers import free_port
from tests.waiting import wait_for

#: Checks that rightly raise an alarm on a busy machine: latency, and heartbeats in time.
OF_THIS_MACHINE = ("DR208", "DR413")

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").rglob("*.yaml"))


def _write(shell: Shell, text: str, prefix: str) -> None:
    (shell.directory / "topology.yaml").write_text(topology_text(text, prefix))


def test_a_report_says_status_measure_threshold_and_fix_of_each_check(
    shell: Shell, client: redis.Redis, keys: Keys
) -> None:
    _write(shell, SOUND, keys.prefix)
    Seed(client, keys).push(keys.queue("high"))

    result = shell("doctor", "--observe", "100ms")
    as_json = json.loads(shell("doctor", "--observe", "100ms", "--format", "json").stdout)

    rows = [line.split("\t") for line in result.stdout.splitlines()]
    [row] = [row for row in rows if row[1] == "DR501"]
    assert result.returncode == 1
    assert rows[0] == ["status", "code", "group", "check", "measured", "expected", "fix"]
    assert row[0] == "failure"
    assert row[4] == "1 ready job, no workers running"
    assert row[6]
    assert [each["code"] for each in as_json["checks"]] == [row[1] for row in rows[1:]]
    assert as_json["passed"] is False
    assert as_json["failure"] == sum(row[0] == "failure" for row in rows)


def test_only_some_checks_are_run_and_without_failures_it_passes(shell: Shell, keys: Keys) -> None:
    _write(shell, SOUND, keys.prefix)

    result = shell("doctor", "--only", "topology", "--only", "DR203")
    wrong = shell("doctor", "--only", "toplogy")

    codes = [line.split("\t")[1] for line in result.stdout.splitlines()[1:]]
    assert result.returncode == 0
    assert codes[-1] == "DR203"
    assert all(code.startswith("DR1") for code in codes[:-1])
    assert wrong.returncode == 2
    assert "toplogy" in wrong.stderr


def test_on_a_terminal_checks_are_grouped_and_what_is_wrong_comes_with_its_fix(
    shell: Shell, keys: Keys
) -> None:
    _write(shell, SOUND + "kubernetes: {monitoring: none}", keys.prefix)

    code, shown = shell.on_terminal("doctor", "--observe", "0s", NO_COLOR="1")

    lines = shown.replace("\r", "").splitlines()
    assert code == 1  # the tests' server persists nothing
    assert lines[0] == "Before deploying: topology"
    assert "After deploying" in lines
    assert "  warning  DR108  Monitoring: kubernetes.monitoring is none" in lines
    assert any(line.strip().startswith("fix: set kubernetes:") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_missing_file_fails_and_nothing_to_check_is_an_error(shell: Shell) -> None:
    missing = shell("doctor", "nowhere.yaml", "--only", "topology")
    nothing = shell("doctor", REDIS_URL="")

    assert (missing.returncode, nothing.returncode) == (1, 1)
    assert "failure\tDR101" in missing.stdout
    assert nothing.stderr.startswith("error: nothing to check")


def test_a_topology_under_the_other_name_is_named(shell: Shell) -> None:
    (shell.directory / "topology.yml").write_text(SOUND)

    result = shell("doctor", REDIS_URL="")

    assert "warning: topology.yml is not read: rename it to topology.yaml" in result.stderr
    assert "error: nothing to check" in result.stderr


def test_a_watch_repeats_until_it_is_interrupted(shell: Shell, keys: Keys) -> None:
    _write(shell, SOUND, keys.prefix)
    with shell.start(
        "doctor", "--watch", "--only", "DR108", stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        headers = [line for _ in range(4) if (line := process.stdout.readline()).startswith("st")]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130

    assert len(headers) == 2


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_the_shipped_topologies_are_sound(shell: Shell, path: Path) -> None:
    result = shell("doctor", str(path), "--only", "topology", "--format", "json")

    assert {each["status"] for each in json.loads(result.stdout)["checks"]} == {"ok"}


def test_a_healthy_running_system_raises_no_alarm(bundled_shell: Shell) -> None:
    directory = bundled_shell.directory
    # Counts are published with each heartbeat, every third of the lease.
    text = SOUND.replace("add:", "double:").replace("replicas: 1}}", "replicas: 1, lease: 6s}}")
    text += "schedules: {n: {cron: '0 2 * * *', job: double}}\n"
    port = free_port()
    text += f"api: {{port: {port}, resources: {{limits: {{memory: 512Mi}}}}}}"
    (directory / "topology.yaml").write_text(topology_text(text))
    (directory / "jobs.py").write_text(JOBS)
    with bundled_shell.start("up", stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: find(directory) or process.poll() is not None)
            record = find(directory)
            assert record is not None
            with Client(record.redis_url) as producer, connect(record.redis_url) as client:
                for number in range(200):
                    producer.wait(producer.enqueue("double", number), "20s")
                surveyor = Surveyor(client, Keys(record.key_prefix), ("n",))
                wait_for(lambda: _has_reported(surveyor))
                wait_for(lambda: _answers(port))
                result = bundled_shell("doctor", "--format", "json")
        finally:
            process.send_signal(signal.SIGTERM)

    report = json.loads(result.stdout)
    [served] = [each for each in report["checks"] if each["code"] == "DR304"]
    assert served["measured"] == f"port {port} is served by `bananas up`"
    alarms = [each for each in report["checks"] if each["status"] in ("warning", "failure")]
    assert not [each for each in alarms if each["code"] not in OF_THIS_MACHINE]
    assert not [each for each in report["checks"] if each["status"] == "skipped"]
    assert result.returncode == (1 if report["failure"] else 0)


def _has_reported(surveyor: Surveyor) -> bool:
    """Whether the worker has published its counts, and the scheduler its schedule."""
    survey = surveyor.survey()
    finished = sum(worker.finished or 0 for worker in survey.live_workers)
    is_scheduled = "n" in survey.schedules and survey.schedules["n"].next_run is not None
    return len(survey.live_workers) == 2 and finished >= 200 and is_scheduled


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
