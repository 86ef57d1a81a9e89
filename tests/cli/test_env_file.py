"""`.env` and `--env-file`: every command sees the same variables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Shell

TOPOLOGY = """\
version: 1
name: ${NAME}
handlers: [jobs]
redis: {url: "${REDIS_URL}", key_prefix: "${PREFIX:-bananas}"}
pools:
  worker: {mode: thin, concurrency: 3, replicas: "${REPLICAS:-2}"}
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "topology.yaml").write_text(TOPOLOGY)
    unset = ("REDIS_URL", "NAME", "PREFIX", "REPLICAS", "REDIS_KEY_PREFIX")
    return Shell(
        tmp_path / "shop", {name: text for name, text in os.environ.items() if name not in unset}
    )


def _totals(shell: Shell, *arguments: str, **more: str) -> Any:
    return json.loads(shell("validate", "--format", "json", *arguments, **more).stdout)[
        "topologies"
    ]


def test_the_env_file_beside_the_topology_is_read_and_the_shell_wins(shell: Shell) -> None:
    (shell.directory / ".env").write_text("NAME=shop\nREDIS_URL=redis://db\nREPLICAS=5\n")
    elsewhere = Shell(shell.directory.parent, shell.environ)
    (elsewhere.directory / ".env").write_text("NAME=wrong\n")

    for each, file in ((shell, "topology.yaml"), (elsewhere, "shop/topology.yaml")):
        [found] = _totals(each, file)
        assert (found["name"], found["processes"]) == ("shop", 5)
        [found] = _totals(each, file, NAME="other")
        assert (found["name"], found["processes"]) == ("other", 5)


def test_several_topologies_have_their_own_env_files(shell: Shell) -> None:
    root = shell.directory.parent
    for name in ("a", "b"):
        (root / name).mkdir()
        (root / name / "topology.yaml").write_text(TOPOLOGY)
        (root / name / ".env").write_text(f"NAME={name}\nREDIS_URL=redis://db\n")

    found = _totals(shell, "../a/topology.yaml", "../b/topology.yaml")

    assert [each["name"] for each in found] == ["a", "b"]


def test_env_files_of_the_command_line_replace_the_default_one(shell: Shell) -> None:
    (shell.directory / ".env").write_text("NAME=shop\nREDIS_URL=redis://db\nREPLICAS=5\n")
    (shell.directory / "base").write_text("NAME=base\nREDIS_URL=redis://db\n")
    (shell.directory / "prod").write_text("NAME=prod\n")

    result = shell("up", "--dry-run", "--env-file", "base", "--env-file", "prod")
    assert "worker\tthin\t2\t" in result.stdout
    rendered = shell("render", "--compose", "--env-file", "base", "--env-file", "prod").stdout
    assert "\nname: prod\n" in rendered


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (".env", "NAME=pa$word", "error: .env:1: variable word is not set"),
        ("other", "", "error: cannot read prod.env: No such file or directory"),
    ],
)
def test_an_error_is_one_line(shell: Shell, name: str, text: str, message: str) -> None:
    (shell.directory / name).write_text(text)

    result = shell("validate", *(() if name == ".env" else ("--env-file", "prod.env")))

    assert result.returncode == 1
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_an_error_does_not_keep_anybody_from_stopping(shell: Shell) -> None:
    (shell.directory / ".env").write_text("NAME=pa$word")

    for command in ("ps", "down"):
        shown = shell(command).stderr
        assert "nothing is running here" in shown
        assert "warning: .env:1: variable word is not set" in shown


def test_commands_for_jobs_find_the_server_by_the_env_file(
    shell: Shell, server_url: str, prefix: str
) -> None:
    (shell.directory / ".env").write_text(f"NAME=shop\nREDIS_URL={server_url}\nPREFIX={prefix}\n")

    assert shell("enqueue", "email").returncode == 0
    queues = json.loads(shell("queues", "--format", "json").stdout)

    assert queues["queues"]["normal"]["ready"] == 1
    assert shell("dead", "list").returncode == 0


def test_a_run_is_found_by_the_name_that_variables_give_it(
    shell: Shell, server_url: str, prefix: str
) -> None:
    (shell.directory / ".env").write_text(
        f"NAME=shop\nREDIS_URL={server_url}\nPREFIX={prefix}\nREPLICAS=1\n"
    )
    (shell.directory / "jobs.py").write_text(
        "from bananas_topology import job\n\n@job('greet')\ndef greet(payload): pass\n"
    )
    (shell.directory / "small.yaml").write_text("pools: {worker: {concurrency: 1}}")
    files = ("--file", "topology.yaml", "--file", "small.yaml")
    try:
        assert shell("up", "-d").returncode == 0
        assert shell("up", "-d", *files, NAME="other").returncode == 0

        names = [
            json.loads(shell("ps", "--format", "json", *arguments, **more).stdout)["name"]
            for arguments, more in (((), {}), (files, {"NAME": "other"}), ((), {"NAME": "other"}))
        ]
        assert names == ["shop", "other", "other"]
        assert shell("logs", *files, NAME="other").returncode == 0
        (shell.directory / ".env").unlink()
        unclear = shell("down")
        assert (unclear.returncode, "runs as other, shop" in unclear.stderr) == (1, True)
    finally:
        text = f"REDIS_URL={server_url}\nPREFIX={prefix}\n"
        stopped = []
        for name in ("other", "shop"):
            (shell.directory / ".env").write_text(f"NAME={name}\n{text}")
            stopped.append(shell("down").stderr.splitlines()[-1])
    assert stopped == ["stopped other", "stopped shop"]


def test_handlers_of_a_local_run_see_the_variables(
    shell: Shell, server_url: str, prefix: str
) -> None:
    (shell.directory / ".env").write_text(
        f"NAME=shop\nREDIS_URL={server_url}\nPREFIX={prefix}\nREPLICAS=1\nGREETING='a $b'\n"
    )
    (shell.directory / "jobs.py").write_text(
        "import os\nfrom bananas_topology import job\n\n"
        "@job('greet')\ndef greet(payload):\n    return os.environ['GREETING']\n"
    )
    job_id = shell("enqueue", "greet").stdout.strip()

    assert shell("up", "--drain").returncode == 0

    assert json.loads(shell("job", job_id, "--format", "json").stdout)["result"] == "a $b"
