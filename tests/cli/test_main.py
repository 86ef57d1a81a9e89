from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bananas_topology import Client, __version__
from tests.cli.shell import Shell

COMMANDS = (
    *("init", "validate", "up", "render", "import", "enqueue", "queues", "job", "redis-url"),
    "schema",
)
TOPOLOGY = "version: 1\nname: shop\nhandlers: [jobs]\npools: {worker: {mode: thin}}\n"
DEAD_COMMANDS = ("dead list", "dead retry", "dead purge")


def test_version_is_printed(shell: Shell) -> None:
    result = shell("--version")

    assert (result.returncode, result.stdout) == (0, f"bananas {__version__}\n")


@pytest.mark.parametrize("command", [*COMMANDS, *DEAD_COMMANDS])
def test_help_of_every_command_has_examples(shell: Shell, command: str) -> None:
    result = shell(*command.split(), "--help")

    assert result.returncode == 0
    assert shell(*command.split(), "-h").stdout == result.stdout
    assert "[file]" not in result.stdout, "a placeholder is in capitals"
    _, _, examples = result.stdout.partition("Examples:")
    assert f"bananas {command}" in examples


@pytest.mark.parametrize(
    "arguments", [(), ("nope",), ("queues", "--nope"), ("job",), ("queues", "--format", "xml")]
)
def test_usage_error_exits_with_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("up --scale worker=-1", 'expected 0 to 1000 replicas for pool "worker", got -1'),
        ("up --scale worker=1001", "expected 0 to 1000 replicas"),
        ("up --scale worker=0", "nothing to start"),
        ("up --scale wroker=1", 'did you mean "worker"?'),
        ("up --dry-run --only other", 'has no pool "other"'),
        ("up --scale worker", "expected POOL=N"),
        ("scale worker=-1", "expected 0 to 1000 replicas"),
        ("logs --since yesterday", "expected a duration such as 10m"),
        ("logs --since 0001-01-01T00:00", "expected a duration such as 10m"),
        ("render --target nomad", 'expected one of compose, k8s, systemd, got "nomad"'),
        ("render --target nomad no-such-file.yaml", 'got "nomad"'),
    ],
)
def test_argument_that_names_nothing_or_is_out_of_range_exits_with_2(
    shell: Shell, arguments: str, expected: str
) -> None:
    (shell.directory / "topology.yaml").write_text(TOPOLOGY)

    result = shell(*arguments.split())

    assert result.returncode == 2
    assert expected in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "command", ["queues", "enqueue x", "dead list", "up", "up --dry-run", "doctor"]
)
@pytest.mark.parametrize("url", ["redis//:hunter2@db", "redis://u:hun/ter2@db", "db:hunter2"])
def test_malformed_url_exits_with_2_without_its_password(
    shell: Shell, command: str, url: str
) -> None:
    (shell.directory / "topology.yaml").write_text(TOPOLOGY)

    given = shell(*command.split(), "--redis-url", url)
    inherited = shell(*command.split(), REDIS_URL=url)

    assert given.returncode == inherited.returncode == 2
    assert given.stderr == inherited.stderr
    [line] = given.stderr.splitlines()
    assert line.startswith("error: ")
    assert "is not a valid Redis URL" in line
    assert "hun" not in line
    assert "ter2" not in line


@pytest.mark.parametrize(
    "command", ["queues", "job x", "enqueue x", "dead list", "dead retry --all"]
)
def test_unreachable_server_is_reported_on_one_line(shell: Shell, command: str) -> None:
    result = shell(*command.split(), "--redis-url", "redis://app:s3cret@127.0.0.1:1")

    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("error: cannot reach Redis at 127.0.0.1:1")


def test_without_a_configured_server_the_ways_to_set_one_are_listed(shell: Shell) -> None:
    result = shell("queues", REDIS_URL="")

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert all(word in line for word in ("bananas up", "--redis-url", "REDIS_URL"))


def test_closed_pipe_is_not_an_error(shell: Shell, producer: Client) -> None:
    # More than a pipe holds, so that writing hits the closed end.
    producer.enqueue("big", "x" * 1_000_000, id="big")
    with shell.start(
        "job", "big", "--format", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"{\n"
        process.stdout.close()

        assert process.stderr.read() == b""


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", ">&- 2>&-"])
def test_closed_standard_streams_are_not_an_error(shell: Shell, closing: str) -> None:
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
def test_full_disk_is_reported_on_one_line(shell: Shell) -> None:
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
    assert line.startswith("error: cannot write output: ")


def test_ctrl_c_while_loading_exits_silently(shell: Shell) -> None:
    packages = shell.directory / "site-packages"
    packages.mkdir()
    (packages / "typer.py").write_text("import os\nos.kill(os.getpid(), 2)\n")

    result = shell("queues", PYTHONPATH=str(packages))

    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


def test_unreadable_file_is_reported_on_one_line(shell: Shell) -> None:
    result = shell("enqueue", "--batch", "no-such-file")

    assert result.returncode == 1
    assert result.stderr == "error: no-such-file: No such file or directory\n"


def test_module_and_command_are_the_same(shell: Shell) -> None:
    command = Path(sys.executable).with_name("bananas")

    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == shell("--version").stdout
