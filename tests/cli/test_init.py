from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bananas_topology.cli.init import InitMode
from bananas_topology.spec.load import load
from tests.cli.shell import Shell

ROOT = Path(__file__).parents[2]


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


def test_the_commands_that_init_prints_can_be_pasted(shell: Shell) -> None:
    assert "  cd 'My Shop'\n" in shell("init", "My Shop").stdout


def test_generated_jobs_can_be_imported(shell: Shell) -> None:
    shell("init")

    subprocess.run(
        [sys.executable, "-W", "error", "-c", "import jobs"], cwd=shell.directory, check=True
    )


def test_wheel_command_is_printed_unless_bananas_comes_from_an_index(
    shell: Shell, tmp_path: Path
) -> None:
    metadata = tmp_path / "site-packages" / "bananas_topology-0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bananas-topology\n")
    path = os.pathsep.join([str(metadata.parent), str(ROOT)])

    from_index = shell("init", "a", PYTHONPATH=path)
    (metadata / "direct_url.json").write_text('{"url": "file:///src/my%20app", "dir_info": {}}')
    from_directory = shell("init", "b", PYTHONPATH=path)

    assert "pip wheel" not in from_index.stdout
    assert "pip wheel --no-deps --wheel-dir b '/src/my app'" in from_directory.stdout
