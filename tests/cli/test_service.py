"""`up` as a service: what it tells systemd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from bananas_topology import Client
from bananas_topology.system.notify import VARIABLE, NotifySocket
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
redis: {url: "${REDIS_URL}", key_prefix: "${PREFIX}"}
pools:
  worker: {mode: thin, concurrency: 3, replicas: 2}
"""

JOBS = """\
from bananas_topology import job


@job("quick")
def quick(payload: int) -> int:
    return payload
"""


def test_up_reports_readiness_counts_and_its_stop(
    tmp_path: Path, server_url: str, prefix: str, producer: Client
) -> None:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "env").write_text(f"REDIS_URL={server_url}\nPREFIX={prefix}\n")
    received: dict[str, list[str]] = {}
    with NotifySocket(tmp_path / "notify") as receiver:

        def has_come(name: str, pattern: str) -> bool:
            for message in receiver.receive():
                assert message.pid == process.pid
                for field, value in message.fields.items():
                    received.setdefault(field, []).append(value)
            return any(re.search(pattern, value) for value in received.get(name, ()))

        environ = os.environ | {VARIABLE: str(receiver.path)}
        argv = [sys.executable, "-m", "bananas_topology", "up", "--env-file", "env"]
        with subprocess.Popen(
            argv, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_for(lambda: has_come("READY", "1"), 30)
                producer.enqueue("quick", 1)
                counts = r"2 of 2 processes ready, \d of 6 slots busy, 1 jobs completed, 0 failed"
                wait_for(lambda: has_come("STATUS", counts), 20)
                assert has_come("WATCHDOG", "1")
                process.send_signal(signal.SIGTERM)
                wait_for(lambda: has_come("STOPPING", "1"), 20)
                # A success, which is not restarted.
                assert process.wait(20) == 0
            finally:
                process.kill()
