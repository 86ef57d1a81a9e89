"""The workers: what each runs, and that hundreds of them stay quick."""

from __future__ import annotations

import re

import redis
from playwright.sync_api import expect

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.keys import Keys
from tests.page.browser import Tab
from tests.page.site import Site


def test_a_worker_shows_its_pool_load_and_host(site: Site, tab: Tab) -> None:
    worker = site.worker(
        WORKER_POOL="video", WORKER_ID="video-0", WORKER_CONCURRENCY="4", WORKER_GRACE="1s"
    )
    job_id = site.client.enqueue("render_video", 600)
    page = tab.open("workers")

    row = page.get_by_role("row", name="video-0")

    expect(row).to_contain_text("video")
    expect(row).to_contain_text("1 of 4")
    expect(row).to_contain_text("MiB")
    expect(row.get_by_role("meter")).to_have_attribute("aria-valuetext", re.compile("of 2 min"))
    expect(row.get_by_role("link", name=job_id)).to_be_visible()
    expect(row).to_contain_text(f"pid {worker.process.pid}")
    worker.end()
    expect(page.get_by_text("No worker is running")).to_be_visible()


def test_two_hundred_workers_stay_quick(tab: Tab, client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    for number in range(200):
        fields = {"pool": "high" if number % 2 else "low", "host": "h", "concurrency": "10"}
        worker = Consumer(f"w-{number:03}", 600_000, PRIORITIES, ("add",))
        broker.heartbeat(worker, "first", fields, boot=True)
    page = tab.open("workers")
    expect(page.get_by_role("heading", name="200 workers")).to_be_visible()
    assert page.locator("tbody tr").count() == 50

    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2 of 4")).to_be_visible()
    expect(page.get_by_role("row", name="w-050")).to_be_visible()
    page.get_by_label("Pool").select_option("high")
    expect(page.get_by_role("heading", name="100 workers")).to_be_visible()
    page.get_by_label("Id or host").fill("w-199")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
