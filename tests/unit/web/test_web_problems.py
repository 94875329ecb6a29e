"""Every error of ours has one HTTP status, a page for people and a problem for programs."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask

from bridge import errors
from bridge.errors import BridgeError
from bridge.web import factory, problems
from tests.fakes.launch_site import PAGE, PUBLIC, Site, client

SECRET = "DOE^JANE /etc/passwd SELECT * FROM patient"


def every(kind: type[BridgeError]) -> set[type[BridgeError]]:
    return {kind}.union(*(every(sub) for sub in kind.__subclasses__()))


KINDS = sorted((k for k in every(BridgeError) if k.__module__ == errors.__name__), key=lambda k: k.__name__)


def make(kind: type[BridgeError]) -> BridgeError:
    return kind([SECRET]) if kind is errors.ConfigurationError else kind(SECRET)  # type: ignore[arg-type]


def app_that_raises(site: Site, error: Exception) -> Flask:
    pages = Blueprint("bad", __name__)

    @pages.get("/bad")
    def bad() -> str:
        raise error

    object.__setattr__(site.deps, "public", (pages,))
    return factory.create_public_app(site.deps)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_row_in_the_table(kind: type[BridgeError]) -> None:
    assert kind in problems.STATUS


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_answered_for_people_and_for_programs(site: Site, kind: type[BridgeError]) -> None:
    browser = client(app_that_raises(site, make(kind)), PUBLIC)
    page, problem = browser.get("/bad", headers=PAGE), browser.get("/bad")
    assert page.status_code == problem.status_code == problems.STATUS[kind]
    assert problem.mimetype == "application/problem+json"
    assert problem.json["status"] == problem.status_code
    assert problem.json["code"] == kind.code
    assert "<h1>" in page.text
    assert SECRET not in page.text


@pytest.mark.parametrize("error", [make(k) for k in KINDS if problems.STATUS[k] >= 500] + [ValueError(SECRET)])
def test_our_own_failures_tell_neither_path_nor_sql(site: Site, error: Exception) -> None:
    browser = client(app_that_raises(site, error), PUBLIC)
    for accept in ("text/html", "application/json"):
        assert "passwd" not in browser.get("/bad", headers={"Accept": accept}).text


def test_unavailable_says_when_to_come_back(site: Site) -> None:
    error = errors.RemoteUnavailable("down", retry_after=17.2)
    assert client(app_that_raises(site, error), PUBLIC).get("/bad").headers["Retry-After"] == "17"


@pytest.mark.parametrize("code", [*problems.STATUS_OF_CODE, "ehr-refused", "id-token", "no-patient", "patient-differs"])
def test_every_refusal_of_a_launch_but_the_programs_own_has_its_own_words(code: str) -> None:
    assert code in problems.PAGES or code in ("token", "replayed")


def test_an_unknown_page_and_a_wrong_verb_are_answered_the_same_way(site: Site) -> None:
    assert site.browser.get("/nowhere").json["status"] == 404
    wrong = site.browser.post("/launch")
    assert (wrong.status_code, wrong.mimetype) == (405, "application/problem+json")
    assert "GET" in wrong.headers["Allow"]
