"""The README's quick start, done as it says: in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.documents import ROOT, blocks_of, commands
from tests.waiting import wait_for


def _quick_start() -> tuple[list[str], list[str]]:
    """The commands of the first terminal and of the second."""
    text = (ROOT / "README.md").read_text("utf-8")
    begin = text[: text.index("\n## Quick start")].count("\n") + 1
    first, second = [
        block for block in blocks_of(ROOT / "README.md")
        if block.language == "sh" and block.line > begin
    ][:2]  # fmt: skip
    return list(commands(first)), list(commands(second))


def test_the_quick_start_does_what_it_says(tmp_path: Path) -> None:
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}

    def argv(command: str) -> list[str]:
        return [sys.executable, "-m", "bananas_topology", *shlex.split(command)[1:]]

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv(command), cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )

    (install, init, up), (enqueue, enqueue_more, queues, job) = _quick_start()
    assert install.startswith("pip install")
    assert run(init).returncode == 0
    with subprocess.Popen(argv(up), cwd=tmp_path, env=environ, stderr=subprocess.PIPE) as running:
        try:
            wait_for(lambda: (tmp_path / ".bananas").is_dir() and run(queues).returncode == 0)
            greeting = run(enqueue)
            job_id = run(enqueue_more).stdout.strip()
            wait_for(lambda: "completed" in run(job.replace("ID", job_id)).stdout)
        finally:
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=60)

    assert "Hello you" in greeting.stdout
    assert re.fullmatch(r"[0-9a-f-]{36}", job_id)
    assert running.returncode in (0, 130)
