"""One job: why it died, what it was given, and what an operator does about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import redis
from playwright.sync_api import Page, expect

from bananas_topology.jobs.keys import Keys
from tests.page.browser import Tab
from tests.page.conftest import OpenTab
from tests.page.site import Site
from tests.page.test_modules import HOSTILE


def _status(site: Site, job_id: str) -> str:
    return site.client.get(job_id).status


def _follow_the_copy(page: Page) -> None:
    page.get_by_role("main").get_by_text("Enqueued").get_by_role("link").click()


def test_an_operator_finds_why_a_job_died_and_enqueues_it_corrected(site: Site, tab: Tab) -> None:
    site.worker()
    job_id = site.client.enqueue("send_email", {"to": "ada at example.com"})
    site.wait_for_status(job_id, "failed")
    page = tab.open("dead")

    page.get_by_role("link", name=job_id).click()
    expect(page.get_by_role("group", name="Error")).to_have_text(
        "ValueError: ada at example.com is not an address"
    )
    expect(page.get_by_role("group", name="Traceback")).to_contain_text("in send_email")
    run = page.get_by_role("table", name="Runs").get_by_role("row", name="dead")
    expect(run).to_contain_text("w0")

    page.get_by_role("link", name="Enqueue a copy").click()
    expect(page.get_by_label("to", exact=True)).to_have_value("ada at example.com")
    page.get_by_label("to", exact=True).fill("ada@example.com")
    page.get_by_role("button", name="Enqueue", exact=True).click()
    _follow_the_copy(page)

    expect(page.get_by_role("group", name="Result")).to_have_text('"sent to ada@example.com"')
    assert job_id not in page.url
    assert _status(site, job_id) == "failed"


def test_an_operator_retries_a_dead_job_when_the_handler_works_again(site: Site, tab: Tab) -> None:
    broken = site.worker(PAGE_JOBS_BROKEN="1")
    job_id = site.client.enqueue("fragile", 1)
    site.wait_for_status(job_id, "failed")
    page = tab.open(f"job/{job_id}")
    expect(page.get_by_role("group", name="Error")).to_contain_text("RuntimeError: broken")
    broken.end()
    site.worker()

    page.get_by_role("button", name="Retry").click()

    expect(page.locator("#messages")).to_contain_text("The job is enqueued again.")
    expect(page.get_by_role("group", name="Result")).to_have_text("1")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_a_waiting_job_is_cancelled_only_after_a_question(site: Site, tab: Tab) -> None:
    job_id = site.client.enqueue("echo", delay="1h")
    page = tab.open(f"job/{job_id}")

    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert _status(site, job_id) == "scheduled"

    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()

    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
    expect(page.get_by_text("No job matches.")).to_be_visible()


def test_a_job_that_does_not_exist_is_said_so(site: Site, tab: Tab) -> None:
    tab.expected_statuses.add(404)

    page = tab.open("job/none")

    expect(page.get_by_role("alert").filter(has_text='no job has the id "none"')).to_be_visible()


def test_a_job_changes_on_the_page_as_it_is_run(site: Site, tab: Tab) -> None:
    job_id = site.client.enqueue("echo", "done")
    page = tab.open(f"job/{job_id}")
    expect(page.locator(".badge")).to_have_text("ready")

    site.worker()

    expect(page.locator(".badge").first).to_have_text("completed")
    expect(page.get_by_role("group", name="Result")).to_have_text('"done"')


def test_hostile_payloads_and_errors_are_text(site: Site, tab: Tab) -> None:
    site.worker()
    job_id = site.client.enqueue("fail_with", HOSTILE, id="</code><b>\u202eevil")
    site.wait_for_status(job_id, "failed")

    page = tab.open("dead")
    page.get_by_role("link", name="</code><b>\\u202eevil").click()

    payload = page.get_by_role("group", name="Payload")
    expect(payload).to_contain_text("<script>window.pwned = 1</script>")
    assert json.loads(payload.inner_text()) == HOSTILE
    expect(page.get_by_role("group", name="Error")).to_contain_text("\\u001b[31mred")
    assert page.evaluate("window.pwned") is None
    shown = page.locator("main").inner_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


def test_a_job_of_another_producer_is_shown_whatever_its_fields_are(
    tab: Tab, client: redis.Redis, keys: Keys
) -> None:
    body = {
        "id": "odd",
        "name": 5,
        "priority": {},
        "attempts": "x",
        "max_retries": [],
        "payload": 1,
    }
    client.set(keys.job("odd"), json.dumps(body | {"created_at": "yesterday", "error": {"a": 1}}))
    client.lpush(keys.queue("normal"), "odd")
    page = tab.open("jobs")

    page.get_by_role("link", name="odd").click()

    expect(page.get_by_role("group", name="Payload")).to_have_text("1")


def test_a_copied_command_enqueues_the_same_payload(site: Site, open_tab: OpenTab) -> None:
    job_id = site.client.enqueue("echo", HOSTILE, priority="high", max_retries=7)
    tab = open_tab(site, permissions=["clipboard-read", "clipboard-write"])
    page = tab.open(f"job/{job_id}")

    page.get_by_role("button", name="Copy Command").click()
    expect(page.locator("#messages")).to_contain_text("Command copied.")
    command = page.evaluate("navigator.clipboard.readText()")

    done = subprocess.run(
        ["sh", "-c", command.replace("bananas", f"{sys.executable} -m bananas_topology", 1)],
        env={
            "PATH": os.environ["PATH"],
            "REDIS_URL": site.start.url,
            "REDIS_KEY_PREFIX": site.start.prefix,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    copy = site.client.get(done.stdout.strip()).body
    assert copy is not None
    assert copy["id"] != job_id
    assert (copy["payload"], copy["priority"], copy["max_retries"]) == (HOSTILE, "high", 7)


def test_a_payload_of_megabytes_is_cut_and_can_be_saved(site: Site, tab: Tab) -> None:
    text = "🍌\u202e<b>\n" * 600_000
    job_id = site.client.enqueue("echo", {"text": text})
    page = tab.open(f"job/{job_id}")
    payload = page.get_by_role("group", name="Payload")

    expect(payload).to_contain_text("🍌\\u202e<b>\\n🍌")
    assert len(payload.inner_text()) < 20_000
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("button", name="Show less")).to_be_visible()
    assert 100_000 < len(payload.inner_text()) < 140_000
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Save as a file").click()

    assert downloading.value.suggested_filename == "payload.json"
    assert json.loads(downloading.value.path().read_text("utf-8")) == {"text": text}


def test_a_large_payload_is_enqueued_again_unchanged(site: Site, tab: Tab) -> None:
    site.worker()
    payload = {"number": 12345678901234567890, "text": "🍌" * 2**20}
    first = site.client.enqueue("digest", payload)
    page = tab.open(f"job/{first}")

    page.get_by_role("link", name="Enqueue a copy").click()
    expect(page.get_by_text("sent unchanged")).to_be_visible()
    page.get_by_role("button", name="Enqueue", exact=True).click()
    _follow_the_copy(page)

    expect(page).not_to_have_url(re.compile(first))
    digest = site.client.wait(first, timeout="20s")
    expect(page.get_by_role("group", name="Result")).to_have_text(json.dumps(digest))
