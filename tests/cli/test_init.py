from __future__ import annotations

import subprocess
import sys

import pytest

from bananas_topology.cli.init import InitMode
from bananas_topology.spec.load import load
from tests.cli.shell import Shell


@pytest.mark.parametrize("mode", list(InitMode))
def test_generated_topology_is_valid_without_warnings(shell: Shell, mode: InitMode) -> None:
    written = shell("init", "My Shop", "--mode", mode.value)
    checked = shell("validate", "My Shop/topology.yaml", "--strict")

    assert written.returncode == 0
    assert (checked.returncode, checked.stdout) == (0, "")
    topology = load(shell.directory / "My Shop" / "topology.yaml", {})
    assert topology.name == "my-shop"
    assert mode.value in {pool.worker.mode.value for pool in topology.pools}


def test_generated_files_run_without_changes(shell: Shell) -> None:
    written = shell("init")
    batch = '{"name": "hello", "payload": {"name": "you"}, "id": "a"}\n' + (
        '{"name": "count_words", "payload": {"text": "to be or not to be"}, "id": "b"}\n'
    )
    topology = (shell.directory / "topology.yaml").read_text()
    prefix = shell.environ["REDIS_KEY_PREFIX"]
    (shell.directory / "topology.yaml").write_text(f"{topology}\nredis: {{key_prefix: {prefix}}}\n")

    shell("enqueue", "--batch", "-", stdin=batch)
    drained = shell("up", "--drain")

    assert "bananas up" in written.stdout
    assert "bananas enqueue hello" in written.stdout
    assert drained.returncode == 0
    assert "drained: 2 completed" in drained.stderr
    assert "Hello you" in shell("job", "a").stdout


@pytest.mark.parametrize("name", ["topology.yaml", "jobs.py"])
def test_existing_files_are_not_overwritten(shell: Shell, name: str) -> None:
    (shell.directory / name).write_text("mine")

    result = shell("init")

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert name in line
    assert [path.name for path in shell.directory.iterdir()] == [name]
    assert (shell.directory / name).read_text() == "mine"


def test_generated_jobs_can_be_imported(shell: Shell) -> None:
    shell("init")

    subprocess.run(
        [sys.executable, "-W", "error", "-c", "import jobs"], cwd=shell.directory, check=True
    )
