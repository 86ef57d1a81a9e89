"""Log output: destination and format, JSON Lines or text.

All other code logs events with fields (`extra`) and leaves the format to this module.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Protocol, TextIO

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import InvalidSettings
from bananas_topology.system.terminal import visible, visible_json


class LoggedRun(Protocol):
    """A run whose handler may log."""

    def log_fields(self) -> dict[str, object]:
        """The fields that identify the run in the lines of its handler."""


#: The run whose handler is executing in this context: its log lines carry the run's fields.
CURRENT_RUN: ContextVar[LoggedRun | None] = ContextVar("current_run", default=None)

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_LEVEL_NAMES = {10: "debug", 20: "info", 30: "warn", 40: "error", 50: "error"}
_COLORS = {"debug": "2", "info": "32", "warn": "33", "error": "31"}
_PACKAGE = "bananas_topology"
_SECONDS_PER_DAY = 86_400

#: Milliseconds to wait until standard output takes a line.
_PATIENCE_MS = 1_000

# Attributes of every record; any other attribute is a field passed as `extra`.
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
}


def configure(config: WorkerConfig) -> None:
    """Set up the root logger for the lines of users, and the package's own logger.

    A handler module may configure logging: that concerns the root logger and those that it
    names. It would replace the root's handlers and level and disable every logger that exists.

    Raises:
        InvalidSettings: the log file cannot be opened.
    """
    handlers: list[logging.Handler] = []
    if config.log_console:
        handlers.append(_Console(sys.stdout))
    if config.log_file_enabled:
        handlers.append(_file_handler(config))
    for handler in handlers:
        on_terminal = isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
        color = config.log_color and on_terminal
        text = config.log_format == "text"
        handler.setFormatter(TextFormatter(color) if text else JsonFormatter(config))
    for logger in (logging.getLogger(), logging.getLogger(_PACKAGE)):
        logger.handlers[:] = handlers or [logging.NullHandler()]
        logger.setLevel(_LEVELS[config.log_level])
    logging.getLogger(_PACKAGE).propagate = False
    protect()


def protect() -> None:
    """Keep the package's loggers that exist from being disabled by `logging.config`."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if f"{name}.".startswith(f"{_PACKAGE}.") and isinstance(logger, logging.Logger):
            logger.__class__ = _EnabledLogger


class _EnabledLogger(logging.Logger):
    """A logger that stays enabled, also by `logging.disable`, which concerns all loggers."""

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.getEffectiveLevel()

    @property
    def disabled(self) -> bool:
        """Never, although `logging.config` sets it for each logger that it is not told of."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        return


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, msg, pool, worker_id, and the event's own fields."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__()
        self._worker = {"pool": config.pool, "worker_id": config.worker_id}

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _LEVEL_NAMES.get(record.levelno, "info"),
            "msg": record.getMessage(),
            **self._worker,
            **fields_of(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return _writable(visible_json(json.dumps(entry, ensure_ascii=False, default=str)))


class TextFormatter(logging.Formatter):
    """Time, level, event, and fields as ``name=value``."""

    def __init__(self, color: bool) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVEL_NAMES.get(record.levelno, "info")
        shown = f"\x1b[{_COLORS[level]}m{level:5}\x1b[0m" if self._color else f"{level:5}"
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = fields_of(record)
        traceback = fields.pop("traceback", "")
        if record.exc_info:
            traceback = self.formatException(record.exc_info)
        pairs = "".join(f" {name}={_quoted(value)}" for name, value in fields.items())
        line = visible(f"{record.getMessage()}{pairs}\n{traceback}".rstrip())
        return _writable(f"{clock} {shown} {line}")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields of the run that logs, if any, and those that were passed as `extra`."""
    run = CURRENT_RUN.get()
    fields = {} if run is None else run.log_fields()
    for name, value in vars(record).items():
        if name not in _STANDARD_ATTRIBUTES:
            fields[name] = value
    return fields


def _writable(line: str) -> str:
    """The line with lone surrogates escaped, which ids and messages may contain."""
    return line.encode("utf-8", "backslashreplace").decode()


def _quoted(value: object) -> str:
    text = str(value)
    plain = text and not any(c.isspace() or c in '"=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


class _Console(logging.StreamHandler[TextIO]):
    """Standard output, whose lines are dropped while nobody reads them.

    A paused terminal or a stuck log collector must not keep the worker from renewing its lease and
    enforcing timeouts.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._fd = stream.fileno()
        self._dropped = 0
        self._is_cut = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            is_writable = not self._dropped or self._write(self._notice())
            if is_writable:
                self._dropped = 0
            if not is_writable or not self._write(self.format(record)):
                self._dropped += 1
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Nothing is buffered."""

    def _notice(self) -> str:
        message = "log lines dropped: standard output was not read"
        values: dict[str, Any] = {"msg": message, "levelno": logging.WARNING}
        line = self.format(logging.makeLogRecord({**values, "lines": self._dropped}))
        return f"\n{line}" if self._is_cut else line

    def _write(self, line: str) -> bool:
        """Write a line; False if standard output does not take all of it in time."""
        data = f"{line}\n".encode(self.stream.encoding, "backslashreplace")
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while data:
            if not poll.poll(0 if self._dropped else _PATIENCE_MS):
                return False
            # A pipe that is writable takes this much without blocking.
            data = data[os.write(self._fd, data[: select.PIPE_BUF]) :]
            self._is_cut = bool(data)
        return True


class _RotatedFiles(RotatingFileHandler):
    """A log file rotated by size, with rotated files compressed and deleted by age.

    While it cannot be written, lines are dropped, which is reported once on standard error.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._is_failing = False
        self._has_failed = False
        self._max_age_days = config.log_file_max_age_days
        super().__init__(
            config.log_file_path,
            maxBytes=config.log_file_max_size_mb * 10**6,
            backupCount=config.log_file_max_backups,
            encoding="utf-8",
            errors="backslashreplace",
        )
        if config.log_file_compress:
            self.namer = _gz_name
            self.rotator = _compress

    def emit(self, record: logging.LogRecord) -> None:
        self._has_failed = False
        super().emit(record)
        self._is_failing = self._has_failed

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._has_failed = True
        if not self._is_failing:
            reason = error.strerror or error
            print(
                f"error: cannot write {self.baseFilename}, log lines are lost: {reason}",
                file=sys.stderr,
                flush=True,
            )

    def doRollover(self) -> None:
        super().doRollover()
        if self._max_age_days:
            oldest = time.time() - self._max_age_days * _SECONDS_PER_DAY
            path = Path(self.baseFilename)
            for rotated in path.parent.glob(f"{path.name}.*"):
                if rotated.stat().st_mtime < oldest:
                    rotated.unlink(missing_ok=True)


def _file_handler(config: WorkerConfig) -> logging.Handler:
    try:
        Path(config.log_file_path).parent.mkdir(parents=True, exist_ok=True)
        return _RotatedFiles(config)
    except OSError as error:
        raise InvalidSettings(
            [
                f'LOG_FILE_PATH is "{config.log_file_path}": cannot open it: {error.strerror}; '
                "expected a file that can be created and written"
            ]
        ) from error


def _gz_name(name: str) -> str:
    return f"{name}.gz"


def _compress(source: str, target: str) -> None:
    import gzip  # imported here: a worker without a log file never needs it

    with open(source, "rb") as plain, gzip.open(target, "wb") as compressed:
        shutil.copyfileobj(plain, compressed)
    Path(source).unlink()
