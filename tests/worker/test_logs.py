from __future__ import annotations

import gzip
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bananas_topology.contract.exit_codes import EXIT_CONFIG
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.worker import logs

CONFIG = WorkerConfig(worker_id="w-0", pool="fast")


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Restores the loggers that are configured for a process."""
    changed = [logging.getLogger(), logging.getLogger("bananas_topology")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in changed]
    yield
    for logger, (handlers, level, propagate) in zip(changed, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate


def _record(message: str, **fields: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": message, "levelno": 30, "created": 1_700_000_000.5})
    vars(record).update(fields)
    return record


def test_json_lines_contain_the_worker_and_the_fields_of_the_event() -> None:
    line = logs.JsonFormatter(CONFIG).format(_record("job failed", job_id="7", delay_ms=5))

    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.500+00:00",
        "level": "warn",
        "msg": "job failed",
        "pool": "fast",
        "worker_id": "w-0",
        "job_id": "7",
        "delay_ms": 5,
    }


def test_text_lines_quote_ambiguous_values_and_end_with_the_traceback() -> None:
    formatter = logs.TextFormatter(color=False)

    line = formatter.format(_record("job failed", error='a "b"', n=1, traceback="one\ntwo\n"))

    assert line.splitlines()[0].endswith('warn  job failed error="a \\"b\\"" n=1')
    assert line.splitlines()[1:] == ["one", "two"]


HOSTILE = "a\x1b[2J\x9b2J\u202eb"


def test_control_characters_are_visible_in_text_lines() -> None:
    record = _record(f"{HOSTILE} logged", job_id=HOSTILE, traceback=f"one\n\ttwo {HOSTILE}")

    line = logs.TextFormatter(color=True).format(record)

    shown = r"a\x1b[2J\x9b2J\u202eb"
    first, *below = line.splitlines()
    assert first.endswith(f"\x1b[33mwarn \x1b[0m {shown} logged job_id={shown}")
    assert below == ["one", f"\ttwo {shown}"]


def test_control_characters_are_escaped_in_json_lines() -> None:
    line = logs.JsonFormatter(CONFIG).format(_record("job failed", job_id=HOSTILE))

    assert json.loads(line)["job_id"] == HOSTILE
    assert line.isprintable()


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(CONFIG), logs.TextFormatter(False)])
def test_an_id_that_is_not_valid_utf8_can_be_logged(formatter: logging.Formatter) -> None:
    record = _record("job released", job_id=b"\xff".decode(errors="surrogateescape"))

    assert "udcff" in formatter.format(record).encode("utf-8").decode()


def test_an_exception_is_logged_with_its_traceback() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = _record("unexpected error in worker thread", exc_info=sys.exc_info())

    assert "ValueError: why" in json.loads(logs.JsonFormatter(CONFIG).format(record))["traceback"]
    assert "ValueError: why" in logs.TextFormatter(False).format(record).splitlines()[-1]


def test_lines_that_nobody_reads_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PATIENCE_MS", 10)
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb") as reader, open(write_fd, "w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        logs.configure(replace(CONFIG, log_format="text"))
        log = logging.getLogger("bananas_topology.test")
        for _ in range(40):
            log.warning("x" * 10_000)
        os.set_blocking(read_fd, False)
        kept = (reader.read() or b"").count(b"warn")
        log.warning("once more")

        before, *lines = (reader.read() or b"").decode().splitlines()

    assert before == ""  # ends what was written of the line that was cut
    assert 1 < kept < 40
    assert f"log lines dropped: standard output was not read lines={41 - kept}" in lines[0]
    assert lines[1].endswith("once more")


def test_events_below_the_level_are_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(replace(CONFIG, log_level="warn"))

    logging.getLogger("x").info("quiet")
    logging.getLogger("x").warning("loud")

    assert "quiet" not in (out := capfd.readouterr().out)
    assert "loud" in out


def test_a_log_file_is_rotated_and_compressed(tmp_path: Path) -> None:
    path = tmp_path / "created" / "worker.log"
    config = replace(
        CONFIG,
        log_console=False,
        log_file_enabled=True,
        log_file_path=str(path),
        log_file_max_size_mb=1,
        log_file_max_backups=2,
    )
    logs.configure(config)

    for n in range(40):
        logging.getLogger("x").warning("x" * 100_000, extra={"n": n})

    rotated = sorted(file.name for file in path.parent.iterdir())
    assert rotated == ["worker.log", "worker.log.1.gz", "worker.log.2.gz"]
    with gzip.open(path.parent / "worker.log.1.gz", "rt") as file:
        assert all(json.loads(line)["level"] == "warn" for line in file)


@pytest.mark.parametrize("kind", ["directory", "below_a_file"])
def test_an_unusable_log_file_is_an_error_that_names_the_variable(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path if kind == "directory" else tmp_path / "file" / "worker.log"
    environ = {
        "WORKER_MODE": "scheduler-only",
        "LOG_FILE_ENABLED": "true",
        "LOG_FILE_PATH": str(path),
    }

    done = subprocess.run(
        [sys.executable, "-m", "bananas_topology.worker"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == EXIT_CONFIG
    [line] = done.stderr.splitlines()
    assert line.startswith(f'error: LOG_FILE_PATH is "{path}": cannot open it: ')


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_file_that_cannot_be_written_is_reported_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = replace(CONFIG, log_console=False, log_file_enabled=True, log_file_path="/dev/full")
    logs.configure(config)

    for _ in range(3):
        logging.getLogger().warning("event logged")

    [line] = capsys.readouterr().err.splitlines()
    assert line == "error: cannot write /dev/full, log lines are lost: No space left on device"
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.FileHandler)
    assert handler.stream is not None
    with suppress(OSError):
        handler.stream.close()
    for name in ("", "bananas_topology"):
        logging.getLogger(name).handlers.clear()
