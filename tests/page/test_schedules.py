"""The schedules on the page."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.page.browser import PHONE, Tab
from tests.page.conftest import OpenTab
from tests.page.site import Site

#: Far away: it does not fire while a test runs.
YEARLY = "0 2 1 1 *"

NIGHTLY = {"nightly": {"cron": YEARLY, "job": "echo", "payload": {"kind": "sales"}}}


def run_nightly(site: Site) -> None:
    """Start a scheduler with one schedule."""
    site.worker(ENABLE_SCHEDULER="true", WORKER_SCHEDULES=json.dumps(NIGHTLY))


def test_a_schedule_shows_its_runs_and_can_be_run_now(site: Site, tab: Tab) -> None:
    run_nightly(site)
    page = tab.open("schedules")
    row = page.get_by_role("row", name="nightly")
    expect(row).to_contain_text(YEARLY)
    expect(row).to_contain_text('{"kind":"sales"}')
    expect(row).to_contain_text("in ")
    expect(row).to_contain_text("not yet")

    page.get_by_role("button", name="Run now: nightly").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now", exact=True).click()

    message = page.get_by_role("status").get_by_role("link")
    job_id = message.inner_text().rpartition(" ")[2].rstrip(".")
    # At once: it is shown for eight seconds.
    message.click()
    assert site.client.wait(job_id, timeout="30s") == {"kind": "sales"}
    expect(page.get_by_text("completed").first).to_be_visible()


def test_a_run_that_is_not_confirmed_enqueues_nothing(site: Site, tab: Tab) -> None:
    run_nightly(site)
    page = tab.open("schedules")

    page.get_by_role("button", name="Run now: nightly").click()
    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Run now: nightly")).to_be_focused()
    assert site.backlog()["completed"] == 0


def test_a_deployment_without_schedules_says_where_they_are_written(tab: Tab) -> None:
    page = tab.open("schedules")

    expect(page.get_by_text("Define them in the topology, under schedules.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_schedules_are_accessible_and_fit_a_phone(
    open_tab: OpenTab, site: Site, scheme: str
) -> None:
    run_nightly(site)
    tab = open_tab(site, color_scheme=scheme, viewport=PHONE)
    page = tab.open("schedules")
    expect(page.get_by_role("row", name="nightly")).to_be_visible()

    tab.assert_accessible("schedules")
    tab.assert_fits("schedules")
