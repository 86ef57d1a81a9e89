"""Every command, topology and program in the documentation is valid.

The conventions: every fenced block has one of the `LANGUAGES`. A ``yaml`` block is a topology, or a
part of one, which is completed before it is validated. A ``sh`` block has a command on each line.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
import yaml

from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.keys import Keys
from bananas_topology.spec.load import check_bytes
from tests.cli.shell import Shell
from tests.docs.command_pages import all_commands
from tests.docs.documents import DOCUMENTS, ROOT, Block, blocks, blocks_of, commands

LANGUAGES = {"sh", "yaml", "python", "json", "text"}

#: What a reader is expected to have, beside `bananas`.
PROGRAMS = {
    "cd", "chmod", "curl", "docker", "echo", "export", "generate-jobs", "git", "grep", "jq", "kill",
    "install", "kubectl", "mkdir", "openssl", "pip", "redis-cli", "source", "systemctl", "watch",
}  # fmt: skip

#: What a part of a topology is completed with.
BASE: dict[str, Any] = {
    "version": 1,
    "name": "shop",
    "handlers": ["shop.jobs"],
    "pools": {"worker": {}},
}

HANDLERS = [block for block in blocks("python") if "@job(" in block.text]

MAKE_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_block_has_a_language_that_is_checked(path: Path) -> None:
    for block in blocks_of(path):
        assert block.language in LANGUAGES, str(block)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_topology_is_valid(block: Block) -> None:
    shown = yaml.safe_load(block.text)
    missing = {name: value for name, value in BASE.items() if name not in shown}
    text = yaml.safe_dump(missing) + block.text if missing else block.text

    report = check_bytes(text.encode(), block.path, {"REDIS_URL": "redis://localhost"})

    errors = [str(each) for each in report.diagnostics if each.severity == "error"]
    assert not errors
    assert report.topology is not None


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_is_valid(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_program_compiles_and_imports_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)

    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, str(block), "exec"), {})


@pytest.mark.parametrize("block", HANDLERS, ids=str)
def test_a_handler_can_be_loaded(block: Block) -> None:
    module = ModuleType("documented_jobs")
    sys.modules[module.__name__] = module
    try:
        exec(block.text, module.__dict__)
        handlers = load_handlers((module.__name__,))
    finally:
        del sys.modules[module.__name__]

    assert len(handlers) == block.text.count("@job(")


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_a_command_exists_with_its_options(block: Block) -> None:
    for line in commands(block):
        for argv in _simple_commands(line):
            _check(argv)


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, without what redirects their input and output.

    Of a command that another one prints, that one.
    """
    line = re.sub(r"(?<=\| )\$\((.*?)\)", r"\1", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    argv: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;"):
            yield argv
            argv = []
        else:
            argv.append(word)
    yield argv


def _check(argv: list[str]) -> None:
    argv = list(dropwhile(re.compile(r"\w+=").match, argv))
    argv = list(takewhile(lambda word: not set(word) <= set("<>"), argv))
    match argv:
        case ["watch", *rest]:
            _check(rest)
        case ["bananas", *arguments]:
            _check_bananas(arguments)
        case ["make", *targets]:
            assert not {each for each in targets if "=" not in each} - MAKE_TARGETS
        case ["python" | ".venv/bin/python", "-m", module, *_]:
            assert importlib.util.find_spec(module), module
        case [".venv/bin/pytest", *arguments]:
            assert all((ROOT / each).exists() for each in arguments if each.startswith("tests/"))
        case [program, *_]:
            assert program in PROGRAMS or (ROOT / program).exists(), program


def _check_bananas(arguments: list[str]) -> None:
    if arguments[:1] in (["--help"], ["--version"]):
        return
    known = all_commands()
    length = next(n for n in (2, 1) if " ".join(["bananas", *arguments[:n]]) in known)
    command = known[" ".join(["bananas", *arguments[:length]])]
    command.make_context(command.name, arguments[length:])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_command_in_running_text_exists_with_its_options(path: Path) -> None:
    """Without its arguments, which running text may leave out."""
    known = all_commands()
    for words in map(str.split, re.findall(r"`(bananas [^`]+)`", path.read_text("utf-8"))):
        names = [" ".join(words[:length]) for length in (3, 2)]
        matches = [command for name, command in known.items() if name.startswith(tuple(names))]
        options = {option for command in matches for each in command.params for option in each.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}

        own = {"--help", "--version", "--install-completion"}
        assert matches or used <= own, words
        assert used <= options | own, words


def test_a_wrong_option_in_the_documentation_would_be_found() -> None:
    with pytest.raises(Exception, match="--sudo"):
        _check_bananas(["up", "--sudo"])


def test_the_cut_over_returns_what_go_workers_left_behind(
    client: redis.Redis, keys: Keys, prefix: str, server_url: str, tmp_path: Path
) -> None:
    [block] = [each for each in blocks("sh") if "rescue --older-than 0s" in each.text]
    shell = Shell(tmp_path, {**os.environ, "REDIS_URL": server_url, "REDIS_KEY_PREFIX": prefix})
    statuses = {"a": "processing", "b": "pending", "done": "completed", "later": "pending"}
    for job_id, status in statuses.items():
        body = {"id": job_id, "name": "mail", "status": status, "priority": "high"}
        client.set(keys.job(job_id), json.dumps(body))
        client.lpush(keys.processing, job_id)
    client.set(keys.job("unreadable"), "{")
    client.lpush(keys.processing, "unreadable", "gone")
    client.zadd(keys.scheduled, {"later": 1.0})

    for command in commands(block):
        assert shell(*shlex.split(command)[1:]).returncode == 0

    assert client.lrange(keys.queue("high"), 0, -1) == [b"b", b"a"]
    assert client.lrange(keys.dead, 0, -1) == [b"unreadable"]
    assert client.zcard(keys.scheduled) == 1
    assert not client.exists(keys.processing)
