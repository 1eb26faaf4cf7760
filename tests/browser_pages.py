"""What tests of web pages share: Chromium at desktop and at phone width, and what it complained of.

Without Chromium or Playwright these tests are skipped. Any complaint fails its test, unless that clears the list.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK: dict[str, Any] = DESKTOP | {"color_scheme": "dark"}
"""Settings of a page: `@pytest.mark.parametrize("page", [PHONE], indirect=True)`."""

both_widths = pytest.mark.parametrize("page", [DESKTOP, PHONE], indirect=True, ids=["desktop", "phone"])
"""Run a test at both widths."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LOCAL = ("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window; not longer than a file's tests, since Playwright keeps an event loop running."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install -e '.[browser]'")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Containers have neither user namespaces for the sandbox nor much shared memory.
        words = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        launched = driver.chromium.launch(executable_path=program, args=words)
        yield launched
        launched.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Errors and warnings of the page's console, exceptions, failed requests, and requests to other machines."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def page(browser: Browser, complaints: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page at desktop width in light colours, or as the test asks for by `parametrize(..., indirect=True)`."""
    context = browser.new_context(**getattr(request, "param", DESKTOP))
    context.set_default_timeout(10_000)
    opened = context.new_page()
    opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda failed: complaints.append(f"{failed.url}: {failed.failure}"))
    opened.on("request", lambda asked: complaints.append(f"asks {asked.url}") if _leaves(asked.url) else None)
    yield opened
    context.close()


def _leaves(url: str) -> bool:
    """Whether an address is on another machine."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOCAL
