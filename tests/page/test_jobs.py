"""Lists of jobs: search, filters, and what runs at this moment."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Route, expect

from bananas_topology.client import NewJob
from tests.page.browser import Tab
from tests.page.site import Site


def test_jobs_are_found_by_state_type_and_text(site: Site, tab: Tab) -> None:
    for number in range(5):
        site.client.enqueue("send_email", {"to": f"user{number}@example.com"})
        site.client.enqueue("echo", number, delay="1h")
    page = tab.open("jobs")
    expect(page.locator("tbody tr")).to_have_count(10)

    page.get_by_role("button", name="Scheduled").click()
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_label("Type").fill("send_email")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_label("Text in id, payload or error").fill("USER3@")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)

    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_pages_of_jobs_follow_one_another(site: Site, tab: Tab) -> None:
    ids = site.client.enqueue_many([NewJob("echo", number) for number in range(120)])
    page = tab.open("jobs?state=pending")
    seen: list[str] = []

    for number, rows in ((1, 50), (2, 50), (3, 20)):
        if number > 1:
            page.get_by_role("button", name="Next").click()
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        expect(page.locator("tbody tr")).to_have_count(rows)
        seen += page.locator("tbody th a").all_inner_texts()

    assert sorted(seen) == sorted(ids)
    expect(page.get_by_role("button", name="Next")).to_have_attribute("aria-disabled", "true")


def test_running_jobs_show_where_and_for_how_long(site: Site, tab: Tab) -> None:
    site.worker(WORKER_POOL="video", WORKER_ID="video-0")
    site.worker(WORKER_POOL="mail", WORKER_ID="mail-0", WORKER_PRIORITIES="low")
    page = tab.open("jobs")
    page.get_by_role("button", name="Running").click()
    expect(page.get_by_text("No job matches.")).to_be_visible()

    job_id = site.client.enqueue("render_video", 600)

    row = page.get_by_role("row", name=job_id)
    expect(row).to_contain_text("video-0")
    ran = row.locator("td").nth(1)
    expect(ran).to_contain_text(" s of 2 min")
    before = ran.inner_text()
    expect(ran).not_to_have_text(before)

    page.get_by_label("Running in pool").select_option("mail")
    expect(page.get_by_text("No job matches.")).to_be_visible()
    page.get_by_label("Running in pool").select_option("video")
    expect(row).to_be_visible()


def test_jobs_are_listed_as_they_finish(site: Site, tab: Tab) -> None:
    site.worker()
    page = tab.open("jobs?state=finished")
    rows = page.get_by_role("table", name="Jobs that finished")
    # Workers learn with a heartbeat that somebody watches: the first jobs may not be sent.
    for _ in range(100):
        site.client.enqueue("send_email", {"to": "nobody"})
        with suppress(AssertionError):
            expect(rows).to_be_visible(timeout=200)
            break

    expect(rows.locator("tbody tr").first).to_contain_text("nobody is not an address")
    expect(rows.locator("tbody tr").first).to_contain_text("dead")
    page.get_by_label("Type").fill("echo")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No job has finished")).to_be_visible()


def test_a_list_is_current_without_being_asked_and_keeps_the_focus(site: Site, tab: Tab) -> None:
    first = site.client.enqueue("echo", 1)
    page = tab.open("jobs?state=pending")
    link = page.get_by_role("link", name=first)
    link.focus()
    page.get_by_label("Type").evaluate("field => { field.value = 'typed'; }")

    second = site.client.enqueue("echo", 2)

    expect(page.get_by_role("link", name=second)).to_be_visible()
    expect(link).to_be_focused()
    expect(page.get_by_label("Type")).to_have_value("typed")


def test_a_list_that_was_slow_once_becomes_current_again(site: Site, tab: Tab) -> None:
    tab.page.clock.install()

    def answer_slowly(route: Route) -> None:
        tab.page.clock.fast_forward(1_000)
        route.continue_()

    tab.page.route("**/jobs?*", answer_slowly, times=1)
    page = tab.open("jobs?state=pending")
    expect(page.get_by_text("No job matches.")).to_be_visible()

    job_id = site.client.enqueue("echo", 1)
    page.clock.fast_forward(18_000)

    expect(page.get_by_role("link", name=job_id)).to_be_visible()


def test_the_back_button_returns_to_the_search(site: Site, tab: Tab) -> None:
    job_id = site.client.enqueue("echo", "needle")
    site.client.enqueue("echo", "hay")
    page = tab.open("jobs")
    page.keyboard.press("/")
    page.keyboard.type("needle\n")
    expect(page.locator("tbody tr")).to_have_count(1)

    page.get_by_role("link", name=job_id).click()
    expect(page.get_by_role("group", name="Payload")).to_have_text('"needle"')
    page.go_back()

    expect(page.get_by_label("Text in id, payload or error")).to_have_value("needle")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_long_jobs_are_listed_without_their_payload(site: Site, tab: Tab) -> None:
    site.worker()
    for _ in range(10):
        site.client.enqueue("fail_with", {"text": "🍌" * 500_000})
    page = tab.open("jobs?state=failed")

    expect(page.locator("tbody tr")).to_have_count(10)
    assert len(page.locator("tbody").inner_text()) < 10_000
