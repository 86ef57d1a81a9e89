"""The README's picture: the page of a deployment that really runs, after some time under load.

Run by `make picture`; needs Chromium. No test compares it: what it shows differs from run to run.
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect

from bananas_topology.client import Client, NewJob
from bananas_topology.system.clock import monotonic, sleep
from tests.jobs.servers import free_port
from tests.page.browser import Tab, launched, new_context

TOPOLOGY = """\
version: 1
name: shop
handlers: [shop]
pools:
  mail: {{mode: specialized, priorities: [high], concurrency: 4, replicas: 2}}
  images: {{mode: specialized, priorities: [normal], concurrency: 4, replicas: 2}}
  reports: {{mode: specialized, priorities: [low], concurrency: 2, replicas: 1}}
scheduler: {{interval: 1s}}
schedules:
  nightly-report:
    {{cron: "0 2 * * *", job: generate_report, payload: {{kind: sales}}, priority: low}}
api: {{port: {port}}}
"""

HANDLERS = """\
import random
import time

from bananas_topology import job


@job("send_email", timeout="30s", max_retries=3)
def send_email(payload: dict[str, str]) -> str:
    time.sleep(random.lognormvariate(-2.2, 0.5))
    if random.random() < 0.015:
        raise ConnectionError("smtp.internal: 421 too many connections")
    return "sent"


@job("charge_card", timeout="20s", max_retries=0)
def charge_card(payload: dict[str, int]) -> str:
    time.sleep(random.lognormvariate(-1.6, 0.4))
    if payload["amount"] > 990:
        raise ValueError(f"card declined: insufficient funds for {payload['amount']} EUR")
    return "charged"


@job("resize_image", timeout="2m")
def resize_image(payload: dict[str, str]) -> str:
    time.sleep(random.lognormvariate(0.1, 0.5))
    return "resized"


@job("generate_report", timeout="5m", max_retries=1)
def generate_report(payload: dict[str, str]) -> str:
    time.sleep(random.uniform(20, 90))
    return "reports/sales.pdf"
"""


def main() -> None:
    """Run a deployment under load, and take a picture of its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as (address, url):
        with Client(url) as client:
            _enqueue(client, options.minutes * 60)
        _take(address, options.picture)


@contextmanager
def _running(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the deployment; yields the addresses of its page and of its server."""
    port = free_port()
    (folder / "topology.yaml").write_text(TOPOLOGY.format(port=port), "utf-8")
    (folder / "shop.py").write_text(HANDLERS, "utf-8")

    def bananas(*arguments: str) -> str:
        command = [sys.executable, "-m", "bananas_topology", *arguments]
        return subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True
        ).stdout

    bananas("up", "-d")
    try:
        yield f"http://127.0.0.1:{port}", bananas("redis-url").strip()
    finally:
        bananas("down")


def _enqueue(client: Client, duration_s: float) -> None:
    """Enqueue jobs at a rate that rises and falls, with a burst of images near the end."""
    started_at = monotonic()
    while (elapsed := monotonic() - started_at) < duration_s:
        rate = 1 + 0.5 * math.sin(elapsed / 150) + random.uniform(-0.2, 0.2)
        is_burst = duration_s - 100 < elapsed < duration_s - 40
        client.enqueue_many(_second_of_jobs(rate, is_burst))
        sleep(1)


def _second_of_jobs(rate: float, is_burst: bool) -> Iterator[NewJob]:
    for _ in range(round(14 * rate)):
        user = f"user{random.randrange(10_000)}@example.com"
        yield NewJob("send_email", {"to": user, "template": "welcome"}, "high")
    for _ in range(round(6 * rate)):
        yield NewJob("charge_card", {"amount": random.randrange(1000)}, "high")
    for _ in range(round(4 * rate * (3 if is_burst else 1))):
        yield NewJob("resize_image", {"key": f"{random.randrange(10_000)}.png"}, "normal")
    if random.random() < 0.03 * rate:
        yield NewJob("generate_report", {"kind": "sales"}, "low")


def _take(address: str, picture: Path) -> None:
    size = {"width": 1280, "height": 1168}
    with (
        launched() as browser,
        new_context(
            browser, viewport=size, device_scale_factor=1.5, color_scheme="light"
        ) as context,
    ):
        tab = Tab(context.new_page(), address)
        page = tab.open()
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        expect(page.locator("figure svg").first).to_be_visible()
        page.screenshot(path=picture)
        tab.assert_clean()


if __name__ == "__main__":
    main()
