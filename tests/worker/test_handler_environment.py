"""What a handler module does to the worker's process: its logging, its module names."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from bananas_topology.client import Client
from bananas_topology.errors import JobFailed
from tests.jobs.servers import free_port
from tests.worker.support import Starter

JOBS = """
from bananas_topology import job

@job("fails", max_retries=0)
def fails(payload):
    logging.getLogger("app").warning("app line")
    raise ValueError("boom")
"""

CONFIGURE = """
import logging, logging.config
def configure():
    logging.config.dictConfig({
        "version": 1,
        "formatters": {"plain": {"format": "APP %(levelname)s %(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "root": {"level": "WARNING", "handlers": ["out"]},
    })
"""


@pytest.mark.parametrize(
    "configure",
    [
        f"{CONFIGURE}\nconfigure()",
        "import logging; logging.basicConfig(level='ERROR', force=True, format='APP %(message)s')",
        "import logging; logging.getLogger().handlers.clear(); logging.root.setLevel('ERROR')",
        "import logging; logging.disable(logging.CRITICAL)",
        f"""{CONFIGURE}
from bananas_topology import job
@job("configure")
def at_run_time(payload): configure()
""",
    ],
    ids=["dictConfig", "basicConfig", "no handlers", "disable", "at run time"],
)
def test_a_handler_module_that_configures_logging_does_not_silence_the_worker(
    start: Starter, producer: Client, tmp_path: Path, configure: str
) -> None:
    (tmp_path / "made_jobs.py").write_text(configure + JOBS)
    worker = start(PYTHONPATH=str(tmp_path), WORKER_HANDLERS="made_jobs")
    if "at_run_time" in configure:
        producer.wait(producer.enqueue("configure"), timeout=10)

    with pytest.raises(JobFailed):
        producer.wait(producer.enqueue("fails"), timeout=10)

    worker.wait_for_log("boom")
    assert worker.end() == 0
    assert [worker.text().count(text) for text in ("worker ready", "worker stopped")] == [1, 1]
    assert ("APP WARNING app line" in worker.text()) == ("dictConfig" in configure)


@pytest.mark.parametrize("close", ["sys.stdout = None", "sys.stdout.close()"])
def test_a_handler_module_that_closes_standard_output_does_not_change_the_exit_code(
    start: Starter, producer: Client, tmp_path: Path, close: str
) -> None:
    (tmp_path / "made_jobs.py").write_text(f"import logging, sys\n{close}\n{JOBS}")
    worker = start(ready=False, PYTHONPATH=str(tmp_path), WORKER_HANDLERS="made_jobs")
    with pytest.raises(JobFailed):
        producer.wait(producer.enqueue("fails"), timeout=10)

    assert worker.end() == 0


@pytest.mark.parametrize(
    ("name", "kind"), [("email", "a standard library"), ("redis", "an installed")]
)
def test_a_handler_module_called_like_another_one_is_named(
    start: Starter, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / f"{name}.py").write_text("import logging\n" + JOBS)

    worker = start(ready=False, PYTHONPATH=str(tmp_path), WORKER_HANDLERS=name)

    assert worker.process.wait(20) == 2
    assert worker.text() == (
        f"error: module {name} has no handlers: mark its functions with @job "
        f"({tmp_path}/{name}.py has the name of {kind} module: rename it)\n"
    )


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("from email import send_to", "cannot import name 'send_to' from 'email'"),
        ("import email.sending", "No module named 'email.sending'"),
    ],
)
def test_an_import_that_finds_the_standard_library_instead_is_named(
    start: Starter, tmp_path: Path, statement: str, message: str
) -> None:
    (tmp_path / "email.py").write_text("def send_to(address): ...\n")
    (tmp_path / "made_jobs.py").write_text(f"import logging\n{statement}\n{JOBS}")

    worker = start(ready=False, PYTHONPATH=str(tmp_path), WORKER_HANDLERS="made_jobs")

    assert worker.process.wait(20) == 2
    assert message in worker.text()
    assert f"({tmp_path}/email.py has the name of a standard library module" in worker.text()
    assert "Traceback" not in worker.text()


def test_modules_called_like_those_of_the_standard_library_do_not_stop_a_worker(
    start: Starter, producer: Client, tmp_path: Path
) -> None:
    python = (
        "email",
        "queue",
        "calendar",
        "http",
        "logging",
        "uuid",
        "asyncio",
        "socket",
        "typing",
    )
    for name in (*python, "redis", "msgspec", "hiredis", "cronsim", "prometheus_client"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('mine')\n")
    (tmp_path / "code.py").write_text("OWN = 5\n")
    (tmp_path / "made_jobs.py").write_text(
        dedent("""
            from code import OWN
            from bananas_topology import job
            @job("own")
            def own(payload): return OWN
        """)
    )

    start(PYTHONPATH=str(tmp_path), WORKER_HANDLERS="made_jobs", METRICS_PORT=str(free_port()))

    assert producer.wait(producer.enqueue("own"), timeout=10) == 5
