"""What is around the views: keys, colors, addresses, and answers that are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.page.browser import Tab
from tests.page.conftest import OpenTab
from tests.page.site import Site


def test_keys_lead_to_the_views(tab: Tab) -> None:
    tab.stop_the_clock()
    page = tab.open()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    views = page.get_by_role("dialog").locator("dd", has_text="Go to").all_inner_texts()
    keys = page.get_by_role("dialog").locator("kbd + kbd").all_inner_texts()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert len(views) > 2

    for view, key in zip(views, keys, strict=False):
        page.keyboard.press("g")
        page.keyboard.press(key)
        name = view.removeprefix("Go to ")
        current = page.get_by_role("navigation").locator("[aria-current=page]")
        expect(current).to_have_text(name)
        expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_keys_can_be_switched_off(tab: Tab) -> None:
    page = tab.open()
    page.keyboard.press("?")
    page.get_by_label("Use single-key shortcuts").uncheck()
    page.keyboard.press("Escape")

    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("s")

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Use single-key shortcuts").check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_are_those_of_the_system_until_others_are_chosen(
    open_tab: OpenTab, site: Site, scheme: str
) -> None:
    page = open_tab(site, color_scheme=scheme).open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(244, 245, 247)", "rgb(18, 20, 25)"
    assert page.evaluate(ground) == (light if scheme == "light" else dark)

    switch = page.get_by_role("button", name="Colors:")
    switch.click()
    expect(switch).to_have_accessible_name("Colors: Light")
    assert page.evaluate(ground) == light
    switch.click()
    page.reload()
    expect(switch).to_have_accessible_name("Colors: Dark")
    assert page.evaluate(ground) == dark


def test_an_address_without_a_view_says_so(tab: Tab) -> None:
    page = tab.open("none")

    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")


def test_ages_are_right_if_the_clock_of_the_device_is_wrong(site: Site, tab: Tab) -> None:
    tab.page.clock.install(time=datetime.now(UTC) + timedelta(days=3))
    site.client.enqueue("echo", 1)

    page = tab.open()

    expect(page.get_by_role("row", name="normal")).to_contain_text(" s")
    expect(page.get_by_role("row", name="normal")).not_to_contain_text("d")


def test_an_answer_of_another_server_is_named(site: Site, tab: Tab) -> None:
    login = "<!doctype html><title>Log in</title>"
    tab.page.route("**/queues", lambda route: route.fulfill(body=login, content_type="text/html"))

    page = tab.open()

    expect(page.get_by_text("got one from another server or proxy").first).to_be_visible()
