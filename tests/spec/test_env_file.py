from __future__ import annotations

from pathlib import Path

import pytest

from bananas_topology.errors import InvalidEnvFile
from bananas_topology.spec.env_file import parse, variables_of


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("A = 1 ", "1"),
        ("export A=1", "1"),
        ("A: 1", "1"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=one two # three", "one two"),
        ("A=one#two", "one#two"),
        ("A='it''", None),
        (r"A='it\'s $B \n' # comment", r"it's $B \n"),
        (r'A="say \"hi\"\t\$B \0101"', 'say "hi"\t$B A'),
        ('A="first\nsecond"', "first\nsecond"),
        ("A='first\nsecond'", "first\nsecond"),
        ("A=${B}-$B-$$B", "b-b-$B"),
        ('A="${C:-${B}}"', "b"),
        ("A=${B:+set}", "set"),
        ("A=1\r\n", "1"),
        ("# comment\n\n  A=1", "1"),
        ("A=pa=ss", "pa=ss"),
    ],
)
def test_values_are_read_as_compose_reads_them(line: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(InvalidEnvFile):
            parse(line, {"B": "b"})
    else:
        assert parse(line, {"B": "b"}) == {"A": value}


def test_a_value_refers_to_variables_above_unless_the_environment_has_them() -> None:
    text = "HOST=db\nURL=redis://$HOST:$PORT"

    assert parse(text, {"PORT": "1"})["URL"] == "redis://db:1"
    assert parse(text, {"PORT": "1", "HOST": "shell"})["URL"] == "redis://shell:1"


def test_a_name_without_value_leaves_the_variable_alone() -> None:
    assert parse("A\nB=1", {"A": "shell"}) == {"B": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\n?=2", "env:2: expected NAME=value"),
        ("A B", "env:1: expected = after A"),
        ("A=1\n\nB='x\n", "env:3: missing closing '"),
        ('A="x" y', 'env:1: expected the end of the line after the closing "'),
        ("A=\n\nP=pa$word", "env:3: variable word is not set"),
        ("A=1$", 'env:1: "\\$" is not followed by a variable name'),
        ("A=${B:?set it}", "env:1: variable B is not set: set it"),
        ("A=a\0b", "env:1: the value of A contains a NUL character"),
    ],
)
def test_an_error_names_the_file_and_the_line(text: str, message: str) -> None:
    with pytest.raises(InvalidEnvFile, match=f"^{message}"):
        parse(text, {}, "env")


def test_what_the_shell_has_is_left_out_and_later_files_win(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("A=1\nB=1\nC=1")
    second.write_text("\ufeffB=2\nC=2\nD=$A", encoding="utf-8")

    found = variables_of({"C": ""}, tmp_path, [first, second])

    assert found == {"A": "1", "B": "2", "D": "1"}


def test_only_a_file_beside_the_topology_is_read_by_default(tmp_path: Path) -> None:
    assert variables_of({"A": "1"}, tmp_path) == {}

    (tmp_path / ".env").write_text("B=2")
    assert variables_of({"A": "1"}, tmp_path) == {"B": "2"}

    other = tmp_path / "other"
    (other / ".env").mkdir(parents=True)  # a virtual environment
    assert variables_of({"A": "1"}, other) == {}


def test_a_named_file_has_to_be_readable(tmp_path: Path) -> None:
    with pytest.raises(InvalidEnvFile, match="No such file"):
        variables_of({}, tmp_path, [tmp_path / "missing"])
    with pytest.raises(InvalidEnvFile, match="Is a directory"):
        variables_of({}, tmp_path, [tmp_path])
    (tmp_path / "latin").write_bytes(b"A=\xe9")
    with pytest.raises(InvalidEnvFile, match="not UTF-8"):
        variables_of({}, tmp_path, [tmp_path / "latin"])
