"""Faulty topologies: each file says in comments which findings it has, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology.spec.codes import CODES, markdown_table
from bananas_topology.spec.diagnostics import Severity
from bananas_topology.spec.load import check, check_bytes
from bananas_topology.spec.rules import RULES

FAULTS = sorted((Path(__file__).parent / "faults").glob("*.yaml"))
SOURCES = sorted((Path(__file__).parents[2] / "bananas_topology" / "spec").rglob("*.py"))

#: Faults of whole files, which test_load.py makes.
ELSEWHERE = {"BT001", "BT002", "BT003", "BT006", "BT100"}


def _expected(path: Path) -> list[str]:
    return re.findall(r"^# expect: (BT\d{3} \d+:\d+)$", path.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_every_fault_is_found_where_it_is_and_nothing_else(path: Path) -> None:
    report = check(path, {})

    found = [f"{each.code} {each.span.line}:{each.span.column}" for each in report.diagnostics]
    assert found == _expected(path)
    assert found


def test_twelve_different_faults_of_one_file_are_all_found() -> None:
    report = check(Path(__file__).parent / "faults" / "twelve_faults.yaml", {})

    assert len(report.diagnostics) == 12
    assert len({each.span for each in report.diagnostics}) == 12
    assert all(each.severity is Severity.ERROR for each in report.diagnostics)
    assert report.topology is None


def test_a_finding_says_what_was_met_and_what_to_do() -> None:
    report = check(Path(__file__).parent / "faults" / "twelve_faults.yaml", {})

    lines = [str(each).rpartition("twelve_faults.yaml")[2] for each in report.diagnostics]
    assert (
        ':22:5: error BT103: pool "worker-io" has no field "concurency" '
        '(did you mean "concurrency"?)' in lines
    )
    assert (
        ':17:18: error BT101: "concurrency" of pool "worker-high" is "many"; '
        "expected a whole number from 1 to 1000" in lines
    )


def _codes_in_sources() -> Iterator[str]:
    for path in SOURCES:
        if path.stem != "codes":
            yield from re.findall(r'"(BT\d{3})"', path.read_text("utf-8"))


def test_the_table_of_codes_has_those_that_are_reported_and_no_other() -> None:
    assert set(CODES) == set(_codes_in_sources())
    assert list(CODES) == sorted(CODES)
    assert markdown_table().count("\n") == len(CODES) + 1


def test_every_code_has_a_file_with_its_fault() -> None:
    shown = {line.partition(" ")[0] for path in FAULTS for line in _expected(path)}

    assert shown == set(CODES) - ELSEWHERE


def test_every_rule_has_a_code_of_its_own() -> None:
    codes = [code for code, _ in RULES]

    assert len(codes) == len(set(codes))
    assert all(rule.__doc__ for _, rule in RULES)


def test_what_follows_from_a_fault_is_not_reported_as_another() -> None:
    text = b"""
version: 1
name: shop
handlers: [shop.jobs]
pools:
  a: {mode: specialized, priorites: [high, normal, low]}
scheduler: {repilcas: 1}
schedules:
  nightly: {cron: "0 2 * * *", job: report}
"""
    report = check_bytes(text, Path("a.yaml"), {})

    assert [each.code for each in report.diagnostics] == ["BT103", "BT103"]


@pytest.mark.parametrize("secret", ["hunter2"])
@pytest.mark.parametrize(
    "place",
    [
        "redis: {url: 'http://:hunter2@host'}",
        "redis: {url: ['redis://:hunter2@host']}",
        "redis: redis://:hunter2@host",
        "redis: {url: '${URL}'}",
        "defaults: {env: {A: [hunter2]}}",
        "defaults: {env: {DB_PASSWORD: hunter2}}",
    ],
)
def test_no_finding_shows_a_secret(place: str, secret: str) -> None:
    text = f"version: 1\nname: shop\nhandlers: [a]\n{place}\npools: {{a: {{}}}}\n".encode()

    report = check_bytes(text, Path("a.yaml"), {"URL": "bad://:hunter2@host"})

    assert report.diagnostics
    assert secret not in "".join(str(each) for each in report.diagnostics)
