from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import Shell

VALID = "version: 1\nname: shop\nhandlers: [jobs]\npools: {worker: {mode: thin}}\n"
COMPOSE = Path(__file__).parents[1] / "importer" / "fixtures" / "docker-compose-thin.yml"


def test_hyphen_reads_a_topology_from_standard_input(shell: Shell) -> None:
    validated = shell("validate", "-", stdin=VALID)
    rendered = shell("render", "--compose", "-", stdin=VALID)
    planned = shell("up", "--dry-run", "-", stdin=VALID)
    listed = shell("queues", "-f", "-", stdin=VALID)

    assert validated.stderr == "<stdin>: valid: 1 pool, 1 process, 5 threads\n"
    assert "name: shop" in rendered.stdout
    assert planned.stdout.splitlines()[1].startswith("worker\tthin\t1\t5")
    assert listed.returncode == 0, listed.stderr


def test_errors_on_standard_input_are_named_after_it(shell: Shell) -> None:
    text = VALID.replace("thin", "thinn")

    validated = shell("validate", "-", stdin=text)
    rendered = shell("render", "--compose", "-", stdin=text)
    report = json.loads(shell("validate", "-", "--format", "json", stdin=text).stdout)

    assert validated.returncode == rendered.returncode == 1
    assert validated.stdout.startswith("<stdin>:4:24: error BT")
    assert rendered.stderr.splitlines()[-1] == "error: <stdin> has errors; nothing was rendered"
    assert report["diagnostics"][0]["file"] == "<stdin>"


def test_import_reads_standard_input(shell: Shell) -> None:
    imported = shell("import", "-", stdin=COMPOSE.read_text())

    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.startswith("# yaml-language-server")
    assert shell("import", "-", stdin="a: [").stderr.startswith("error: <stdin>")


def test_standard_input_is_read_for_one_thing_only(shell: Shell) -> None:
    assert shell("enqueue", "double", "--payload", "-", "-f", "-", stdin=VALID).returncode == 2


@pytest.mark.parametrize("command", ["validate", "up --dry-run", "render --k8s"])
def test_topology_under_the_other_suffix_is_named(shell: Shell, command: str) -> None:
    (shell.directory / "topology.yml").write_text(VALID)

    result = shell(*command.split())

    assert result.returncode == 1
    assert "found topology.yml: rename it, or name it on the command line" in (
        result.stdout + result.stderr
    )


def test_command_that_needs_no_topology_says_that_one_is_not_read(shell: Shell) -> None:
    (shell.directory / "topology.yml").write_text(VALID)

    listed = shell("queues")

    assert listed.returncode == 0
    assert "warning: topology.yml is not read: rename it to topology.yaml" in listed.stderr
    assert "not read" not in shell("queues", "-f", "topology.yml").stderr


def test_init_does_not_write_beside_a_topology_under_the_other_suffix(shell: Shell) -> None:
    (shell.directory / "topology.yml").write_text(VALID)

    result = shell("init")

    assert result.returncode == 1
    assert "not overwriting topology.yml" in result.stderr
