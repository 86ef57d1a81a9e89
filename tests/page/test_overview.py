"""The overview: what a person on call looks at."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from bananas_topology.client import NewJob
from tests.page.browser import PHONE, Tab
from tests.page.conftest import MakeSite, OpenTab
from tests.page.site import Site


def _figure(page: Page, name: str) -> Locator:
    return page.locator(".figure", has=page.get_by_text(name, exact=True)).locator("dd")


def test_a_growing_queue_and_the_pool_that_is_short_are_seen(
    make_site: MakeSite, open_tab: OpenTab
) -> None:
    site = make_site(API_POOLS="mail=2,video=1-3")
    site.worker(
        WORKER_POOL="mail",
        WORKER_CONCURRENCY="4",
        WORKER_MODE="job-specialized",
        WORKER_JOB_TYPES="send_email",
    )
    site.client.enqueue_many([NewJob("render_video", 600) for _ in range(30)])
    tab = open_tab(site)
    page = tab.open()

    queues = page.get_by_role("table", name="Ready jobs by priority and job type")
    video = queues.get_by_role("row", name="render_video")
    expect(video).to_contain_text("no worker has a handler")
    expect(video).to_contain_text("30")
    expect(video.get_by_role("time")).to_have_text(re.compile("s$"))
    pools = page.get_by_role("table", name="Pools, with their workers and utilization")
    expect(pools.get_by_role("row", name="mail")).to_contain_text("1 of 2")
    expect(pools.get_by_role("row", name="mail")).to_contain_text("1 missing")
    expect(pools.get_by_role("row", name="video")).to_contain_text("0 of 1\u20133")
    expect(pools.get_by_role("row", name="video")).to_contain_text("1 missing")

    site.client.enqueue_many([NewJob("render_video", 600) for _ in range(20)])
    expect(video).to_contain_text("50")
    site.worker(WORKER_POOL="video", WORKER_CONCURRENCY="10", WORKER_ID="video-0")

    expect(page.get_by_role("meter", name="Utilization of video")).to_have_attribute(
        "aria-valuenow", "100"
    )
    expect(pools.get_by_role("row", name="video")).to_contain_text("1 of 1\u20133")
    expect(pools.get_by_role("row", name="video")).not_to_contain_text("missing")
    expect(queues.get_by_role("row", name="render_video")).not_to_contain_text("no worker")
    expect(_figure(page, "Running")).to_contain_text("10")


def test_dead_jobs_are_a_figure_that_leads_to_them(site: Site, tab: Tab) -> None:
    site.worker()
    for number in range(3):
        site.client.enqueue("send_email", {"to": f"nobody{number}"})
    page = tab.open()
    expect(_figure(page, "Dead")).to_contain_text("3")

    page.get_by_role("main").get_by_role("link", name="Dead").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Dead jobs")


def test_a_name_that_turns_text_around_turns_none_of_the_overview_around(
    site: Site, tab: Tab
) -> None:
    site.worker()
    site.client.enqueue("\u202egnp")

    page = tab.open()

    alerts = page.get_by_role("main").get_by_role("list").filter(has_text="no handler")
    expect(alerts).to_contain_text(r"no handler: normal: \u202egnp (1)")
    expect(page.get_by_role("main")).not_to_contain_text("\u202e")


def test_short_times_are_told_apart(tab: Tab) -> None:
    shown = tab.open().evaluate(
        """async () => {
            const { duration } = await import("/page/format.js");
            return [0, 0.025, 0.075, 0.1, 2.04, 9.96, 12.6].map(duration);
        }"""
    )

    assert shown == ["0 ms", "0.025 ms", "0.075 ms", "0.1 ms", "2 ms", "10 ms", "13 ms"]


def test_history_is_drawn_read_by_keys_and_listed(site: Site, tab: Tab) -> None:
    site.worker(WORKER_POOL="all")
    ids = site.client.enqueue_many([NewJob("echo", number) for number in range(40)])
    ids += site.client.enqueue_many([NewJob("fail_with", {"a": "b"}) for _ in range(10)])
    page = tab.open()
    sums = page.get_by_role("table", name="History by job types")
    expect(sums.get_by_role("row", name="echo")).to_contain_text("40")
    expect(sums.get_by_role("row", name="fail_with")).to_contain_text("100 %")

    page.get_by_role("button", name="Pools", exact=True).click()
    expect(page.get_by_role("table", name="History by pools")).to_contain_text("all")
    page.get_by_role("button", name="Job types", exact=True).click()
    sums.get_by_role("button", name="fail_with").click()
    expect(page.get_by_label("Job type", exact=True)).to_have_value("fail_with")
    page.reload()
    expect(page.get_by_label("Job type", exact=True)).to_have_value("fail_with")
    page.get_by_label("Job type", exact=True).select_option("")

    plot = page.get_by_role("slider", name="Completed, by time")
    plot.focus()
    last = plot.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowLeft")
    expect(plot).not_to_have_attribute("aria-valuetext", last or "")
    expect(plot).to_be_focused()
    page.keyboard.press("Home")
    expect(plot).to_have_attribute("aria-valuenow", "0")
    page.get_by_role("button", name="Last day").click()
    expect(page).to_have_url(f"{site.api.url}/#/?period=day")
    page.get_by_role("button", name="Table").click()
    expect(page.get_by_role("table", name="History by time")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, {"width": 1440, "height": 900}])
def test_the_overview_is_accessible_and_fits(
    make_site: MakeSite, open_tab: OpenTab, scheme: str, size: dict[str, int]
) -> None:
    site = make_site(API_POOLS="mail=2")
    site.worker(WORKER_POOL="mail", WORKER_MODE="job-specialized", WORKER_JOB_TYPES="send_email")
    site.client.enqueue("send_email", {"to": "nobody"})
    site.client.enqueue("echo", 1)
    tab = open_tab(site, color_scheme=scheme, viewport=size)
    page = tab.open()
    expect(page.get_by_text("no worker has a handler")).to_be_visible()
    expect(page.get_by_role("table", name="History by job types")).to_be_visible()

    tab.assert_accessible("overview")
    tab.assert_fits("overview")
