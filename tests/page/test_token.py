"""Tokens: asked for once, kept in the tab only; what a read-only one may do."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.page.browser import Tab
from tests.page.conftest import MakeSite, OpenTab
from tests.page.site import Site
from tests.page.test_schedules import run_nightly

TOKEN, READ_TOKEN = "correct horse battery", "staple of dashboards"


@pytest.fixture
def private_site(make_site: MakeSite) -> Site:
    return make_site(API_TOKEN=TOKEN, API_READ_TOKEN=READ_TOKEN)


def _enter(tab: Tab, token: str) -> None:
    dialog = tab.page.get_by_role("dialog", name="Token required")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button").click()


def test_the_token_is_asked_for_once_and_kept_in_the_tab(
    private_site: Site, open_tab: OpenTab
) -> None:
    job_id = private_site.client.enqueue("echo", 1)
    tab = open_tab(private_site)
    tab.expected_statuses.add(401)
    page = tab.open("jobs")

    _enter(tab, "not the right token")
    expect(page.get_by_role("alert").filter(has_text="not valid")).to_be_visible()
    _enter(tab, TOKEN)
    expect(page.get_by_role("link", name=job_id)).to_be_visible()

    tab.expected_statuses.clear()
    page.reload()
    expect(page.get_by_role("link", name=job_id)).to_be_visible()
    assert page.evaluate("Object.values(localStorage)") == []
    assert page.context.cookies() == []
    assert TOKEN not in page.url

    # Another tab is another session.
    other = Tab(page.context.new_page(), private_site.api.url, expected_statuses={401})
    other.open("jobs")
    expect(other.page.get_by_role("dialog", name="Token required")).to_be_visible()


def test_a_read_only_token_shows_all_and_says_that_it_changes_nothing(
    private_site: Site, open_tab: OpenTab
) -> None:
    job_id = private_site.client.enqueue("echo", 1, delay="1h")
    tab = open_tab(private_site)
    tab.expected_statuses |= {401, 403}
    page = tab.open(f"job/{job_id}")
    _enter(tab, READ_TOKEN)

    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()

    expect(page.locator("#messages")).to_contain_text("API_READ_TOKEN does not allow DELETE")
    assert private_site.client.get(job_id).status == "scheduled"
    page.get_by_role("link", name="Enqueue a copy").click()
    page.get_by_role("button", name="Enqueue", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="does not allow POST")).to_be_visible()

    page.go_back()
    page.get_by_role("button", name="Forget token").click()
    _enter(tab, TOKEN)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()


def test_a_read_only_token_runs_no_schedule_and_says_how_to_change_it(
    private_site: Site, open_tab: OpenTab
) -> None:
    run_nightly(private_site)
    tab = open_tab(private_site)
    tab.expected_statuses |= {401, 403}
    page = tab.open("schedules")
    _enter(tab, READ_TOKEN)

    page.get_by_role("button", name="Run now: nightly").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now", exact=True).click()

    expect(page.locator("#messages")).to_contain_text("does not allow POST")
    expect(page.locator("#messages")).to_contain_text("To enter another token, forget this one")


def test_the_copied_request_has_no_token_in_it(private_site: Site, open_tab: OpenTab) -> None:
    job_id = private_site.client.enqueue("echo", 1)
    tab = open_tab(private_site)
    tab.expected_statuses.add(401)
    page = tab.open(f"job/{job_id}")
    _enter(tab, TOKEN)

    request = page.get_by_role("group", name="Request")

    expect(request).to_contain_text('-H "Authorization: Bearer $API_TOKEN"')
    assert TOKEN not in page.content()
