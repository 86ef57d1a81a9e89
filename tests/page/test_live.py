"""What happens reaches the page as it happens, and it goes on without that."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.page.browser import Tab
from tests.page.site import Site
from tests.waiting import wait_for


def _expect_state(page: Page, state: str) -> None:
    expect(page.locator("#connection")).to_contain_text(state)


def _wait_for_event(page: Page, name: str) -> None:
    page.evaluate(
        """async (name) => {
          const { events } = await import("/page/live.js");
          await new Promise((resolve) => events.addEventListener(name, resolve, { once: true }));
        }""",
        name,
    )


def test_jobs_arrive_as_they_finish(site: Site, tab: Tab) -> None:
    site.worker()
    page = tab.open()
    _expect_state(page, "Live")
    page.evaluate(
        """async () => {
          const { events } = await import("/page/live.js");
          events.addEventListener("job", ({ detail }) => { window.job = detail; });
        }"""
    )

    def job_arrives() -> bool:
        # Workers learn with a heartbeat that somebody follows: earlier jobs are not sent.
        site.client.enqueue("echo", 1)
        return bool(page.evaluate("() => 'job' in window"))

    wait_for(job_arrives)
    job = page.evaluate("job")
    assert (job["name"], job["outcome"]) == ("echo", "completed")


def test_after_sleep_the_page_connects_and_reads_again(site: Site, tab: Tab) -> None:
    tab.page.clock.install()
    page = tab.open()
    # "Live" is shown from the headers on, which the id of the last event follows.
    _wait_for_event(page, "counters")

    with (
        page.expect_request("**/events") as again,
        page.expect_request("**/queues"),
        page.expect_request("**/alerts"),
    ):
        page.clock.fast_forward("08:00:00")

    assert again.value.headers["last-event-id"]
    _expect_state(page, "Live")


def test_the_page_follows_again_when_the_api_is_back(site: Site, tab: Tab) -> None:
    tab.may_fail = True
    page = tab.open()
    _expect_state(page, "Live")

    site.api.close()
    _expect_state(page, "Not current")
    expect(page.get_by_role("alert").filter(has_text="The API is not reachable")).to_be_visible()
    site.api.restart()

    _expect_state(page, "Live")


def test_without_events_the_page_reads_every_few_seconds(site: Site, tab: Tab) -> None:
    tab.expected_statuses.add(503)
    problem = {"status": 503, "detail": "200 clients follow events already"}
    tab.page.route("**/events", lambda route: route.fulfill(status=503, json=problem))
    page = tab.open()
    _expect_state(page, "Every few seconds")

    site.client.enqueue("echo", 1)

    expect(page.get_by_role("row", name="normal")).to_contain_text("1")
    _expect_state(page, "Every few seconds")
