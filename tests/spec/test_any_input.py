"""Whatever a file contains: no exception, no hang, and all diagnostics are within the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bananas_topology.contract.worker import from_env
from bananas_topology.launch import launch_for
from bananas_topology.spec.diagnostics import Severity, declared_codes
from bananas_topology.spec.load import (
    CheckResult,
    check_bytes,
    check_documents,
    override_documents,
)
from bananas_topology.spec.reader import read_document

SEEDS = [
    path.read_text("utf-8")
    for path in sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))
] + [
    path.read_text("utf-8")
    for path in sorted((Path(__file__).parent / "diagnostics").glob("*.yaml"))
]

CODES = {code.name for code in declared_codes()}

#: Bits of YAML that trip up parsers.
AWKWARD = [
    "on", "no", "1e3", "0o17", ".inf", ".nan", "~", "!!int x", "!!binary aGk=", "!x y", "&a", "*a",
    "<<: *a", "<<: [1]", "? [a]", "? ", ": ", "- ", "\t", "\t- x", "\ufeff", "\x00", "\x85",
    "\u2028", "|\n", ">-\n ", "'", '"', '"\\x"', "{", "}", "[", "]", ",", "#", "---", "...",
    "%YAML 1.1\n---\n", "${A}", "${A:-b", "$", "$$", "${A:?", "@", "`", "&a [*a, *a]",
    "{a: 1, a: 2}", "2026-01-01", "1_000", "99999999999999999999999", "=", "\r", "\r\n",
    "\U0001f34c",
]  # fmt: skip

ENVIRON = {"A": "1", "B": "x: [y"}

LIMITS = settings(
    max_examples=150,
    deadline=30_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _check(data: bytes) -> None:
    _assert_sound(check_bytes(data, Path("any.yaml"), ENVIRON))


def _assert_sound(result: CheckResult) -> None:
    lines_of = {file: re.split(r"\r\n|\r|\n", text) for file, text in result.sources.items()}
    for each in result.diagnostics:
        span, lines = each.span, lines_of[each.file]
        assert each.code in CODES
        assert (span.line, span.column) <= (span.end_line, span.end_column)
        for line, column in ((span.line, span.column), (span.end_line, span.end_column)):
            assert 1 <= line <= len(lines)
            # Just past the end of the line, or past its line break if that is invalid.
            assert 1 <= column <= len(lines[line - 1]) + 3
        assert "\n" not in str(each)
    has_errors = any(each.severity is Severity.ERROR for each in result.diagnostics)
    assert has_errors is (result.topology is None)
    if result.topology is not None:
        for pool in result.topology.pools:
            # Whatever passes here is accepted by every worker.
            config = from_env({**launch_for(result.topology, pool).env, "WORKER_ID": "w"})
            assert config.concurrency == pool.worker.concurrency


@given(st.binary(max_size=300))
@example(b"\xff\xfea\x00")
@example(b"\xed\xa0\x80")
@LIMITS
def test_any_bytes(data: bytes) -> None:
    _check(data)


@given(st.text(max_size=300))
@LIMITS
def test_any_text(text: str) -> None:
    _check(text.encode("utf-8", "surrogatepass"))


@given(st.lists(st.sampled_from([*AWKWARD, "a", "a:", " ", "\n", "\n  ", "pools:"]), max_size=40))
@example(["!!int x", "\x85", "\r", "on"])
@LIMITS
def test_any_mixture_of_awkward_parts(parts: list[str]) -> None:
    _check("".join(parts).encode())


@given(
    st.sampled_from(SEEDS),
    st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 12),
            st.one_of(st.sampled_from(AWKWARD), st.text(max_size=5)),
        ),
        min_size=1,
        max_size=4,
    ),
)
@LIMITS
def test_any_edited_topology(text: str, edits: list[tuple[float, int, str]]) -> None:
    for share, length, insertion in edits:
        at = int(share * len(text))
        text = text[:at] + insertion + text[at + length :]

    _check(text.encode("utf-8", "surrogatepass"))


@given(
    st.sampled_from(SEEDS),
    st.lists(st.sampled_from(SEEDS) | st.text(max_size=60) | st.sampled_from(AWKWARD), max_size=2),
    st.lists(
        st.tuples(
            st.sampled_from(("", "pools", "pools.a", "pools.worker.replicas", "x-a", "env.b\\.c")),
            st.sampled_from(AWKWARD) | st.text(max_size=20),
        ),
        max_size=3,
    ),
)
@example(SEEDS[0], [], [("x-a", "null"), ("x-a.b", "1"), ("x-a", "&a [*a]")])
@example(SEEDS[0], ["pools: null"], [("pools.worker", "\n\n!!int x")])
@LIMITS
def test_any_overlays(text: str, overlays: list[str], overrides: list[tuple[str, str]]) -> None:
    documents = [
        read_document(f"{at}.yaml", each.encode("utf-8", "surrogatepass"), ENVIRON)
        for at, each in enumerate([text, *overlays])
    ]
    texts = [f"{path}={value}" for path, value in overrides]
    # Without a path, it is no override.
    documents += override_documents([each for each in texts if each[0] != "="], ENVIRON)
    _assert_sound(check_documents(documents, Path("0.yaml")))


@given(st.sampled_from(SEEDS), st.data())
@LIMITS
def test_any_topology_with_a_value_in_a_wrong_place(text: str, data: st.DataObject) -> None:
    """The shape stays valid, so that rules see odd values."""
    places = [match.span(1) for match in re.finditer(r": +([^\s#{\[][^#\n,}\]]*)", text)]
    values = [text[start:end] for start, end in places] + [
        "on", "-1", "0", "1e3", "5000", "0s", "9999h", "{}", "[]", "[1, [2]]", "{a: {b: c}}",
        "null", "${A}", "${NOPE}", ".nan", '"* * * * *"', "2026-01-01", "!!str 5", "0.0001", "''",
    ]  # fmt: skip
    for _ in range(data.draw(st.integers(1, 3))):
        if not places:
            return
        start, end = places.pop(data.draw(st.integers(0, len(places) - 1)))
        text = text[:start] + data.draw(st.sampled_from(values)) + text[end:]
        places = [place for place in places if place[1] < start]

    _check(text.encode())


@pytest.mark.parametrize("count", [10, 1_000, 20_000])
def test_any_number_of_aliases(count: int) -> None:
    text = "x-a: &a [" + "1, " * 50 + "]\npools:\n"
    text += "".join(f"  p{at}: *a\n" for at in range(count))

    _check(text.encode())


@pytest.mark.parametrize("depth", [1, 20, 49, 51, 2_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("? ", "")])
def test_any_depth(depth: int, opening: str, closing: str) -> None:
    _check(("x-a: " + opening * depth + "1" + closing * depth).encode())


@pytest.mark.parametrize("piece", ["${A:-", "$", "a,", "1", " ", "&a", "'", "9", "_", ".", "-"])
def test_any_piece_repeated(piece: str) -> None:
    repeated = piece * (50_000 // len(piece))

    _check(f"version: 1\nname: '{repeated}'\n".encode())
    _check(f"version: 1\nname: {repeated}\npools: {{a: {{job_timeout: {repeated}}}}}\n".encode())
    _check(f'schedules: {{a: {{cron: "{repeated}", job: x, timezone: "{repeated}"}}}}\n'.encode())
    _check(f"{repeated}: 1\npools: {{'{repeated}': {{'{repeated}': 1}}}}\n".encode())
