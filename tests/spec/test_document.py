from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bananas_topology.spec.document import Document
from bananas_topology.spec.nodes import find, locate_key, locate_value, plain
from bananas_topology.spec.reader import read_document


def _read(text: str, environ: Mapping[str, str] | None = None) -> Document:
    return read_document("a.yaml", text.encode(), environ or {})


def _values(text: str, environ: Mapping[str, str] | None = None) -> Any:
    document = _read(text, environ)
    assert not document.diagnostics, str(document.diagnostics[0])
    assert document.root is not None
    return plain(document.root)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("null", None),
        ("", None),
        ("nil", "nil"),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        (".", "."),
        ("1.2.3", "1.2.3"),
        ("1.10", 1.1),
        ("-.inf", float("-inf")),
        (".Inf", float("inf")),
        (".iNF", ".iNF"),
        ("2026-01-01", "2026-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ('!!int "12"', 12),
        ("!!float 1", 1.0),
        ("=", "="),
        ("5m", "5m"),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(written: str, expected: object) -> None:
    value = _values(f"k: {written}")["k"]

    assert value == expected
    assert type(value) is type(expected)


def test_long_numbers_are_read_quickly() -> None:
    value = _values(f"k: {'9' * 500_000}")["k"]

    assert value == float("inf")


def test_keys_are_always_strings() -> None:
    assert _values("{1: a, true: b, ~: c}") == {"1": "a", "true": "b", "~": "c"}


def test_aliases_repeat_and_merge_keys_add() -> None:
    values = _values(
        "x-a: &a {k: 1, l: 2}\n"
        "x-b: &b {l: 3, m: 4}\n"
        "one: *a\n"
        "two: {<<: *a, k: 5}\n"
        "three: {<<: [*a, *b]}\n"
        'four: {"<<": 6}\n'
    )

    assert values["one"] == {"k": 1, "l": 2}
    assert values["two"] == {"k": 5, "l": 2}
    assert values["three"] == {"k": 1, "l": 2, "m": 4}
    assert values["four"] == {"<<": 6}


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("${N}", {"N": "7"}, 7),
        ("$N", {"N": "7"}, 7),
        ("'${N}'", {"N": "7"}, "7"),
        ("${N:-10}", {}, 10),
        ("${N:-10}", {"N": ""}, 10),
        ("${N-10}", {"N": ""}, ""),
        ("${N:-}", {}, ""),
        ("${N:+yes}", {"N": "1"}, "yes"),
        ("${N:+yes}", {}, ""),
        ("${A:-${B:-c}}", {}, "c"),
        ("${A:-${B}}", {"A": "x"}, "x"),
        ("${A:?needed}", {"A": "x"}, "x"),
        ("1${N}", {"N": "0"}, 10),
        ("a$$b", {}, "a$b"),
        ("$${N}", {}, "${N}"),
        ("${A}", {"A": "{k: v} # *x"}, "{k: v} # *x"),
        ("${A}", {"A": "${B}"}, "${B}"),
        ("!!int ${N}", {"N": "7"}, 7),
        ("'${C:-{\"a\":1}}'", {}, '{"a":1}'),
        ("'${C:-{\"a\":1}}'", {"C": '{"b":2}'}, '{"b":2}'),
        ('\'${C:-{"a":{"b":$B}}}!\'', {"B": "2"}, '{"a":{"b":2}}!'),
        ("'{${A:-{}}}'", {}, "{{}}"),
        ("${A:-${B:?needed}}", {"A": "x"}, "x"),
        ("${A:+${B:?needed}}", {}, ""),
        ("${A:-$}", {"A": "x"}, "x"),
    ],
)
def test_variables_in_values_are_replaced(
    text: str, environ: dict[str, str], expected: object
) -> None:
    value = _values(f"k: {text}", environ)["k"]

    assert value == expected
    assert type(value) is type(expected)


def test_variables_in_block_scalars_and_lists_are_replaced_but_not_in_keys() -> None:
    values = _values("$A:\n  - ${A}\n  - |\n    x ${A}\n    y\n", {"A": "b"})

    assert values == {"$A": ["b", "x b\ny\n"]}


@pytest.mark.parametrize("environ", [{"A": "caf\udce9"}, {"A": "x\x00"}])
def test_a_variable_that_is_not_text_is_an_error(environ: dict[str, str]) -> None:
    document = _read("k: ${A}\n", environ)

    assert [each.code for each in document.diagnostics] == ["BT012"]


def test_characters_that_json_escapes_as_two_surrogates_are_read_as_one() -> None:
    document = _read(r'k: {"a": "\ud83c\udf4c!", b: bad\ud83c\udf4c, "c": "\\ud83c\\udf4c"}')

    assert document.root is not None
    assert plain(document.root)["k"] == {
        "a": "\U0001f34c!",
        "b": r"bad\ud83c\udf4c",
        "c": r"\ud83c\udf4c",
    }
    assert document.diagnostics == []


@pytest.mark.parametrize("written", ['"a\\0"', '"\\x00"'])
def test_a_string_that_no_process_accepts_is_an_error(written: str) -> None:
    document = _read(f"k: {written}\n")

    assert [each.code for each in document.diagnostics] == ["BT003"]


def test_an_unset_redis_url_is_remembered() -> None:
    document = _read("redis:\n  url: ${REDIS_URL}\n")

    node = find(document.root, ("redis", "url"))
    assert document.diagnostics == []
    assert getattr(node, "unset", None) == "REDIS_URL"


def test_an_error_in_a_variable_is_at_the_variable() -> None:
    document = _read('a: "x ${MISSING}"\nb: x ${MISSING}\nc: |\n  ${MISSING}\n')

    places = [(each.span.line, each.span.column) for each in document.diagnostics]
    # In quotes and block scalars, offsets in the value are not offsets in the file.
    assert places == [(1, 4), (2, 6), (3, 4)]


def _text_at(document: Document, place: tuple[int, int]) -> str:
    return document.text[slice(*place)]


def test_every_key_and_value_has_its_position() -> None:
    document = _read(
        "é: &x !!str 'q'\n"
        "list:\n"
        "  - a: plain text # comment\n"
        "    b: |\n"
        "      block\n"
        "\n"
        "  - {c: d}\n"
        "empty:\n"
    )

    def value(*path: str | int) -> str:
        return _text_at(document, locate_value(document.root, path))

    assert value("é") == "'q'"
    assert value("list", 0, "a") == "plain text"
    assert value("list", 0, "b") == "|\n      block"
    assert value("list", 1, "c") == "d"
    assert value("list") == "list"
    assert value("empty") == "empty"
    assert value("list", 1, "missing") == value("list", 1)
    assert _text_at(document, locate_key(document.root, ("list", 0, "b"))) == "b"


def test_a_merged_value_keeps_its_position() -> None:
    document = _read("x-a: &a\n  k: 1\nb:\n  <<: *a\n")

    span = document.lines.span(*locate_value(document.root, ("b", "k")))
    assert (span.line, span.column) == (2, 6)
