"""A worker whose handlers take long to import is alive from the beginning, and ready at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bananas_topology.client import Client
from bananas_topology.system.notify import NotifySocket
from tests.jobs.servers import free_port
from tests.test_liveness import check_liveness
from tests.waiting import wait_for
from tests.worker.support import HERE, Starter, WorkerProcess
from tests.worker.test_exporter import get


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Path]:
    """While this file exists, the handlers are being imported."""
    file = tmp_path / "model"
    file.touch()
    yield file
    file.unlink(missing_ok=True)  # so that processes end that were forked meanwhile


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as other, suppress(OSError):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("", port))
        return True
    return False


def _start(start: Starter, model: Path, **variables: str) -> WorkerProcess:
    return start(ready=False, WORKER_HANDLERS="slow_jobs", MODEL=str(model), **variables)


def test_probes_answer_while_handlers_are_imported(
    start: Starter, producer: Client, model: Path, tmp_path: Path
) -> None:
    port, file = free_port(), tmp_path / "alive"
    worker = _start(start, model, METRICS_PORT=str(port), LIVENESS_FILE=str(file))
    job_id = producer.enqueue("pid", None)

    wait_for(lambda: _listens(port) and file.exists())
    assert get(port, "/livez") == (200, "ok\n")
    for path in ("/livez?started", "/readyz", "/metrics"):
        assert get(port, path) == (503, "starting: importing handlers\n")
    wait_for(lambda: check_liveness(file).returncode == 0)
    assert "the worker is starting" in check_liveness(file, "--started").stderr
    assert "worker ready" not in worker.text()

    model.unlink()

    assert producer.wait(job_id, timeout=20) == worker.process.pid
    assert {get(port, path)[0] for path in ("/livez?started", "/livez", "/readyz")} == {200}
    assert "bananas_worker_total" in get(port, "/metrics")[1]
    wait_for(lambda: check_liveness(file, "--started").returncode == 0)
    assert worker.end() == 0


def test_the_liveness_file_is_touched_again_and_again(
    start: Starter, model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alive"
    _start(start, model, LIVENESS_FILE=str(file))

    wait_for(file.exists)
    first = file.stat().st_mtime_ns
    wait_for(lambda: file.stat().st_mtime_ns > first)


def test_a_failing_import_ends_the_worker_with_the_line_of_the_users_code(
    start: Starter, model: Path, tmp_path: Path
) -> None:
    port, file = free_port(), tmp_path / "alive"
    variables = {"METRICS_PORT": str(port), "LIVENESS_FILE": str(file), "BROKEN": "1"}
    worker = _start(start, model, **variables)
    wait_for(lambda: _listens(port) and file.exists())

    model.unlink()

    assert worker.process.wait(20) == 2
    error = "error: cannot import module slow_jobs: RuntimeError: no such model ("
    assert worker.text().startswith(error)
    assert f"{HERE / 'slow_jobs.py'}, line 33)" in worker.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_that_is_starting(
    start: Starter, model: Path, number: signal.Signals
) -> None:
    port = free_port()
    worker = _start(start, model, METRICS_PORT=str(port))
    wait_for(lambda: _listens(port))

    assert worker.end(number) == -number


def test_a_starting_worker_reports_nothing_to_a_supervisor(
    start: Starter, model: Path, tmp_path: Path
) -> None:
    """What has reported once is killed when it reports no longer."""
    port = free_port()
    with NotifySocket(tmp_path / "n") as receiver:
        _start(start, model, METRICS_PORT=str(port), NOTIFY_SOCKET=str(receiver.path))
        wait_for(lambda: _listens(port))

        assert receiver.receive() == []

        model.unlink()
        wait_for(receiver.receive)


def test_a_process_that_a_module_has_forked_does_not_keep_the_port(
    start: Starter, model: Path
) -> None:
    port = free_port()
    worker = _start(start, model, METRICS_PORT=str(port), FORKED="1")
    wait_for(lambda: _listens(port))
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    wait_for(children.read_text)

    assert worker.end(signal.SIGKILL) == -signal.SIGKILL

    # The child may only just have been forked, but lives until the test ends.
    wait_for(lambda: _is_free(port))


def test_the_first_process_of_a_container_obeys_while_it_starts(
    start: Starter, model: Path, tmp_path: Path
) -> None:
    """Otherwise the kernel discards the signal, and the worker goes on to claim jobs."""
    unshare = ["unshare", "--user", "--pid", "--fork", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"]).returncode != 0:
        pytest.skip("no user namespaces")
    file = tmp_path / "alive"
    env = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "WORKER_HANDLERS": "slow_jobs",
        "MODEL": str(model),
        "LIVENESS_FILE": str(file),
        "REDIS_URL": start.url,
    }
    command = [*unshare, sys.executable, "-m", "bananas_topology.worker"]
    with subprocess.Popen(command, env=env) as parent:
        wait_for(file.exists)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()

        os.kill(int(children[0]), signal.SIGTERM)

        assert parent.wait(20) == 0
