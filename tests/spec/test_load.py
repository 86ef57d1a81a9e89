from __future__ import annotations

import time
from pathlib import Path

import pytest

from bananas_topology.spec.diagnostics import Diagnostic, InvalidTopology, Severity
from bananas_topology.spec.load import check, check_bytes, load

GOOD = b"version: 1\nname: shop\nhandlers: [shop.jobs]\npools: {a: {}}\n"


def _only(data: bytes) -> Diagnostic:
    result = check_bytes(data, Path("a.yaml"), {})
    [found] = result.diagnostics
    assert result.topology is None
    return found


def test_a_valid_file_is_a_topology(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_bytes(GOOD)

    result = check(path, {})

    assert result.diagnostics == ()
    assert result.sources == {str(path): GOOD.decode()}
    assert result.topology is not None
    assert result.topology == load(path, {})
    assert result.topology.path == path


def test_loading_an_invalid_file_raises_with_all_errors(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_bytes(GOOD.replace(b"1", b"2").replace(b"shop\n", b"Shop\n"))

    with pytest.raises(InvalidTopology) as raised:
        load(path, {})

    assert [each.code for each in raised.value.diagnostics] == ["BT104", "BT106"]


def test_a_file_with_warnings_is_a_topology() -> None:
    result = check_bytes(GOOD.replace(b"{a: {}}", b"{a: {}, b: {}}"), Path("a.yaml"), {})

    assert [each.severity for each in result.diagnostics] == [Severity.WARNING]
    assert result.topology is not None


def test_a_file_that_cannot_be_read_is_a_diagnostic(tmp_path: Path) -> None:
    missing = check(tmp_path / "nowhere.yaml", {})
    folder = check(tmp_path, {})

    assert [each.code for each in (*missing.diagnostics, *folder.diagnostics)] == ["BT001", "BT001"]
    assert "bananas init" in str(missing.diagnostics[0])
    assert (missing.diagnostics[0].span.line, missing.diagnostics[0].span.column) == (1, 1)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_bytes(b"# " + b"x" * 2_000_000)

    [found] = check(path, {}).diagnostics

    assert found.code == "BT002"


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"version: 1\nname: caf\xe9\n", 2, 10),
        ("version: 1\n".encode("utf-16"), 1, 1),
        (b"version: 1\nna\x00me: a\n", 2, 3),
        (b"\x7fELF\x02\x01\x01\x00", 1, 1),
        (b"\xff\xd8\xff\xe0", 1, 1),
    ],
)
def test_a_binary_file_is_an_error_at_its_first_invalid_byte(
    data: bytes, line: int, column: int
) -> None:
    found = _only(data)

    assert (found.code, found.span.line, found.span.column) == ("BT003", line, column)


@pytest.mark.parametrize(
    ("pools", "hint"),
    [
        ("{a: {replicas: ${N:-2}}}", 'quote it, as in "${NAME}"'),
        ("{a: {priorities: '[high]'}}", "write the list itself"),
        ("{a: {priorities: '${P:-[high]}'}}", "write the list itself"),
        ("{a: {priorities: '${P:-high}'}}", "write [high]"),
    ],
)
def test_the_advice_about_a_value_is_valid_yaml(pools: str, hint: str) -> None:
    found = _only(GOOD.replace(b"{a: {}}", pools.encode()))

    assert (found.hint or "").startswith(hint)


def test_a_byte_order_mark_does_not_count_as_a_column() -> None:
    result = check_bytes(b"\xef\xbb\xbf" + GOOD, Path("a.yaml"), {})
    wrong = _only(b"\xef\xbb\xbf" + GOOD.replace(b"version", b"versoin"))

    assert result.diagnostics == ()
    assert (wrong.span.line, wrong.span.column) == (1, 1)


def test_positions_do_not_depend_on_line_breaks() -> None:
    text = GOOD.replace(b"{a: {}}", b"{a: {mode: fat}}")

    spans = [_only(text.replace(b"\n", end)).span for end in (b"\n", b"\r\n", b"\r")]

    assert len(set(spans)) == 1
    assert (spans[0].line, spans[0].column, spans[0].end_column) == (4, 19, 22)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"a: " + b"{b: " * 60 + b"}" * 60,
        b"\n".join(b" " * depth + b"k:" for depth in range(900)),
        b"- " * 400_000,
    ],
    ids=["unclosed", "flow", "block", "dashes"],
)
def test_deep_nesting_is_rejected_quickly(data: bytes) -> None:
    began = time.monotonic()

    found = _only(data)

    assert found.code in ("BT004", "BT006")
    assert time.monotonic() - began < 10


def test_aliases_cannot_nest_deeper_than_text() -> None:
    layers = ["x-0: &a0 {k: v}"]
    layers += [f"x-{at}: &a{at} {{k: *a{at - 1}}}" for at in range(1, 60)]

    assert _only("\n".join(layers).encode()).code == "BT006"


def test_of_thousands_of_errors_the_first_are_reported() -> None:
    keys = b"".join(b"unknown%d: 1\n" % at for at in range(20_000))
    entries = b"".join(b"  a%d: {x: 1}\n" % at for at in range(3_000))
    began = time.monotonic()

    wide = check_bytes(keys, Path("a.yaml"), {})
    many = check_bytes(GOOD[:-16] + b"\njobs:\n" + entries, Path("a.yaml"), {})

    assert 200 <= len(wide.diagnostics) <= 210
    assert len(many.diagnostics) <= 202
    assert "BT100" in {each.code for each in many.diagnostics}
    assert time.monotonic() - began < 20


def test_an_error_shared_by_pools_is_reported_once() -> None:
    text = """
x-common: &common {concurency: 5, grace: soon}
version: 1
name: shop
handlers: [shop.jobs]
defaults: {lease: 1ms, autoscale: {min: 3, max: 2, cpu: 70}}
pools: {a: *common, b: *common, c: {<<: *common, replicas: 2}}
"""
    result = check_bytes(text.encode(), Path("a.yaml"), {})

    found = [(each.code, each.span.line) for each in result.diagnostics]
    assert found == [("BT103", 2), ("BT106", 2), ("BT105", 6), ("BT220", 6), ("BT222", 6)]


def test_diagnostics_are_in_file_order_and_fit_on_one_line() -> None:
    result = check(Path(__file__).parent / "diagnostics" / "settings.yaml", {})

    spans = [each.span for each in result.diagnostics]
    assert spans == sorted(spans)
    assert all("\n" not in str(each) for each in result.diagnostics)
