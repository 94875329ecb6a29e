"""Headless Chromium for the viewer tests: no outside request is possible, WebGL runs in software."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.peers.available import ROOT, need

ARTIFACTS = ROOT / "artifacts"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # every other host fails to resolve: a viewer that needs one fails its test
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

# Copying to 64x64 evens out noise and works for WebGL canvases too.
_PAINTED = """() => {
  let most = 0;
  for (const canvas of document.querySelectorAll('.cornerstone-viewport-element canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const small = document.createElement('canvas');
    small.width = small.height = 64;
    const pen = small.getContext('2d');
    pen.drawImage(canvas, 0, 0, 64, 64);
    const data = pen.getImageData(0, 0, 64, 64).data;
    let painted = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] > 30) painted++;
    most = Math.max(most, painted);
  }
  return most;
}"""
RENDERED = 40


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium under Playwright's sync API."""
    path = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            browser.close()


def canvas_painted(page: Page) -> int:
    """Pixels (of 4096) that are not black in the fullest viewport; an image is rendered above `RENDERED`."""
    try:
        return int(page.evaluate(_PAINTED))
    except PlaywrightError:
        return 0  # the page is still on its way: a link submits itself, a launch redirects


def wait_painted(page: Page, seconds: float = 30.0) -> int:
    """Polls until an image is rendered; AssertionError with a screenshot otherwise. Not for 3-D modes."""
    end = time.monotonic() + seconds
    while (painted := canvas_painted(page)) <= RENDERED:
        if time.monotonic() > end:
            raise AssertionError(f"no image after {seconds} s ({painted} pixels): {screenshot(page, 'not-painted')}")
        page.wait_for_timeout(250)
    return painted


def screenshot(page: Page, name: str) -> Path:
    """artifacts/<name>.png (git-ignored)."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=str(path))
    return path
