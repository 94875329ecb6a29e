"""The real OHIF from our blueprint in real Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cheroot.wsgi import Server
from flask import Flask, Response
from playwright.sync_api import Browser, Page

from bridge.web.viewer.serve import viewer_blueprint
from tests.peers.available import need
from tests.peers.browser import RENDERED, canvas_painted, screenshot

pytestmark = [pytest.mark.browser, pytest.mark.peer("viewer")]


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """A bridge that knows no study."""
    app = Flask("viewer-boot")

    @app.get("/dicom-web/<path:path>")
    def archive(path: str) -> Response:
        return Response("[]", mimetype="application/dicom+json")

    app.register_blueprint(viewer_blueprint(Path(need("viewer")), investigational_banner=False))
    with serving(app) as address:
        yield address


@pytest.fixture(scope="module")
def refusing_origin() -> Iterator[str]:
    """A bridge whose session has ended."""
    app = Flask("viewer-refused")
    app.add_url_rule("/launch/expired", "expired", lambda: "Your session has ended.")
    app.add_url_rule("/dicom-web/<path:path>", "archive", lambda path: ("", 401))
    app.register_blueprint(viewer_blueprint(Path(need("viewer")), investigational_banner=False))
    with serving(app) as address:
        yield address


class serving:
    """cheroot on a free port of 127.0.0.1 while the block runs; gives the origin."""

    def __init__(self, app: Flask) -> None:
        self._server = Server(("127.0.0.1", 0), app, numthreads=16)

    def __enter__(self) -> str:
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.bind_addr[1]}"

    def __exit__(self, *error: object) -> None:
        self._server.stop()
        self._thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_an_unknown_study_ends_on_ohifs_own_page_without_one_error(origin: str, page: Page) -> None:
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.on("response", lambda response: faults.append(response.url) if response.status >= 400 else None)
    page.goto(f"{origin}/viewer?StudyInstanceUIDs=1.2.3")
    page.get_by_text("requested studies are not available").wait_for(timeout=60_000)
    screenshot(page, "viewer-unknown-study")
    assert faults == []


def test_the_root_shows_no_study_list(origin: str, page: Page) -> None:
    page.goto(f"{origin}/")
    page.get_by_text("404").wait_for(timeout=60_000)


def test_an_ended_session_leads_to_our_page(refusing_origin: str, page: Page) -> None:
    page.goto(f"{refusing_origin}/viewer?StudyInstanceUIDs=1.2.3")
    page.wait_for_url("**/launch/expired", timeout=60_000)
    assert "session has ended" in page.inner_text("body")


@pytest.mark.parametrize(("side", "rendered"), [(0, False), (3, False), (40, True)])
def test_only_a_viewport_with_enough_light_pixels_counts_as_rendered(page: Page, side: int, rendered: bool) -> None:
    page.set_content('<div class="cornerstone-viewport-element"><canvas width="256" height="256"></canvas></div>')
    page.evaluate(
        "side => { const pen = document.querySelector('canvas').getContext('2d');"
        " pen.fillStyle = 'black'; pen.fillRect(0, 0, 256, 256);"
        " pen.fillStyle = 'white'; pen.fillRect(0, 0, side, side); }",
        side,
    )
    assert (canvas_painted(page) > RENDERED) is rendered
