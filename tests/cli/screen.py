"""A program that fills the screen of a terminal, as tests see it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.shell import Shell
from tests.waiting import wait_for

_CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")

#: What every frame begins with.
_HOME = "\x1b[H"


class Screen:
    """`bananas` on a terminal of its own, whose output is read all the time."""

    def __init__(self, shell: Shell, *arguments: str, width: int = 80, height: int = 24) -> None:
        self._terminal, self._end = os.openpty()
        self.output = ""
        self.resize(width, height)
        self.attributes = self.read_attributes()
        environ = {name: text for name, text in shell.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bananas_topology", *arguments],
            cwd=shell.directory,
            env=environ | {"TERM": "xterm-256color"},
            stdin=self._end,
            stdout=self._end,
            stderr=self._end,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while chunk := os.read(self._terminal, 65_536):
            self.output += chunk.decode(errors="ignore")
            if self.output.endswith("\x00"):
                return

    def read_attributes(self) -> list[object]:
        """The settings of the terminal, such as whether it echoes."""
        return list(termios.tcgetattr(self._end))

    def resize(self, width: int, height: int) -> None:
        """Change the size; the program has to be told by SIGWINCH."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._terminal, keys.encode())

    def frame(self) -> list[str]:
        """The lines of the last complete frame."""
        frames = self.output.split(_HOME)
        text = frames[-2] if len(frames) > 1 else ""
        return [line.rstrip() for line in _CONTROL.sub("", text).splitlines()]

    def wait_for(self, *texts: str) -> list[str]:
        """Wait until a frame contains each of some texts; returns the frame."""
        found: list[list[str]] = []

        def shows() -> bool:
            found[:] = [self.frame()]
            return all(any(text in line for line in found[0]) for text in texts)

        try:
            wait_for(shows)
        except AssertionError:
            print(self.output[-10_000:])
            raise
        return found[0]

    def wait(self) -> int:
        """Wait until the program has exited; returns its exit code."""
        return self.process.wait(20)

    def close(self) -> None:
        """End the program and the terminal."""
        self.process.kill()
        self.process.wait()
        os.write(self._end, b"\x00")
        self._reader.join(20)
        os.close(self._end)
        os.close(self._terminal)


@contextmanager
def on_screen(shell: Shell, *arguments: str, width: int = 80, height: int = 24) -> Iterator[Screen]:
    """Run a command on a screen; it is killed at the end."""
    screen = Screen(shell, *arguments, width=width, height=height)
    try:
        yield screen
    finally:
        screen.close()
