"""The README's picture: commands that really run on a terminal, and what they show, as an SVG.

The output is that of one topology with a typo, then without it.
"""

from __future__ import annotations

import fcntl
import html
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS = 100

TOPOLOGY = """\
version: 1
name: shop
handlers: [shop.jobs]
redis: {url: redis://redis.internal}

pools:
  worker-high:
    mode: specialized
    priorities: [high]
    concurrency: 50
    replicas: 3
  worker-other:
    mode: specialized
    priorities: [normal, low]
    concurrency: 20
    replicas: 2

scheduler: {interval: 1s}
"""

#: What is shown: a command, and what the topology is by then.
SCENES = (
    ("bananas validate", TOPOLOGY.replace("concurrency: 50", "concurency: 50")),
    ("bananas validate && bananas up --dry-run", TOPOLOGY),
)


def terminal_svg() -> str:
    """Run the commands and draw what they show. Needs no font but the reader's own."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        for number, (command, output) in enumerate(_sessions()):
            console.print(Text.assemble("\n" if number else "", ("$ ", "green"), (command, "bold")))
            console.print(Text.from_ansi(output))
        return console.export_svg(
            title="bananas", code_format=_without_web_fonts(CONSOLE_SVG_FORMAT), unique_id="bananas"
        )


def shown_text(svg: str) -> str:
    """What a picture shows, without how it is drawn."""
    lines = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return " ".join(html.unescape(" ".join(lines)).split())


def _without_web_fonts(template: str) -> str:
    return re.sub(r"@font-face \{\{.*?\}\}", "", template, flags=re.DOTALL)


def _sessions() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        for command, topology in SCENES:
            Path(folder, "topology.yaml").write_text(topology)
            yield command, _output(command, Path(folder))


def _output(command: str, folder: Path) -> str:
    """What a shell command shows on a terminal of `COLUMNS` columns."""
    line = command.replace("bananas", f"{sys.executable} -m bananas_topology")
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    terminal, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with subprocess.Popen(
        line, shell=True, cwd=folder, env=environ, stdin=end, stdout=end, stderr=end
    ):
        os.close(end)
        shown = b"".join(_read(terminal))
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n").rstrip("\n")


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # the last program on it has ended
            return
        if not chunk:
            return
        yield chunk
