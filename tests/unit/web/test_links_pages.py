"""Links: made by a trusted system, opened once by a person."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.fakes.launch_site import CT, PAGE, PUBLIC, VIEWER, Site, authorization


def path_of(answer: Any) -> str:
    assert answer.status_code == 201, answer.text
    return str(answer.json["url"]).removeprefix(PUBLIC)


def follow(site: Site, path: str) -> Any:
    page = site.browser.get(path, headers=PAGE)
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf
    return site.browser.post(path, data={"csrf": csrf[1]}, headers=PAGE)


def test_a_signed_link_opens_its_study_for_its_user(site: Site) -> None:
    answer = follow(site, path_of(site.make_link(site.link_token())))
    assert site.enter(answer).headers["Location"] == f"/viewer?StudyInstanceUIDs={CT}"
    user, origin, _ = site.desk.opened[1]
    assert (user.issuer, user.subject, user.name, origin) == ("https://portal.example", "u1", "Dr Link", "link")


def test_the_token_may_come_in_json(site: Site) -> None:
    answer = site.browser.post("/links", json={"token": site.link_token()})
    assert answer.status_code == 201
    assert answer.json["expires"] == "2026-11-25T09:05:00+00:00"


def test_fetching_a_link_does_not_use_it_up(site: Site) -> None:
    path = path_of(site.make_link(site.link_token()))
    for _ in range(3):
        assert site.browser.get(path, headers=PAGE).status_code == 200
        assert site.browser.head(path).status_code == 200
    assert follow(site, path).status_code == 303


def test_a_link_opens_once(site: Site) -> None:
    path = path_of(site.make_link(site.link_token()))
    follow(site, path)
    again = follow(site, path)
    assert again.status_code == 410
    assert "used already" in again.text


def test_an_expired_link_says_so(site: Site) -> None:
    path = path_of(site.make_link(site.link_token()))
    site.clock.advance(301)
    answer = follow(site, path)
    assert answer.status_code == 410
    assert "expired" in answer.text


@pytest.mark.parametrize("path", ["/s/" + "x" * 43, "/s/short", "/s/a.b" + "x" * 40])
def test_an_unknown_link_is_not_found(site: Site, path: str) -> None:
    page = site.browser.get(path, headers=PAGE)
    assert (follow(site, path) if page.status_code == 200 else page).status_code == 404


def test_a_token_makes_one_link(site: Site) -> None:
    token = site.link_token()
    site.make_link(token)
    answer = site.make_link(token)
    assert answer.status_code == 409
    assert answer.json["code"] == "replayed"


def test_a_link_to_an_unknown_study_is_not_made(site: Site) -> None:
    assert site.make_link(site.link_token(study="1.9")).status_code == 404


def test_a_link_without_user_asks_who_it_is_and_then_opens(site: Site) -> None:
    opaque = site.desk.make_link("bridge", None, CT, "j", 300)
    page = follow(site, f"/s/{opaque}")
    assert page.status_code == 200
    url = page.headers["Refresh"].removeprefix("0; url=")
    asked = authorization(url)
    assert asked["scope"] == "openid fhirUser"
    assert "launch" not in asked
    site.ehr.patient = None  # type: ignore[assignment]
    answer = site.callback(site.answer(asked))
    assert answer.headers["Location"].startswith(VIEWER)
    assert site.desk.opened[1][0].subject == "dr-demo"


def test_a_body_of_another_kind_is_refused(site: Site) -> None:
    assert site.browser.post("/links", data="x", content_type="text/plain").status_code == 415
    assert site.browser.post("/links", json=[1]).status_code == 400
    assert site.browser.post("/links", data="x" * 40000, content_type="application/jose").status_code == 413


def test_refusals_of_the_api_are_problem_json(site: Site) -> None:
    answer = site.make_link("x.y.z")
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"] == "token"
