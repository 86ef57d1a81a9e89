from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bananas_topology.spec.load import check
from tests.cli.shell import Shell

VALID = "version: 1\nname: shop\nhandlers: [jobs]\npools:\n  worker: {mode: thin}\n"
BROKEN = VALID.replace("{mode: thin}", "{mode: thin, concurency: 5}")
#: Two identical pools give a warning.
WARNED = VALID + "  other: {mode: thin}\n"


def _write(shell: Shell, text: str, name: str = "topology.yaml") -> Path:
    path = shell.directory / name
    path.write_text(text)
    return path


def test_valid_topology_is_summarized(shell: Shell) -> None:
    _write(shell, VALID)

    result = shell("validate")

    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "topology.yaml: valid: 1 pool, 1 process, 5 threads\n"


def test_diagnostics_are_one_line_each_in_a_pipe(shell: Shell) -> None:
    _write(shell, BROKEN.replace("name: shop", "name: Shop!"))

    result = shell("validate")

    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert [re.sub(r" BT\d+:.*", "", line) for line in lines] == [
        "topology.yaml:2:7: error",
        "topology.yaml:5:24: error",
    ]
    assert 'did you mean "concurrency"?' in lines[1]
    assert result.stderr == "2 errors, 0 warnings\n"


def test_patch_that_render_would_reject_is_an_error(shell: Shell) -> None:
    _write(
        shell, f"{VALID}kubernetes:\n  patches: [{{kind: Deployment, name: wroker, merge: {{}}}}]\n"
    )

    validated = shell("validate")
    rendered = shell("render", "--k8s")

    assert validated.returncode == rendered.returncode == 1
    assert validated.stdout.startswith("topology.yaml:7:13: error BT237: kubernetes.patches[0] ")
    assert "did you mean Deployment worker?" in validated.stdout
    assert "did you mean Deployment worker?" in rendered.stderr


def test_terminal_does_not_show_the_password_of_a_url(shell: Shell) -> None:
    url = "redis://app:hun/ter2@db"
    _write(shell, f'{VALID}redis: {{url: "{url}", key_prefix: "{{a"}}\n')

    code, shown = shell.on_terminal("validate")

    assert code == 1
    assert "BT232" in shown
    assert "hun" not in shown
    assert "ter2" not in shown


def test_terminal_shows_the_source_with_a_caret(shell: Shell) -> None:
    _write(shell, BROKEN)

    code, shown = shell.on_terminal("validate")
    _, plain = shell.on_terminal("validate", NO_COLOR="1")

    assert code == 1
    assert re.search(r"\x1b\[1;31merror BT\d+\x1b\[0m", shown)
    lines = plain.replace("\r", "").splitlines()
    source = next(line for line in lines if line.startswith("  5 | "))
    caret = lines[lines.index(source) + 1]
    assert source[caret.index("^") : caret.rindex("^") + 1] == "concurency"


def test_json_output_has_the_same_fields(shell: Shell) -> None:
    path = _write(shell, BROKEN)

    result = shell("validate", "--format", "json")

    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert (report["valid"], report["errors"], report["warnings"]) == (False, 1, 0)
    [printed] = report["diagnostics"]
    [expected] = check(path, {}).diagnostics
    assert printed["code"] == expected.code
    assert printed["message"] == expected.message
    assert (printed["file"], printed["line"], printed["column"]) == ("topology.yaml", 5, 24)


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 1)])
def test_warnings_pass_unless_strict(shell: Shell, arguments: tuple[str, ...], code: int) -> None:
    _write(shell, WARNED)

    result = shell("validate", *arguments)

    assert result.returncode == code
    assert ": warning BT" in result.stdout


def test_all_files_are_checked(shell: Shell) -> None:
    _write(shell, VALID, "good.yaml")
    _write(shell, BROKEN, "bad.yaml")

    result = shell("validate", "bad.yaml", "good.yaml", "none.yaml")

    assert result.returncode == 1
    assert {line.split(":")[0] for line in result.stdout.splitlines()} == {"bad.yaml", "none.yaml"}
    assert "good.yaml: valid" in result.stderr


def test_schema_is_printed_as_json(shell: Shell) -> None:
    result = shell("schema")

    assert json.loads(result.stdout)["$schema"].startswith("https://json-schema.org/")
