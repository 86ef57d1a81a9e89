"""`rescue`: jobs that dead workers of the Go implementation left behind."""

from __future__ import annotations

import json

import pytest
import redis

from bananas_topology import Client
from bananas_topology.jobs.keys import Keys
from tests.cli.shell import Shell
from tests.jobs.test_stranded import go_job, hold


@pytest.mark.usefixtures("worker")
def test_stranded_jobs_are_listed_and_with_yes_requeued(
    shell: Shell, client: redis.Redis, keys: Keys, producer: Client
) -> None:
    hold(client, keys, "lost", go_job("lost", name="double", payload=21, age_s=7200))
    hold(client, keys, "running", go_job("running", name="double", age_s=5))

    listed = shell("rescue")
    assert client.llen(keys.processing) == 2
    as_json = json.loads(shell("rescue", "--format", "json").stdout)
    rescued = shell("rescue", "--yes")

    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    assert rows[1] == ["lost", "double", "high", "processing", "2h", "requeue"]
    assert [row[-1] for row in rows[2:]] == ["wait"]
    assert listed.stderr == "1 stranded job; requeue with --yes\n"
    assert as_json["older_than_ms"] == 3_600_000
    assert [job["action"] for job in as_json["jobs"]] == ["requeue", "wait"]
    assert rescued.stderr == "1 job requeued\n"
    assert producer.wait("lost", "20s") == 42
    assert client.lrange(keys.processing, 0, -1) == [b"running"]


def test_the_age_from_which_jobs_count_follows_the_longest_timeout(
    shell: Shell, client: redis.Redis, keys: Keys
) -> None:
    topology = "version: 1\nname: shop\nhandlers: [jobs]\npools: {w: {mode: thin}}\n"
    topology += f"redis: {{key_prefix: {keys.prefix}}}\njobs: {{double: {{timeout: 3h}}}}\n"
    (shell.directory / "topology.yaml").write_text(topology)
    hold(client, keys, "running", go_job("running", age_s=10_900))

    result = shell("rescue", "--yes")
    wrong = shell("rescue", "--older-than", "long")
    short = shell("rescue", "--older-than", "2h")

    assert result.stdout.splitlines()[1].endswith("wait")
    assert client.llen(keys.processing) == 1
    assert short.stderr.startswith("warning: jobs younger than 3h5m may still be running\n")
    assert wrong.returncode == 2
    assert '"long"' in wrong.stderr


def test_a_dry_run_says_that_no_job_is_old_enough(
    shell: Shell, client: redis.Redis, keys: Keys
) -> None:
    assert shell("rescue").stderr == "no jobs in queue:processing\n"
    hold(client, keys, "a", go_job("a"))
    assert shell("rescue").stderr == "no job has been held for longer than 1h\n"
