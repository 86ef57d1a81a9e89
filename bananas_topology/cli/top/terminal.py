"""The terminal of `bananas top`: unbuffered keys, and a full screen that is always left again."""

from __future__ import annotations

import codecs
import os
import select
import sys
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from bananas_topology.cli import console
from bananas_topology.cli.top.keys import split_keys
from bananas_topology.cli.top.view import Size

#: Seconds within which the rest of a control sequence follows its escape character.
_SEQUENCE_S = 0.05

#: Size of a terminal that does not report one.
_DEFAULT_SIZE = Size(80, 24)


class Terminal:
    """Standard input and output as a full screen while the context is open."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._attributes: list[Any] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._console: Console = console.rich_console(sys.stdout)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._attributes = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        # Each Live takes over and leaves the screen once.
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        try:
            if self._live is not None:
                self._live.stop()
        finally:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._attributes)

    def fileno(self) -> int:
        """The descriptor to `select` on for keys."""
        return self._input

    def size(self) -> Size:
        """The current size; COLUMNS and LINES are those of the start, hence not read."""
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return _DEFAULT_SIZE
        return Size(width, height) if width and height else _DEFAULT_SIZE

    def keys(self) -> list[str] | None:
        """Read the keys pressed; None if the terminal is gone."""
        data = os.read(self._input, 4096)
        if data == b"\x1b" and select.select([self._input], [], [], _SEQUENCE_S)[0]:
            data += os.read(self._input, 4096)
        return split_keys(self._decoder.decode(data)) if data else None

    def draw(self, lines: Sequence[Text], size: Size) -> None:
        """Show lines."""
        self._console.size = ConsoleDimensions(*size)
        if self._live is not None:
            self._live.update(Group(*lines), refresh=True)
