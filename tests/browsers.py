"""Headless Chromium for tests, and pages whose words and requests are written down."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (400, 1600)
_INSTALLED = ("chromium", "chromium-browser", "google-chrome")
_SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


@contextmanager
def chromium() -> Iterator[Any]:
    """The Chromium that playwright fetched, or the one that the system has; skips the test where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with sync.sync_playwright() as playwright:
        found = next((path for name in _INSTALLED if (path := shutil.which(name))), None)
        if not Path(playwright.chromium.executable_path).exists() and found is None:
            pytest.skip("no Chromium: `playwright install chromium`, or the system's package chromium")
        own = None if Path(playwright.chromium.executable_path).exists() else found
        running = playwright.chromium.launch(executable_path=own, args=list(_SOFTWARE_GL))
        yield running
        running.close()


@dataclass(frozen=True)
class Watched:
    """A page, the errors and the warnings of its console, and the addresses it asked for."""

    page: Any
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    def abroad(self, *homes: str) -> list[str]:
        """Addresses that lie neither under `homes` nor in the page itself."""
        return [url for url in self.asked_for if not url.startswith((*homes, "data:", "blob:"))]

    def width(self) -> tuple[int, int]:
        """Width of the content and of the window; the first is larger where the page must be scrolled sideways."""
        inner, outer = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        return inner, outer


@contextmanager
def watched(browser: Any, width: int = 1200, height: int = 900) -> Iterator[Watched]:
    """An empty page of a width, closed at the end."""
    page = browser.new_page(viewport={"width": width, "height": height})
    seen = Watched(page)
    heard = {"error": seen.errors, "warning": seen.warnings}
    page.on("console", lambda message: heard.get(message.type, []).append(message.text))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.asked_for.append(request.url))
    page.on("websocket", lambda socket: seen.asked_for.append(socket.url))
    yield seen
    page.close()
