"""Redis and the API go away and come back while the page is open."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from bananas_topology.jobs.connection import connect
from tests.jobs.servers import free_port, running, wait_until
from tests.page.conftest import MakeSite, OpenTab

#: Options of a server that has everything again after a restart.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.mark.parametrize(("route", "kept"), [("", "oldest waits"), ("jobs", "the only job")])
def test_the_page_says_that_redis_is_gone_and_recovers_by_itself(
    make_site: MakeSite, open_tab: OpenTab, tmp_path: Path, route: str, kept: str
) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    with running(tmp_path / "redis", *DURABLE, port=port), connect(url) as client:
        wait_until(client.ping)
        site = make_site(url)
        site.client.enqueue("echo", id="the only job")
        tab = open_tab(site)
        tab.expected_statuses.add(503)
        page = tab.open(route)
        expect(page.locator("main")).to_contain_text(kept)

    banner = page.get_by_role("alert").filter(has_text="may be out of date")
    expect(banner).to_contain_text("Redis")
    expect(page.locator("main")).to_contain_text(kept)

    with running(tmp_path / "redis", *DURABLE, port=port), connect(url) as client:
        # Some responses are reused for seconds: for a moment, the banner may be gone before.
        wait_until(client.ping)
        expect(banner).to_have_count(0)
        job_id = site.client.enqueue("echo", 2)
        page.goto(f"{site.api.url}/#/jobs")
        expect(page.get_by_role("link", name=job_id)).to_be_visible()


def test_an_action_while_redis_is_gone_says_so_and_can_be_repeated(
    make_site: MakeSite, open_tab: OpenTab, tmp_path: Path
) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    with running(tmp_path / "redis", *DURABLE, port=port), connect(url) as client:
        wait_until(client.ping)
        site = make_site(url)
        job_id = site.client.enqueue("echo", 1, delay="1h")
        tab = open_tab(site)
        tab.expected_statuses.add(503)
        page = tab.open(f"job/{job_id}")
        cancel = page.get_by_role("button", name="Cancel", exact=True)
        expect(cancel).to_be_visible()

    cancel.click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#messages").locator(".failed")).to_be_visible()

    with running(tmp_path / "redis", *DURABLE, port=port), connect(url) as client:
        wait_until(client.ping)
        cancel.click()
        page.get_by_role("button", name="Cancel the job").click()
        expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
