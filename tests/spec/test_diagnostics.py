"""Diagnostics: each file in `diagnostics/` lists in comments what it has, and where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bananas_topology.render.patch_errors import patch_errors
from bananas_topology.spec.diagnostics import Severity, declare, declared_codes
from bananas_topology.spec.load import check, check_bytes
from bananas_topology.spec.rules import RULES

FOLDER = Path(__file__).parent / "diagnostics"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
TWELVE = FOLDER / "twelve_errors.yaml"

#: Codes about whole files, which test_load.py and test_overlays.py provoke.
ELSEWHERE = {"BT001", "BT002", "BT003", "BT006", "BT016", "BT017", "BT100", "BT306"}


def _expected(path: Path) -> list[str]:
    return re.findall(r"^# expect: (BT\d{3} \d+:\d+)$", path.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_file_has_exactly_the_diagnostics_that_it_lists(path: Path) -> None:
    result = check(path, {}, patch_errors)

    found = [f"{each.code} {each.span.line}:{each.span.column}" for each in result.diagnostics]
    assert found == _expected(path)
    assert found


def test_twelve_errors_in_one_file_are_all_reported() -> None:
    result = check(TWELVE, {})

    assert len(result.diagnostics) == 12
    assert len({each.span for each in result.diagnostics}) == 12
    assert all(each.severity is Severity.ERROR for each in result.diagnostics)
    assert result.topology is None


def test_a_diagnostic_shows_the_value_and_how_to_fix_it() -> None:
    result = check(TWELVE, {})

    lines = [str(each).rpartition("twelve_errors.yaml")[2] for each in result.diagnostics]
    assert (
        ':22:5: error BT103: pool "worker-io" has no field "concurency" '
        '(did you mean "concurrency"?)' in lines
    )
    assert (
        ':17:18: error BT101: "concurrency" of pool "worker-high" is "many"; '
        "expected an integer from 1 to 1000" in lines
    )


def test_a_job_type_whose_pools_have_no_replicas_is_not_corrected_to_itself() -> None:
    text = b"""
version: 1
name: shop
handlers: [shop.jobs]
jobs: {mail: {max_retries: 0}}
pools:
  mails: {mode: job-specialized, job_types: [mail], max_retries: 0, replicas: 0}
  all: {mode: job-specialized, job_types: [report], max_retries: 0}
"""

    [found] = check_bytes(text, Path("topology.yaml"), {}).diagnostics

    assert "did you mean" not in str(found)
    assert '"replicas" of a pool with this job type to 1 or more' in str(found)


def test_every_declared_code_has_an_example_file() -> None:
    declared = {code.name for code in declared_codes()}
    listed = {line.partition(" ")[0] for path in EXAMPLES for line in _expected(path)}

    assert listed == declared - ELSEWHERE
    assert declared >= ELSEWHERE


def test_every_code_is_documented() -> None:
    for code in declared_codes():
        assert re.fullmatch(r"[A-Z`].{5,60}[^.]", code.meaning), code.name
    assert all(rule.code.example and rule.check.__doc__ for rule in RULES)


def test_a_code_cannot_be_declared_twice() -> None:
    with pytest.raises(ValueError, match="BT101 is declared already: Wrong type"):
        declare("BT101", "Something else")


def test_the_consequence_of_an_error_is_not_reported() -> None:
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
    result = check_bytes(text, Path("a.yaml"), {})

    assert [each.code for each in result.diagnostics] == ["BT103", "BT103"]


@pytest.mark.parametrize(
    "section",
    [
        'redis: {url: "redis://app:hunter2@db/0"}',
        'redis: {url: "redis:u:hunter2@db", other: 1}',
        "redis: {url: db:6379:hunter2}",
        "redis:\n  url: &url 'redis://u:a hunter2@db'",
        "redis: {url: [u:hunter2@db]}",
        "redis: u:hunter2@db",
        "redis:\n  url: |\n    redis:u:a\n    hunter2@db",
    ],
)
def test_the_source_that_is_shown_has_no_password_whatever_the_form_of_the_url(
    section: str,
) -> None:
    text = f"version: 1\nname: shop\n{section}\npools: {{a: {{}}}}\n"

    [shown] = check_bytes(text.encode(), Path("a.yaml"), {}).sources.values()

    assert "hunter2" not in shown
    assert [len(line) for line in shown.split("\n")] == [len(line) for line in text.split("\n")]


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
def test_no_diagnostic_shows_a_secret(place: str, secret: str) -> None:
    text = f"version: 1\nname: shop\nhandlers: [a]\n{place}\npools: {{a: {{}}}}\n".encode()

    result = check_bytes(text, Path("a.yaml"), {"URL": "bad://:hunter2@host"})

    assert result.diagnostics
    assert secret not in "".join(str(each) for each in result.diagnostics)
