"""`GET /metrics`: for the site's own eyes, from rows, seldom, and without a word of a patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from bridge.config import MetricsSetting, Settings, Web
from bridge.errors import StoreUnavailable
from bridge.metrics import Family, render
from bridge.store.alarms import FeedFacts, Owed, Waiting
from bridge.store.outbound import QueueState
from bridge.web import factory
from bridge.web.metrics import families, metrics_blueprint
from bridge.workflow.measuring import Facts, Measures
from tests.fakes.launch_site import PUBLIC, Site, client

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=5)
MEASURES = Measures(
    Facts(
        NOW,
        NOW,
        None,
        (FeedFacts("ris", BEFORE, 100, 50, 5), FeedFacts("adt", None, 0, 0, 0)),
        (Waiting("order-parked", "ris", 3, BEFORE), Waiting("study-unmatched", "", 2, BEFORE)),
        (QueueState("placer", 4, 0, 7, 1, BEFORE, ""),),
        (Owed("ehr", "waiting", 2, BEFORE),),
        {"hl7": BEFORE},
        10**9,
    ),
    {"ris": (6, 60), "adt": (0, 0)},
    12,
    (("complete", "matched", 9),),
    ({"kind": "parked-old", "subject": "ris"},),
)


def numbers(text: str) -> dict[str, float]:
    """`name{label="value"}` -> number, as Prometheus reads it."""
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Desk:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.asked = 0
        self.fault: Exception | None = None

    def measure(self) -> Measures:
        self.asked += 1
        if self.fault:
            raise self.fault
        return MEASURES

    def browser(self, **settings: Any) -> FlaskClient:
        made = self.site.deps.settings.model_copy(update=settings)
        pages = metrics_blueprint(made, self.site.clock, self.measure)
        return client(factory.create_public_app(replace(self.site.deps, settings=made, public=(pages,))), PUBLIC)


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    yield Desk(site)


def test_every_number_of_the_on_call_list_is_there() -> None:
    found = numbers(render(families(MEASURES)).decode())
    expected = {
        "bridge_feed_last_message_age_seconds ris": 300,
        "bridge_feed_messages_total ris": 100,
        "bridge_feed_messages_last_minute ris": 6,
        "bridge_feed_messages_last_hour ris": 60,
        "bridge_feed_error_share ris": 0.1,
        "bridge_feed_quarantined ris": 0,
        "bridge_feed_parked ris": 3,
        "bridge_feed_parked adt": 0,
        "bridge_outbound_messages placer waiting": 4,
        "bridge_outbound_messages placer dead": 1,
        "bridge_outbound_oldest_age_seconds placer": 300,
        "bridge_publications ehr waiting": 2,
        "bridge_publications_done": 12,
        "bridge_reviews_open study-unmatched": 2,
        "bridge_review_oldest_age_seconds order-parked": 300,
        "bridge_studies matched complete": 9,
        "bridge_free_disk_bytes": 10**9,
        "bridge_role_beat_age_seconds hl7": 300,
        "bridge_alarm parked-old ris": 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "bridge_feed_last_message_age_seconds adt" not in found


def test_a_label_cannot_forge_a_line() -> None:
    name = 'a"} 1\nbridge_alarm 7\\'
    text = render([Family("bridge_x", "x", ("feed",), (((name,), 1.0),))]).decode()
    assert numbers(text) == {f"bridge_x {name}": 1.0}


def test_loopback_reads_it(desk: Desk) -> None:
    answer = desk.browser().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "bridge_free_disk_bytes" in answer.text


def test_prometheus_asks_by_address(desk: Desk) -> None:
    assert desk.browser().get("/metrics", base_url="http://127.0.0.1:8080").status_code == 200


@pytest.mark.parametrize("address", ["10.1.2.3", "8.8.8.8", "2001:db8::1", "", "no address"])
def test_a_foreign_address_is_refused_and_nothing_is_measured(desk: Desk, address: str) -> None:
    assert desk.browser().get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == 403
    assert desk.asked == 0


def test_an_address_of_the_list_reads_it(desk: Desk) -> None:
    browser = desk.browser(metrics=MetricsSetting(allow_from=("10.1.0.0/16",)))
    assert browser.get("/metrics", environ_base={"REMOTE_ADDR": "10.1.2.3"}).status_code == 200
    assert browser.get("/metrics").status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_whoever_comes_through_a_proxy_that_is_not_declared_is_not_loopback(desk: Desk, header: str) -> None:
    assert desk.browser().get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_behind_a_declared_proxy_the_askers_own_address_counts(desk: Desk) -> None:
    web = Web.model_validate(desk.site.deps.settings.web.model_dump() | {"trusted_proxies": 1})
    browser = desk.browser(web=web)
    asked = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": PUBLIC.removeprefix("https://")}
    assert browser.get("/metrics", headers={**asked, "X-Forwarded-For": "8.8.8.8"}).status_code == 403
    assert browser.get("/metrics", headers={**asked, "X-Forwarded-For": "127.0.0.1"}).status_code == 200


def test_the_token_of_the_file_opens_it_from_anywhere(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    browser = desk.browser(metrics=MetricsSetting(allow_from=(), token_file=file))

    def status(authorization: str) -> int:
        return browser.get("/metrics", headers={"Authorization": authorization}).status_code

    assert [status(a) for a in ("Bearer s3cret", "bearer s3cret")] == [200, 200]
    assert [status(a) for a in ("Bearer other", "Bearer ", "Basic s3cret", "s3cret", "Bearer s3crét")] == [403] * 5
    file.write_text("")
    assert [status(a) for a in ("Bearer ", "Bearer s3cret")] == [403, 403]
    file.unlink()
    assert status("Bearer s3cret") == 403


def test_many_scrapes_ask_the_store_once(desk: Desk) -> None:
    browser = desk.browser()
    for _ in range(5):
        browser.get("/metrics")
    assert desk.asked == 1
    desk.site.clock.advance(5)
    browser.get("/metrics")
    assert desk.asked == 2


def test_a_store_that_does_not_answer_is_a_503(desk: Desk) -> None:
    desk.fault = StoreUnavailable("locked")
    assert desk.browser().get("/metrics").status_code == 503


def test_only_get_is_allowed(desk: Desk) -> None:
    assert desk.browser().post("/metrics").status_code == 405


def test_the_token_file_stands_beside_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text('[metrics]\ntoken_file = "secret"\n')
    assert Settings.load(path, {}).metrics.token_file == tmp_path / "secret"
