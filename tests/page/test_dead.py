"""Dead jobs: finding them, and changing many at once."""

from __future__ import annotations

import json

import pytest
import redis
from playwright.sync_api import Page, expect

from bananas_topology.jobs.keys import Keys
from tests.page.browser import Tab
from tests.page.site import Site


def _bury(client: redis.Redis, keys: Keys, number: int, *, first: int = 0) -> None:
    """Make dead jobs: each tenth of type `refund`, the others `charge`."""
    with client.pipeline(transaction=False) as pipeline:
        for each in range(first, first + number):
            job_id = f"dead-{each}"
            name = "charge" if each % 10 else "refund"
            body = {"id": job_id, "name": name, "priority": "normal", "status": "failed"}
            failure = {"type": "ValueError", "message": f"no {each}", "at": "2026-01-01T00:00:00Z"}
            pipeline.set(keys.job(job_id), json.dumps(body))
            pipeline.set(keys.failure(job_id), json.dumps(failure))
            pipeline.lpush(keys.dead, job_id)
            if each % 1000 == 999:
                pipeline.execute()
        pipeline.execute()


@pytest.fixture
def twenty(client: redis.Redis, keys: Keys) -> None:
    _bury(client, keys, 20)


def _rows(page: Page) -> int:
    return page.locator("tbody tr").count()


@pytest.mark.usefixtures("twenty")
def test_dead_jobs_are_found_by_type_and_error(tab: Tab) -> None:
    page = tab.open("dead")
    expect(page.get_by_role("heading", name="20 dead jobs")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(20)

    page.get_by_label("Type").fill("refund")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Text in the error").fill("NO 10")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)

    # The address has the search, so that it can be passed on.
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_label("Type")).to_have_value("refund")


@pytest.mark.usefixtures("twenty")
def test_an_age_that_is_not_valid_is_said_and_kept(tab: Tab) -> None:
    tab.expected_statuses.add(422)
    page = tab.open("dead")

    page.get_by_label("Dead for more than").fill("yesterday")
    page.keyboard.press("Enter")

    expect(page.get_by_role("alert").filter(has_text="older_than: ")).to_be_visible()
    expect(page.get_by_label("Dead for more than")).to_have_value("yesterday")


@pytest.mark.usefixtures("twenty")
def test_all_that_match_are_retried_after_a_preview_of_how_many(site: Site, tab: Tab) -> None:
    page = tab.open("dead?type=refund")

    page.get_by_role("button", name="Retry all matching").click()
    question = page.get_by_role("dialog", name="Retry 2 dead jobs?")
    expect(question).to_contain_text("2 dead jobs of type refund")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_have_count(0)
    assert site.client.get("dead-0").status == "failed"

    page.get_by_role("button", name="Retry all matching").click()
    page.get_by_role("button", name="Retry 2 dead jobs").click()

    expect(page.locator("#messages")).to_contain_text("2 jobs enqueued again.")
    expect(page.get_by_text("No dead job matches.")).to_be_visible()
    expect(page.get_by_role("heading", name="18 dead jobs")).to_be_visible()
    assert site.client.get("dead-0").status == "pending"


@pytest.mark.usefixtures("twenty")
def test_selected_jobs_are_deleted(tab: Tab, client: redis.Redis, keys: Keys) -> None:
    page = tab.open("dead")

    for number in (3, 5, 6):
        page.get_by_role("checkbox", name=f"Select dead-{number}", exact=True).check()
    page.get_by_role("checkbox", name="Select dead-6").uncheck()
    page.get_by_role("button", name="Delete 2 selected").click()
    page.get_by_role("button", name="Delete 2 dead jobs").click()

    expect(page.locator("#messages")).to_contain_text("2 jobs deleted.")
    expect(page.get_by_role("heading", name="18 dead jobs")).to_be_visible()
    assert client.exists(keys.job("dead-3"), keys.job("dead-5")) == 0
    assert client.exists(keys.job("dead-6")) == 1


def test_jobs_that_cannot_be_retried_are_named(tab: Tab, client: redis.Redis, keys: Keys) -> None:
    _bury(client, keys, 3)
    client.set(keys.job("broken"), "{")
    client.lpush(keys.dead, "broken")
    page = tab.open("dead")
    expect(page.get_by_text("cannot be retried")).to_be_visible()

    page.get_by_role("button", name="Retry all").click()
    page.get_by_role("button", name="Retry 3 dead jobs").click()

    left = page.get_by_role("dialog", name="1 job could not be retried")
    expect(left).to_contain_text("broken")
    left.get_by_role("button", name="Close").click()
    expect(page.get_by_role("heading", name="1 dead job in all")).to_be_visible()


def test_a_hundred_thousand_dead_jobs_stay_quick(tab: Tab, client: redis.Redis, keys: Keys) -> None:
    _bury(client, keys, 100_000)
    page = tab.open("dead")
    expect(page.get_by_role("heading", name="100,000 dead jobs")).to_be_visible()

    for number in range(2, 5):
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="dead-99849", exact=True)).to_be_visible()
    assert _rows(page) == 50
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_role("link", name="dead-99899", exact=True)).to_be_visible()

    # The only match is the oldest: the search goes on when asked to, and finds it.
    page.get_by_label("Text in the error").fill("no 0")
    page.keyboard.press("Enter")
    for _ in range(20):
        expect(page.locator(".panel[aria-busy=false]")).to_be_visible()
        if _rows(page):
            break
        page.get_by_role("button", name="Continue searching").click()
    expect(page.get_by_role("link", name="dead-0", exact=True)).to_be_visible()


def test_jobs_that_die_meanwhile_do_not_move_the_page_that_is_read(
    tab: Tab, client: redis.Redis, keys: Keys
) -> None:
    _bury(client, keys, 120)
    page = tab.open("dead")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("link", name="dead-69", exact=True)).to_be_visible()
    page.get_by_role("checkbox", name="Select dead-69", exact=True).check()

    _bury(client, keys, 30, first=120)
    page.get_by_role("heading", level=1).click()
    with page.expect_response("**/dead?*"):
        page.keyboard.press("r")

    expect(page.get_by_role("heading", name="150 dead jobs")).to_be_visible()
    expect(page.get_by_role("link", name="dead-69", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox", name="Select dead-69", exact=True)).to_be_checked()
