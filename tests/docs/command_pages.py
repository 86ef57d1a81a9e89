"""The command reference, made from what the commands themselves say in their help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from bananas_topology.cli.main import app

_HEAD = """\
# Commands

Made from each command's `--help`. `FILE` is `topology.yaml` unless given. Commands that talk to
Redis find it by `--redis-url`, then `REDIS_URL`, then the topology file, then the state file that a
running `bananas up` keeps in `.bananas/`. Results go to standard output, everything else to
standard error; output is plain text in a pipe or with `NO_COLOR`, JSON with `--format json`.

| Exit code | Meaning |
|---|---|
| 0 | Success |
| 1 | Failure: an error in a topology, no server, a job that died |
| 2 | Invalid command line |
| 130 | Interrupted by Ctrl-C |
"""


def all_commands() -> dict[str, Any]:
    """Every command by its full name, such as ``bananas dead list``."""
    return dict(_commands(typer.main.get_command(app), "bananas"))


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            yield from _commands(each, f"{name} {each.name}")
        return
    yield name, command


def reference() -> str:
    """The whole page."""
    sections = (_section(name, command) for name, command in all_commands().items())
    return "\n".join([_HEAD, *sections])


def _section(name: str, command: Any) -> str:
    about, _, examples = inspect.cleandoc(command.help or "").partition("Examples:")
    usage = " ".join([name, *_arguments(command), "[OPTIONS]"])
    parts = [f"## {name}\n", about.strip() + "\n", f"Usage: `{usage}`\n"]
    if options := list(_options(command)):
        head = ["| Option | Description |", "|---|---|"]
        parts.append("\n".join([*head, *options]) + "\n")
    if lines := [line.strip() for line in examples.splitlines() if line.strip()]:
        parts.append("\n".join(["```sh", *lines, "```"]) + "\n")
    return "\n".join(parts)


def _arguments(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.param_type_name == "argument":
            label = (each.metavar or each.name.upper()).strip("[].")
            dots = "…" if each.nargs == -1 else ""
            yield f"{label}{dots}" if each.required else f"[{label}{dots}]"


def _options(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.param_type_name == "option" and each.name != "help":
            names = ", ".join(f"`{name}`" for name in sorted(each.opts, key=len))
            value = "" if each.is_flag else f" `{_value(each)}`"
            help_text = " ".join((each.help or "").split()).replace("|", "\\|")
            yield f"| {names}{value} | {help_text}{_default(each)} |"


def _value(option: Any) -> str:
    label = option.metavar or "|".join(getattr(option.type, "choices", ())) or "VALUE"
    return re.sub(r"\|", r"\\|", label)


def _default(option: Any) -> str:
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    if option.is_flag or shown in (None, "", ()) or callable(shown):
        return ""
    return f" Default: {getattr(shown, 'value', shown)}."
