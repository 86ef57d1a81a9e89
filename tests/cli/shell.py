"""Running `bananas` and its workers in tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bananas_topology.jobs.inspect import Inspector
from tests.waiting import wait_for

JOBS = """\
import time
from pathlib import Path
from typing import Any

from bananas_topology import Bury, job


@job("double")
def double(payload: int) -> int:
    return 2 * payload


@job("fail")
def fail(payload: object) -> None:
    raise Bury("no use")


@job("hold")
def hold(payload: str) -> None:
    while not Path(payload).exists():
        time.sleep(0.01)
"""


class Started(subprocess.Popen[Any]):
    """A command that runs; a test that fails in its context does not wait for its end."""

    def __exit__(self, kind: type[BaseException] | None, *more: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *more)


@dataclass(frozen=True)
class Shell:
    """Runs `bananas` in a directory with an environment, as a user does."""

    directory: Path
    environ: dict[str, str]

    def __call__(
        self, *arguments: str, stdin: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with pipes."""
        return subprocess.run(
            [sys.executable, "-m", "bananas_topology", *arguments],
            cwd=self.directory,
            env=self.environ | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, **options: Any) -> Started:
        """Start a command; `options` are those of `Popen`."""
        argv = [sys.executable, "-m", "bananas_topology", *arguments]
        return Started(argv, cwd=self.directory, env=self.environ, **options)

    def on_terminal(self, *arguments: str, answer: str = "", **more: str) -> tuple[int, str]:
        """Run a command on a terminal of 80 columns; returns its exit code and output."""
        terminal, end = os.openpty()
        argv = [sys.executable, "-m", "bananas_topology", *arguments]
        environ = self.environ | {"TERM": "xterm-256color", "COLUMNS": "80"} | more
        with subprocess.Popen(
            argv, cwd=self.directory, env=environ, stdin=end, stdout=end, stderr=end
        ) as process:
            os.close(end)
            os.write(terminal, answer.encode())
            shown = b""
            # Linux raises EIO once the last process has closed the other end.
            with suppress(OSError):
                while chunk := os.read(terminal, 65536):
                    shown += chunk
            process.wait(20)
        os.close(terminal)
        return process.returncode, shown.decode()


@contextmanager
def running_worker(
    shell: Shell, inspector: Inspector, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    (shell.directory / "jobs.py").write_text(JOBS)
    environ = shell.environ | {"WORKER_HANDLERS": "jobs", "WORKER_ID": "w-0", "WORKER_POOL": "w"}
    environ |= more
    argv = [sys.executable, "-m", "bananas_topology.worker"]
    with subprocess.Popen(
        argv, cwd=shell.directory, env=environ, stdout=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(lambda: inspector.workers() or process.poll() is not None)
            yield process
        finally:
            process.kill()
