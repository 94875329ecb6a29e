"""From the chart to the picture in a real browser: SMART launch and signed link, OHIF, and what must not leak."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.e2e.story import Site, Story
from tests.peers.available import need
from tests.peers.browser import RENDERED, screenshot, wait_painted

pytestmark = [pytest.mark.browser, pytest.mark.peer("viewer"), pytest.mark.timeout(180)]


@dataclass
class Seen:
    """A browser that has opened one study: the tab, its painted pixels, and every request that it made."""

    story: Story
    context: BrowserContext
    tab: Page
    painted: int = 0
    urls: list[str] = field(default_factory=list)
    referers: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    """What stood in an address bar, and stays in a history."""

    def fetch(self, path: str) -> int:
        """The status of a request that the open tab makes with its own cookie."""
        return int(self.tab.evaluate("async path => (await fetch(path, {headers: {Accept: '*/*'}})).status", path))


def watching(story: Story, context: BrowserContext) -> Seen:
    seen = Seen(story, context, context.new_page())

    def note(request: Request) -> None:
        seen.urls.append(request.url)
        seen.referers.append(request.headers.get("referer", ""))
        if request.is_navigation_request():
            seen.addresses.append(request.url)

    context.on("request", note)
    return seen


@pytest.fixture(scope="module")
def story(sekmet_site: Site) -> Story:
    need("viewer")
    made = sekmet_site.story()
    sekmet_site.records.put_patient(made.patient)
    made.send()
    made.acquire(20)
    sekmet_site.published(made.uid)
    return made


@pytest.fixture(scope="module")
def launched(sekmet_site: Site, story: Story, browser: Browser) -> Iterator[Seen]:
    """The chart's button pressed, and the picture there."""
    assert sekmet_site.ehr is not None
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    seen = watching(story, context)
    chart = seen.tab
    chart.goto(sekmet_site.ehr.chart_url(sekmet_site.records.put_patient(story.patient)))
    screenshot(chart, "chart")
    with context.expect_page() as opened:
        chart.get_by_role("button", name="View images").first.click()
    seen.tab = opened.value
    seen.painted = wait_painted(seen.tab, 60)
    screenshot(seen.tab, "launch-from-the-chart")
    yield seen
    context.close()


@pytest.fixture(scope="module")
def linked(sekmet_site: Site, story: Story, browser: Browser) -> Iterator[tuple[str, Seen]]:
    """A signed link opened, and the picture there."""
    link = sekmet_site.hospital.links.link(sekmet_site.hospital.public_url, story.uid)
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    seen = watching(story, context)
    seen.tab.goto(link)
    seen.painted = wait_painted(seen.tab, 60)
    screenshot(seen.tab, "launch-by-signed-link")
    yield link, seen
    context.close()


@pytest.fixture(params=["chart", "link"])
def seen(request: pytest.FixtureRequest) -> Seen:
    if request.param == "chart":
        found: Seen = request.getfixturevalue("launched")
        return found
    return request.getfixturevalue("linked")[1]  # type: ignore[no-any-return]


def test_ohif_shows_the_images(seen: Seen) -> None:
    assert seen.painted > RENDERED


def test_the_viewer_is_on_its_own_origin(site: Site, seen: Seen) -> None:
    parts = urlsplit(seen.tab.url)
    assert (f"{parts.scheme}://{parts.netloc}", parts.path) == (site.hospital.viewer_url, "/viewer")


def test_no_request_leaves_loopback(seen: Seen) -> None:
    hosts = {urlsplit(url).hostname for url in seen.urls if not url.startswith(("blob:", "data:"))}
    assert hosts <= {"localhost", "127.0.0.1"} and len(seen.urls) > 20


def test_no_secret_of_the_browser_is_in_a_url_or_referer(seen: Seen) -> None:
    secrets = [part for cookie in seen.context.cookies() for part in cookie["value"].split(".")]
    told = [text for text in (*seen.urls, *seen.referers) if any(secret and secret in text for secret in secrets)]
    assert secrets and told == []


def test_no_token_is_in_a_url(seen: Seen) -> None:
    words = ("access_token", "id_token", "eyJ", "Bearer")
    assert [url for url in seen.urls if any(word in url for word in words)] == []


def test_no_referer_carries_a_code_state_or_handle(seen: Seen) -> None:
    words = ("code=", "state=", "launch=", "/s/")
    assert [referer for referer in seen.referers if any(word in referer for word in words)] == []


def test_no_address_names_the_patient(seen: Seen) -> None:
    patient, ours = seen.story.patient, [url for url in seen.addresses if "/chart/" not in url]
    assert len(ours) >= 3
    assert [url for url in ours if any(word in url for word in (patient.mrn, patient.family, patient.given))] == []


def test_the_viewer_asks_for_nothing_by_the_number_of_the_patient(seen: Seen) -> None:
    assert [url for url in seen.urls if "00100020=" in url or "PatientID=" in url] == []


def test_the_cookies_are_for_the_server_only(seen: Seen) -> None:
    ours = [cookie for cookie in seen.context.cookies() if cookie["name"].startswith(("bridge", "__Host-bridge"))]
    assert ours and all(cookie["httpOnly"] for cookie in ours)


def test_a_link_used_twice_is_refused(linked: tuple[str, Seen], browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(linked[0])
    page.get_by_text("used already").wait_for(timeout=20_000)
    screenshot(page, "link-used")
    assert linked[1].story.uid not in page.url
    context.close()


def test_the_open_tab_may_not_read_another_patients_study(site: Site, launched: Seen) -> None:
    other = site.story()
    site.records.put_patient(other.patient)
    other.send()
    other.acquire()
    site.published(other.uid)
    assert launched.fetch(f"/dicom-web/studies/{other.uid}/metadata") == 403


def test_the_open_tab_loses_the_study_at_once_when_its_link_is_undone(site: Site, browser: Browser) -> None:
    story = site.story()
    site.records.put_patient(story.patient)
    story.send()
    story.acquire()
    site.published(story.uid)
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(site.hospital.links.link(site.hospital.public_url, story.uid))
    wait_painted(tab, 60)
    seen, path = Seen(story, context, tab), f"/dicom-web/studies/{story.uid}/metadata"
    assert seen.fetch(path) == 200
    done = site.hospital.run("review", "unlink", str(site.study_id(story.uid)), "--reason", "wrong patient")
    assert (done.returncode, seen.fetch(path)) == (0, 403)
    context.close()


def test_the_old_tab_reads_nothing_after_logout(site: Site, launched: Seen) -> None:
    path = f"/dicom-web/studies/{launched.story.uid}/metadata"
    assert launched.fetch(path) == 200
    page = launched.context.new_page()
    page.goto(f"{site.hospital.viewer_url}/launch/end")
    page.get_by_role("button", name="Close the images").click()
    page.get_by_text("session has ended").wait_for(timeout=20_000)
    assert launched.fetch(path) in (401, 403)
