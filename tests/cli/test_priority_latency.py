"""The latency that `up` guarantees for high-priority jobs, measured."""

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

LOW_JOBS = 6_000

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin}
"""

JOBS = """\
import time
from pathlib import Path

from bananas_topology import job


@job("nap")
def nap(payload: object) -> None:
    if not Path("measured").exists():
        time.sleep(0.02)


@job("note")
def note(payload: object) -> float:
    return time.time()
"""

#: Maximum seconds from `enqueue` to the first line of the handler. On an idle machine it takes
#: about 0.02, the rest of a nap; in order of arrival, it would take 24.
MAX_WAIT_S = 2.0


def test_high_priority_job_overtakes_6000_low_ones_which_all_finish(tmp_path: Path) -> None:
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
                waits = [_wait_of_a_high_priority_job(client) for _ in range(5)]
                ready = inspector.backlog().ready
                (tmp_path / "measured").touch()

            # The median: a busy machine may delay single jobs.
            assert sorted(waits)[2] < MAX_WAIT_S, waits
            assert ready > LOW_JOBS / 2, "the low-priority jobs finished too early to show anything"
            wait_for(lambda: inspector.backlog().completed == LOW_JOBS + len(waits), 60)
            assert (inspector.backlog().dead, inspector.backlog().running) == (0, 0)
        finally:
            process.terminate()
            process.wait(20)


def _wait_of_a_high_priority_job(client: Client) -> float:
    enqueued_at = time.time()
    started = client.wait(client.enqueue("note", priority="high"), "20s")
    return float(started) - enqueued_at
