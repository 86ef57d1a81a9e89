"""The page for everybody: with a screen reader, by keyboard, on a phone, in the dark."""

from __future__ import annotations

from typing import Literal

import pytest
import redis
from playwright.sync_api import Page, expect

from bananas_topology.jobs.keys import Keys
from tests.page.browser import PHONE, Tab
from tests.page.conftest import OpenTab
from tests.page.site import Site
from tests.page.test_modules import HOSTILE

#: Every view, and what it shows once it has read its data.
VIEWS = {
    "": "retry or delete",
    "jobs": "long id",
    "jobs?state=processing": "running one",
    "jobs?state=finished": "No job has finished since",
    "job/dead%20one": "Why it died",
    "job/completed%20one": "Result",
    "job/running%20one": "Running for",
    "job/delayed%20one": "Due",
    "dead": "dead one",
    "workers": "worker-0",
    "schedules": "No schedules",
    "enqueue": "Job type",
    "enqueue?from=dead%20one": "Payload",
    "none": "There is no such page",
}


@pytest.fixture
def busy_site(site: Site, client: redis.Redis, keys: Keys) -> Site:
    """A site with something to show everywhere."""
    # The job that runs is to run until all views were checked.
    jobs = '{"render_video": {"timeout": "1h"}}'
    site.worker(WORKER_ID="worker-0", WORKER_POOL="worker", WORKER_JOBS=jobs)
    for number in range(60):
        site.client.enqueue("echo", number, delay="1h", id=f"{number} {'long id ' * 20}")
    site.client.enqueue("fail_with", HOSTILE | {"long": "word" * 200}, id="dead one")
    site.client.enqueue("echo", HOSTILE, id="completed one")
    site.client.enqueue("render_video", 3600, id="running one")
    site.client.enqueue("send_email", {"to": "a@example.com"}, id="delayed one", delay="2h")
    states = {"dead one": "failed", "completed one": "completed", "running one": "processing"}
    for job_id, state in states.items():
        site.wait_for_status(job_id, state)
    return site


def _visit(tab: Tab, route: str) -> Page:
    page = tab.open(route)
    expect(page.locator("main")).to_contain_text(VIEWS[route])
    return page


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_every_view_is_accessible(busy_site: Site, open_tab: OpenTab, color_scheme: str) -> None:
    tab = open_tab(busy_site, color_scheme=color_scheme)

    for route in VIEWS:
        _visit(tab, route)
        tab.assert_accessible(f"#/{route} in {color_scheme}")


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_dialogs_and_messages_are_accessible(
    busy_site: Site, open_tab: OpenTab, color_scheme: str
) -> None:
    tab = open_tab(busy_site, color_scheme=color_scheme)
    page = _visit(tab, "dead")
    page.get_by_role("button", name="Delete all").click()
    expect(page.get_by_role("dialog", name="Delete 1 dead job?")).to_be_visible()
    tab.assert_accessible("the question before a deletion")
    page.keyboard.press("Escape")

    page = _visit(tab, "job/delayed%20one")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("dialog", name="Cancel this job?")).to_be_visible()
    tab.assert_accessible("the question before a job is cancelled")
    page.keyboard.press("Escape")

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    tab.assert_accessible("the keyboard shortcuts")


def test_no_view_scrolls_sideways_on_a_phone(busy_site: Site, open_tab: OpenTab) -> None:
    tab = open_tab(busy_site, viewport=PHONE, has_touch=True, is_mobile=True)

    for route in VIEWS:
        _visit(tab, route)
        tab.assert_fits(f"#/{route}")


def test_a_dead_job_is_found_corrected_and_enqueued_by_keyboard(site: Site, tab: Tab) -> None:
    site.worker()
    dead = site.client.enqueue("send_email", {"to": "ada"})
    site.wait_for_status(dead, "failed")
    tab.stop_the_clock()
    page = tab.open()

    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="Dead jobs", level=1)).to_be_focused()
    _tab_to(page, "link", dead)
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Traceback")).to_be_visible()
    _tab_to(page, "link", "Enqueue a copy…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Enqueue a job", level=1)).to_be_focused()
    _tab_to(page, "textbox", "to")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("ada@example.com")
    _tab_to(page, "button", "Enqueue")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Enqueued send_email as")).to_be_visible()
    _tab_to(page, "link")
    page.keyboard.press("Enter")

    expect(page.get_by_role("group", name="Result")).to_have_text('"sent to ada@example.com"')


def test_the_keyboard_pages_through_jobs_without_losing_its_place(site: Site, tab: Tab) -> None:
    for number in range(120):
        site.client.enqueue("echo", number)
    page = tab.open("jobs?state=pending")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="Next").focus()

    for number in (2, 3):
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Next")).to_be_focused()


def test_the_first_key_skips_the_navigation(site: Site, tab: Tab) -> None:
    page = tab.open("jobs")
    expect(page.get_by_text("No job matches.")).to_be_visible()

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    expect(page.get_by_role("button", name="All", exact=True)).to_be_focused()
    assert page.url.endswith("#/jobs")


def _tab_to(page: Page, role: Literal["link", "button", "textbox"], name: str = "") -> None:
    """Press the Tab key until an element has the focus, once there is one."""
    wanted = {"link": "a", "textbox": "input"}.get(role, role)
    expect(page.get_by_role(role, name=name).first).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "({ activeElement: at }) => [at.localName, (at.labels?.[0] ?? at).innerText]",
            page.evaluate_handle("document"),
        )
        if focused[0] == wanted and name in focused[1]:
            return
    raise AssertionError(f"the Tab key does not reach the {role} {name!r}")
