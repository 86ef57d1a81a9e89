from __future__ import annotations

import io
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bananas_topology import yaml_writer
from bananas_topology.yaml_writer import MERGE, Shared, is_plain, to_flow_yaml, to_yaml

#: What some YAML or other takes for something else than text, and neighbours of such words.
MISREAD = (
    "", "~", "null", "Null", "y", "N", "yes", "NO", "on", "Off", "true", "FALSE", "1", "-1", "+1",
    "1.10", ".5", "1e3", "1E+3", "0x1f", "0o17", "017", "0b1", "1_000", "22:30", "1:30:00", ".inf",
    "-.INF", ".nan", "2001-01-01", "2001-12-14t21:59:43.10-05:00", "=", "<<", "-", "- a", "? a",
    "a: b", "a:", "a #b", "#a", "&a", "*a", "!a", "%a", "@a", "`a", "[a]", "{a}", "a\tb", " a",
    "a ", "---", "...", "|", ">", "'", '"', "a\nb", "\x85", "\u2028", "\ufeff", "a\r\nb", "\\n",
)  # fmt: skip

texts = st.one_of(st.sampled_from(MISREAD), st.text())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)),
    max_leaves=20,
)


def read_as_yaml_1_2(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(io.StringIO(text))


@given(values)
def test_a_value_is_read_back_as_it_was_by_yaml_1_1_and_1_2(value: Any) -> None:
    text = to_yaml(value)

    assert yaml.safe_load(text) == value
    assert read_as_yaml_1_2(text) == value


@given(st.one_of(values, st.dictionaries(st.sampled_from(("a", "a b", "no", "k" * 150)), values)))
@example({"a": [[1, [2, {"b": "x\n\ny"}]], {}, [], {"c": {"d": "x\ny\n"}}, ("1", None, 0.5)]})
def test_a_document_is_written_as_pyyaml_would(value: Any) -> None:
    assert to_yaml(value) == yaml_writer._dump(value, is_flow=False)


@given(values)
def test_a_value_on_one_line_is_read_back_as_it_was_by_yaml_1_1_and_1_2(value: Any) -> None:
    text = to_flow_yaml(value)

    assert "\n" not in text
    assert yaml.safe_load(text) == value
    assert read_as_yaml_1_2(text) == value


@pytest.mark.parametrize("text", [each for each in MISREAD if "\n" not in each])
def test_what_is_misread_somewhere_is_quoted(text: str) -> None:
    assert not is_plain(text)
    assert to_yaml({"key": text}).removeprefix("key: ")[0] in "'\""


@pytest.mark.parametrize(
    "text",
    [
        "shop.jobs",
        "ghcr.io/a/b:1.4",
        "/var/log",
        "250m",
        "4Gi",
        "25%",
        "1h30m",
        "-m",
        "--dir",
        "a b",
    ],
)
def test_plain_words_stay_plain(text: str) -> None:
    assert to_yaml([text]) == f"- {text}\n"


def test_several_lines_become_a_block_where_that_keeps_them() -> None:
    assert to_yaml({"a": "one\ntwo\n"}) == "a: |\n  one\n  two\n"
    assert to_yaml({"a": "one\n two"}) == 'a: "one\\n two"\n'


def test_json_is_in_single_quotes() -> None:
    assert to_yaml({"a": '{"b":1}'}) == "a: '{\"b\":1}'\n"


def test_keys_stay_in_order_and_lists_are_indented() -> None:
    assert to_yaml({"b": [1], "a": {}, "c": []}) == "b:\n  - 1\na: {}\nc: []\n"


def test_a_shared_value_is_written_once() -> None:
    base = Shared("base", {"init": True})

    text = to_yaml({"x": base, "a": {MERGE: base, "b": 1}, "c": {MERGE: [base]}})

    assert text.count("init") == 1
    assert yaml.safe_load(text)["a"] == {"init": True, "b": 1}


def test_the_same_object_in_two_places_is_written_twice() -> None:
    same = {"a": 1}

    assert to_yaml([same, same]) == "- a: 1\n- a: 1\n"


def test_what_is_no_plain_value_is_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        to_yaml({"a": object()})
