"""The launch in a real browser: cookies, redirects and content policies as Chromium applies them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Blueprint
from playwright.sync_api import Browser, Page

from bridge.web.factory import create_public_app, create_viewer_app
from bridge.web.ports import CurrentSession
from bridge.web.server import WebServer
from tests.fakes.launch_desk import Line
from tests.fakes.launch_site import CT, MR, PUBLIC, Site, launch_site

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("LAUNCH_SHOTS", "")


def viewer_stub(current: CurrentSession) -> Blueprint:
    pages = Blueprint("stub", __name__)

    @pages.get("/viewer")
    def viewer() -> str:
        session = current()
        return f"<h1>viewer {session.id if session else 'closed'}</h1>"

    return pages


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Site]:
    public, viewer = (WebServer("127.0.0.1", 0, threads=4, drain_seconds=1) for _ in range(2))
    urls = {"public_url": f"http://localhost:{public.bind()}", "viewer_url": f"http://127.0.0.1:{viewer.bind()}"}
    with launch_site(tmp_path, **urls) as site:
        object.__setattr__(site.deps, "viewer", (viewer_stub,))
        public.start(create_public_app(site.deps))
        viewer.start(create_viewer_app(site.deps))
        try:
            yield site
        finally:
            public.stop()
            viewer.stop()


@pytest.fixture
def page(browser: Browser, live: Site) -> Iterator[Page]:
    dark = "dark" if SHOTS.endswith("dark") else "light"
    page = browser.new_page(viewport={"width": 900, "height": 620}, color_scheme=dark)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    yield page
    page.close()
    assert not [c for c in complaints if "status of 4" not in c]


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}-{name}.png")


def launch(live: Site, page: Page) -> None:
    page.goto(f"{live.browser.home}/launch?{urlencode({'iss': live.ehr.iss, 'launch': 'x'})}")


def test_one_study_goes_straight_to_the_viewer(live: Site, page: Page) -> None:
    launch(live, page)
    assert page.inner_text("h1") == "viewer 1"
    assert page.url == f"{live.viewer.home}/viewer?StudyInstanceUIDs={CT}"


def test_a_study_is_chosen_from_the_list(live: Site, page: Page) -> None:
    live.desk.patients["M1", "HOSP"] = [
        Line(CT, date(2026, 11, 20), "CT chest with contrast", ("CT", "SR"), 412),
        Line(MR, date(2025, 3, 2), "MR knee left", ("MR",), 1),
        Line("1.2.840.3", None, "", ("US",), 33),
    ]
    launch(live, page)
    shoot(page, "list")
    page.get_by_role("button", name="Open MR knee left").click()
    page.wait_for_selector("text=viewer 1")
    page.go_back()
    page.get_by_role("button", name="Close these images").click()
    page.wait_for_selector("text=The images are closed")
    page.goto(f"{live.viewer.home}/viewer")
    assert page.inner_text("h1") == "viewer closed"


def test_images_that_arrive_later_are_shown(live: Site, page: Page) -> None:
    studies = live.desk.patients.pop(("M1", "HOSP"))
    launch(live, page)
    assert page.inner_text("h1") == "No images yet"
    shoot(page, "waiting")
    live.desk.patients["M1", "HOSP"] = studies
    page.get_by_role("link", name="Look now").click()
    page.wait_for_selector("text=viewer 1")


def test_a_signed_link_opens_by_itself(live: Site, page: Page) -> None:
    path = live.make_link(live.link_token()).json["url"]
    page.goto(path)
    page.wait_for_selector("text=viewer 1")


def test_a_link_without_scripts_has_a_button(live: Site, browser: Browser) -> None:
    url = live.make_link(live.link_token()).json["url"]
    context = browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 620})
    page = context.new_page()
    page.goto(url)
    shoot(page, "link")
    assert not live.desk.spent_links
    page.get_by_role("button", name="Open images").click()
    page.wait_for_selector("text=viewer 1")
    context.close()


def test_a_link_without_user_leads_through_the_sign_in(live: Site, page: Page) -> None:
    opaque = live.desk.make_link("bridge", None, CT, "j", 300)
    page.goto(f"{live.browser.home}/s/{opaque}")
    page.wait_for_selector("text=viewer 1")


def test_errors_and_ends_are_pages(live: Site, page: Page) -> None:
    page.goto(f"{live.browser.home}/launch/callback?state=x")
    shoot(page, "error")
    assert page.inner_text("h1") == "This launch cannot be continued"
    page.goto(f"{live.viewer.home}/launch/expired")
    shoot(page, "expired")
    assert page.inner_text("h1") == "These images cannot be shown any more here"
    assert PUBLIC not in page.content()
