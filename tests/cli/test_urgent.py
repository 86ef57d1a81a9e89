"""What `up` promises of priorities, with the clock in hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bananas_topology import Client, NewJob
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.supervisor.record import find
from tests.waiting import wait_for

LOW_JOBS = 2_000

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin}
"""

JOBS = """\
import time

from bananas_topology import job


@job("nap")
def nap(payload: object) -> None:
    time.sleep(0.02)


@job("note")
def note(payload: object) -> float:
    return time.time()
"""

#: Seconds from `enqueue` to the first line of an urgent handler. On an idle machine it is about
#: 0.02, the rest of a nap; what it would be in the order of arrival is 8.
AT_ONCE_S = 0.5


def test_an_urgent_job_starts_at_once_before_2000_low_ones_which_all_finish(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    argv = [sys.executable, "-m", "bananas_topology", "up"]
    with subprocess.Popen(
        argv, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(lambda: find(tmp_path) or process.poll() is not None)
            record = find(tmp_path)
            assert record is not None
            inspector = Inspector(connect(record.redis_url), Keys(record.key_prefix))
            with Client(record.redis_url) as client:
                client.enqueue_many([NewJob("nap", priority="low")] * LOW_JOBS)
                wait_for(lambda: inspector.backlog().completed >= 10)
                waits = [_wait_of_an_urgent_job(client) for _ in range(5)]
                ready = inspector.backlog().ready

            # Not every one: a machine that is busy with something else stops for a moment.
            assert sorted(waits)[2] < AT_ONCE_S, waits
            assert ready > LOW_JOBS / 2, "the low ones were done before anything was shown"
            wait_for(lambda: inspector.backlog().completed == LOW_JOBS + len(waits), 60)
            assert (inspector.backlog().dead, inspector.backlog().running) == (0, 0)
        finally:
            process.terminate()
            process.wait(20)


def _wait_of_an_urgent_job(client: Client) -> float:
    begun = time.time()
    started = client.wait(client.enqueue("note", priority="high"), "20s")
    return float(started) - begun
