"""The browser of the tests: Chromium as it is installed, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

ROOT = Path(__file__).parents[2]

#: Programs that are Chromium, as distributions name them.
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Milliseconds within which an expectation must come true, and a page load: the machine is busy,
#: workers report some things every ten seconds, and the page reads what was slow less often.
PATIENCE_MS = 60_000

#: The size of a phone.
PHONE = {"width": 390, "height": 844}

#: Rules of axe-core: WCAG up to 2.2 AA, and its best practices.
_AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


@contextmanager
def launched() -> Iterator[Browser]:
    """Run a browser; skips the test where none is installed."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, _NAMES)), None)
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium is installed: apt-get install chromium")
        with playwright.chromium.launch(
            executable_path=program,
            # The sandbox of Chromium refuses to run for root.
            chromium_sandbox=os.geteuid() != 0,
            args=["--disable-gpu", "--disable-dev-shm-usage"],
        ) as browser:
            yield browser


@dataclass
class Tab:
    """A page in a session of its own. What it must not do makes the test fail: `assert_clean`."""

    page: Page
    base_url: str
    #: Statuses of 400 and above that the test brings about.
    expected_statuses: set[int] = field(default_factory=set)
    #: Whether requests may fail without a response: the test stops the api.
    may_fail: bool = False
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_message)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)
        self.page.on("requestfailed", self._on_failure)
        self.page.set_default_timeout(PATIENCE_MS)

    def open(self, route: str = "") -> Page:
        """Load the page with a route, such as ``jobs?state=failed``."""
        self.page.goto(f"{self.base_url}/#/{route}")
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        return self.page

    def stop_the_clock(self) -> None:
        """Keep the time that the page reads, but not its timers; before it is opened.

        So keys that have to follow each other within a second may take longer.
        """
        self.page.clock.set_fixed_time(datetime.now(UTC))

    def assert_clean(self) -> None:
        """Check that nothing failed and nothing was asked of another host."""
        assert not self.faults, "\n".join(self.faults)

    def assert_accessible(self, where: str) -> None:
        """Check what the page shows now with axe-core; `where` names it in the failure."""
        script = ROOT / ".venv-tools/node_modules/axe-core/axe.min.js"
        if not script.exists():
            pytest.skip("axe-core is not installed: see the Makefile")
        self.page.evaluate(script.read_text("utf-8"))
        report: Any = self.page.evaluate("options => axe.run(document, options)", _AXE_OPTIONS)
        violations = [_violation(each, where) for each in report["violations"]]
        assert not violations, "\n".join(violations)

    def assert_fits(self, where: str) -> None:
        """Check that the page does not scroll sideways."""
        widths = self.page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1], f"{where} is {widths[0]} px wide on {widths[1]} px"

    def _on_message(self, message: ConsoleMessage) -> None:
        # The browser's own line for a failed request: `_on_response` judges these.
        if not message.text.startswith("Failed to load resource") and message.type != "debug":
            self.faults.append(f"console: {message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and not request.url.startswith(f"{self.base_url}/"):
            self.faults.append(f"request to another host: {request.url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected_statuses:
            self.faults.append(f"{response.status}: {response.request.method} {response.url}")

    def _on_failure(self, request: Request) -> None:
        # A page that is left aborts its requests.
        if not self.may_fail and request.failure != "net::ERR_ABORTED":
            self.faults.append(f"{request.failure}: {request.method} {request.url}")


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """A session of its own: storage, size, color scheme."""
    return browser.new_context(reduced_motion="reduce", locale="en-GB", **options)


def _violation(violation: dict[str, Any], where: str) -> str:
    nodes = "; ".join(str(node["target"]) + " " + node["html"][:200] for node in violation["nodes"])
    return f"{where}: {violation['id']}: {violation['help']}: {nodes}"
