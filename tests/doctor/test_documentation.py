"""The page about the doctor says what its checks say."""

from __future__ import annotations

import re
from pathlib import Path

from bananas_topology.doctor.check import Group, all_checks
from bananas_topology.doctor.checks import topology
from bananas_topology.spec import load  # noqa: F401  (declares all codes)
from bananas_topology.spec.diagnostics import declared_codes

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_the_page_names_only_checks_that_exist_and_the_checklist_uses_most_of_them() -> None:
    known = {each.code for each in all_checks()}
    text = PAGE.read_text("utf-8")
    checklist = text.partition("## The checklist")[2]

    assert set(re.findall(r"DR\d+", text)) == known
    assert len(set(re.findall(r"DR\d+", checklist))) > len(known) / 2


def test_codes_are_numbered_by_group() -> None:
    digits = {
        group: {each.code[2] for each in all_checks() if each.group == group} for group in Group
    }

    assert list(digits.values()) == [{"1"}, {"2"}, {"3"}, {"4"}, {"5"}]


def test_the_diagnostics_that_checks_report_are_declared() -> None:
    declared = {code.name for code in declared_codes()}

    assert set(topology.REPORTED_CODES) <= declared
