"""The form that enqueues a job."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.browser import PHONE, Tab
from tests.page.conftest import OpenTab
from tests.page.site import Site


def _submit(page: Page) -> None:
    page.get_by_role("button", name="Enqueue", exact=True).click()


def _enqueued_id(page: Page) -> str:
    """The id of the job that was enqueued."""
    link = page.get_by_role("main").get_by_text("Enqueued").get_by_role("link")
    return link.inner_text()


def test_a_job_is_enqueued_by_the_fields_of_its_payload(site: Site, tab: Tab) -> None:
    site.worker(WORKER_POOL="shipping")
    page = tab.open("enqueue")
    page.get_by_label("Job type").fill("ship_order")
    expect(page.get_by_text("runs in shipping")).to_be_visible()

    page.get_by_label("number").fill("7")
    page.get_by_label("city").fill("Zürich 🍌")
    page.get_by_label("zip").fill("12345")
    page.get_by_label("note").fill("</script>")
    page.get_by_label("express").uncheck()
    for item in ("socks", "shoes", "hat"):
        page.get_by_role("button", name="Add an item to items").click()
        page.get_by_role("group", name="items").get_by_role("textbox").last.fill(item)
    page.get_by_role("button", name="Remove items[0]").click()
    page.get_by_label("carrier").select_option("post")
    page.get_by_label("labels").fill('{"red": 1}')
    page.get_by_label("Priority").select_option("high")
    _submit(page)

    done = site.client.wait(_enqueued_id(page), timeout="30s")
    assert done == (
        "Order(number=7, address=Address(city='Zürich 🍌', zip='12345'), note='</script>', "
        "express=False, items=['shoes', 'hat'], carrier='post', labels={'red': 1})"
    )


def test_a_payload_that_does_not_fit_is_not_enqueued(site: Site, tab: Tab) -> None:
    site.worker()
    page = tab.open("enqueue?type=ship_order")
    page.get_by_label("zip").fill("1234")
    page.get_by_label("labels").fill("{red}")

    _submit(page)

    expect(page.get_by_role("alert").last).to_have_text("Not enqueued: see the fields above.")
    expect(page.get_by_label("number")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("zip")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("city")).not_to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("This is not valid JSON")).to_be_visible()
    page.get_by_label("number").fill("0")
    _submit(page)
    expect(page.get_by_label("number")).to_have_attribute("aria-invalid", "true")
    assert site.backlog()["ready"] == 0


def test_what_the_api_rejects_is_shown_beside_its_field(site: Site, tab: Tab) -> None:
    tab.expected_statuses.add(422)
    page = tab.open("enqueue?type=echo")

    for label, value, expected in (
        ("Delay", "soon", "expected a duration"),
        ("Id", "..", "an id that a URL can name"),
        ("Job type", "two words", "matching regex"),
    ):
        field = page.get_by_label(label)
        field.fill(value)
        _submit(page)
        expect(field).to_have_attribute("aria-invalid", "true")
        described = field.get_attribute("aria-describedby") or ""
        expect(page.locator(f"#{described.split()[-1]}")).to_contain_text(expected)
        field.fill("")


def test_any_type_takes_json_and_numbers_keep_their_digits(site: Site, tab: Tab) -> None:
    site.worker()
    page = tab.open("enqueue?type=echo")
    page.get_by_label("JSON").fill('{"n": 12345678901234567890, "x": 1.5}')
    page.get_by_label("Id").fill("exact")
    _submit(page)

    assert _enqueued_id(page) == "exact"
    assert site.client.wait("exact", timeout="30s") == {"n": 12345678901234567890, "x": 1.5}

    page = tab.open("enqueue?from=exact")
    expect(page.get_by_label("JSON")).to_have_value(
        '{\n  "n": 12345678901234567890,\n  "x": 1.5\n}'
    )
    _submit(page)
    again = _enqueued_id(page)
    assert again != "exact"
    assert site.client.wait(again, timeout="30s") == {"n": 12345678901234567890, "x": 1.5}


def test_a_job_can_be_enqueued_again_with_another_payload(site: Site, tab: Tab) -> None:
    site.worker()
    order = {"number": 3, "address": {"city": "Oslo", "zip": "12345"}, "items": ["a"]}
    first = site.client.enqueue("ship_order", order, priority="low")

    page = tab.open(f"enqueue?from={first}")
    expect(page.get_by_label("items[0]", exact=True)).to_have_value("a")
    expect(page.get_by_label("Priority")).to_have_value("low")
    page.get_by_label("city").fill("Bergen")
    page.get_by_role("button", name="JSON").click()
    expect(page.get_by_label("JSON")).to_have_value(
        '{\n  "number": 3,\n  "address": {\n    "city": "Bergen",\n    "zip": "12345"\n  },\n'
        '  "express": true,\n  "items": [\n    "a"\n  ],\n  "carrier": "courier"\n}'
    )
    page.get_by_label("JSON").fill('{"number": 3, "unknown": 1}')
    page.get_by_role("button", name="Form").click()

    expect(page.get_by_text("The form cannot show all of this payload")).to_be_visible()
    expect(page.get_by_label("JSON")).to_be_visible()


def test_a_job_whose_response_was_lost_is_enqueued_once(site: Site, tab: Tab) -> None:
    tab.may_fail = True
    page = tab.open("enqueue?type=echo")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    page.route("**/jobs", lose, times=1)
    _submit(page)
    expect(page.get_by_role("main").get_by_role("alert")).to_have_text("The API is not reachable.")
    assert site.backlog()["ready"] == 1
    _submit(page)

    _enqueued_id(page)
    assert site.backlog()["ready"] == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_form_is_accessible_and_fits_a_phone(
    open_tab: OpenTab, site: Site, scheme: str
) -> None:
    site.worker()
    tab = open_tab(site, color_scheme=scheme, viewport=PHONE)
    page = tab.open("enqueue?type=ship_order")
    page.get_by_role("button", name="Add an item to items").click()
    _submit(page)
    expect(page.get_by_text("Not enqueued")).to_be_visible()

    tab.assert_accessible("enqueue")
    tab.assert_fits("enqueue")
