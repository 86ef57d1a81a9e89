from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bananas_topology import Client, __version__
from tests.cli.shell import Shell

COMMANDS = ("init", "validate", "up", "render", "import", "enqueue", "queues", "job", "schema")
OF_THE_DEAD = ("dead list", "dead retry", "dead purge")


def test_the_version_is_said(shell: Shell) -> None:
    result = shell("--version")

    assert (result.returncode, result.stdout) == (0, f"bananas {__version__}\n")


@pytest.mark.parametrize("command", [*COMMANDS, *OF_THE_DEAD])
def test_every_command_shows_examples_in_its_help(shell: Shell, command: str) -> None:
    result = shell(*command.split(), "--help")

    assert result.returncode == 0
    assert "[file]" not in result.stdout, "a placeholder is in capitals"
    _, _, examples = result.stdout.partition("Examples:")
    assert f"bananas {command}" in examples


@pytest.mark.parametrize(
    "arguments", [(), ("nope",), ("queues", "--nope"), ("job",), ("queues", "--format", "xml")]
)
def test_a_usage_fault_exits_with_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell(*arguments).returncode == 2


@pytest.mark.parametrize(
    "command", ["queues", "job x", "enqueue x", "dead list", "dead retry --all"]
)
def test_a_server_that_cannot_be_reached_is_one_clear_line(shell: Shell, command: str) -> None:
    result = shell(*command.split(), "--redis-url", "redis://app:s3cret@127.0.0.1:1")

    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("error: cannot reach Redis at 127.0.0.1:1")


def test_where_nothing_says_where_redis_is_the_ways_to_say_it_are_named(shell: Shell) -> None:
    result = shell("queues", REDIS_URL="")

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert all(word in line for word in ("bananas up", "--redis-url", "REDIS_URL"))


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell, producer: Client) -> None:
    # More than a pipe holds, so that the writing really meets the closed end.
    producer.enqueue("big", "x" * 1_000_000, id="big")
    argv = [sys.executable, "-m", "bananas_topology", "job", "big", "--format", "json"]
    with subprocess.Popen(
        argv,
        cwd=shell.directory,
        env=shell.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"{\n"
        process.stdout.close()

        assert process.stderr.read() == b""


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_is_no_fault(shell: Shell, closing: str) -> None:
    command = f'"{sys.executable}" -m bananas_topology queues {closing}'
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=shell.directory,
        env=shell.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_clear_line(shell: Shell) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "bananas_topology", "schema"],
            cwd=shell.directory,
            env=shell.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("error: the output cannot be written: ")


def test_ctrl_c_while_the_command_is_being_loaded_ends_it_without_a_word(shell: Shell) -> None:
    (shell.directory / "typer.py").write_text("import os\nos.kill(os.getpid(), 2)\n")

    result = shell("queues", PYTHONPATH=str(shell.directory))

    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


def test_a_file_that_cannot_be_read_is_one_clear_line(shell: Shell) -> None:
    result = shell("enqueue", "--batch", "no-such-file")

    assert result.returncode == 1
    assert result.stderr == "error: no-such-file: No such file or directory\n"


def test_the_module_is_the_command(shell: Shell) -> None:
    command = Path(sys.executable).with_name("bananas")

    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == shell("--version").stdout
