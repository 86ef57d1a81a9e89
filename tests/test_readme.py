"""The README's tables are made from the code.

After a change that is meant to change them: ``make goldens``.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from bananas_topology.cli.main import app
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.handlers import load_handlers
from bananas_topology.spec.diagnostics import declared_codes
from bananas_topology.spec.load import check_bytes

README = Path(__file__).parents[1] / "README.md"


def variables() -> Iterator[str]:
    """Every variable of the contract."""
    yield "| Variable | Default | Expected | What it says |"
    yield "|---|---|---|---|"
    for setting in WORKER_SETTINGS:
        default = f"`{setting.default_text}`" if setting.default_text else ""
        yield (
            f"| `{setting.variable}` | {default} | {setting.kind.expected} "
            f"| {setting.description} |"
        )


def commands() -> Iterator[str]:
    """Every command with the first sentence of its help."""
    yield "| Command | Does |"
    yield "|---|---|"
    yield from _rows(typer.main.get_command(app), "bananas")


def _rows(command: Any, name: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            yield from _rows(each, f"{name} {each.name}")
        return
    usage = " ".join([name, *_arguments(command)])
    about = " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())
    yield f"| `{usage}` | {about} |"


def _arguments(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.param_type_name == "argument":
            label = (each.metavar or each.name.upper()).strip("[].")
            dots = "…" if each.nargs == -1 else ""
            yield f"{label}{dots}" if each.required else f"[{label}{dots}]"


def diagnostics() -> Iterator[str]:
    """Every diagnostic code."""
    yield "| Code | Meaning | For example |"
    yield "|---|---|---|"
    for code in declared_codes():
        example = f"`{code.example}`".replace("|", "\\|") if code.example else ""
        yield f"| {code.name} | {code.meaning} | {example} |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "diagnostics": diagnostics,
    "variables": variables,
}


def _with_tables(text: str) -> str:
    for name, rows in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        assert text.count(begin) == text.count(end) == 1, f"README.md has no one place for {name}"
        head, _, rest = text.partition(begin)
        tail = rest.partition(end)[2]
        text = "\n".join([head + begin, *rows(), end + tail])
    return text


def test_the_tables_of_the_readme_say_what_the_code_says() -> None:
    text = README.read_text("utf-8")
    made = _with_tables(text)

    if os.environ.get("UPDATE_GOLDENS"):
        README.write_text(made, "utf-8")
        text = made

    assert text == made


def test_the_topology_that_the_readme_shows_is_valid() -> None:
    [shown] = re.findall(r"^```yaml\n(.*?)^```$", README.read_text("utf-8"), re.S | re.M)

    report = check_bytes(shown.encode(), README, {"REDIS_URL": "redis://localhost"})

    assert report.diagnostics == ()


def test_the_handler_that_the_readme_shows_is_one() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.S | re.M)
    module = ModuleType("readme_jobs")
    sys.modules[module.__name__] = module
    try:
        exec(shown[0], module.__dict__)
        [handler] = load_handlers((module.__name__,)).values()
    finally:
        del sys.modules[module.__name__]

    assert handler.options.job_type == "send_email"
    assert handler.takes_context
    for block in shown:
        compile(block, str(README), "exec")


def test_what_the_readme_points_to_is_there() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text("utf-8"))

    missing = [target for target in targets if not (README.parent / target).exists()]
    assert not missing
