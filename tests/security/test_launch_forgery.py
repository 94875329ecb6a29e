"""Security rows S05-S11, S14-S22, S25, S33, S38, S60: what of a launch cannot be forged, replayed or read.

Reference: security.md 1.2 and 1.3.
"""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from joserfc import jwt

from bridge.log import JsonFormatter
from tests.fakes.launch_desk import Line
from tests.fakes.launch_site import (
    CT,
    FOREIGN,
    MR,
    PAGE,
    PORTAL_KEY,
    PUBLIC,
    VIEWER,
    Browser,
    Site,
    authorization,
    launch_site,
)
from tests.fakes.smart_ehr import KEY, OTHER_KEY


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with launch_site(tmp_path) as site:
        yield site


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every address that anybody in this process connects to."""
    seen: list[object] = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (seen.append(to), connect(self, to))[1])
    return seen


def stranger(site: Site) -> Browser:
    other = Browser(site.browser.application, use_cookies=True)
    other.home = PUBLIC
    return other


LOOK_ALIKES = {
    "unknown": "https://evil.example/fhir",
    "slash": "{iss}/",
    "two slashes": "http://127.0.0.1:{port}//fhir",
    "userinfo": "http://127.0.0.1:{port}@evil.example/fhir",
    "own userinfo": "http://x@127.0.0.1:{port}/fhir",
    "suffix host": "http://127.0.0.1.evil.example:{port}/fhir",
    "trailing dot": "http://127.0.0.1.:{port}/fhir",
    "upper scheme": "HTTP://127.0.0.1:{port}/fhir",
    "upper path": "http://127.0.0.1:{port}/FHIR",
    "https": "https://127.0.0.1:{port}/fhir",
    "no port": "http://127.0.0.1/fhir",
    "other port": "http://127.0.0.1:1/fhir",
    "longer path": "{iss}/more",
    "prefix": "{iss}.evil.example",
    "dots": "http://127.0.0.1:{port}/x/../fhir",
    "encoded": "http://127.0.0.1:{port}/%66hir",
    "query": "{iss}?x=1",
    "fragment": "{iss}#x",
    "space": " {iss}",
    "line end": "{iss}\n",
    "localhost": "http://localhost:{port}/fhir",
    "decimal": "http://2130706433:{port}/fhir",
    "full-width": "http://127.0.0.1:{port}/ｆhir",
    "backslash": "http://127.0.0.1:{port}\\fhir",
    "NUL": "{iss}\x00",
}


@pytest.mark.parametrize("pattern", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_S07_S08_an_issuer_that_only_looks_right_is_refused_and_never_contacted(
    site: Site, connects: list[object], pattern: str
) -> None:
    iss = pattern.format(iss=site.ehr.iss, port=urlsplit(site.ehr.iss).port)
    answer = site.browser.get(f"/launch?iss={quote(iss)}&launch=x", headers=PAGE)
    assert answer.status_code == 400
    assert not connects
    assert not site.desk.pending
    assert iss not in answer.text


@pytest.mark.parametrize(
    "query", ["", "iss=x", "launch=x", "iss=&launch=x", "iss={i}&iss=x&launch=x", "iss={i}&launch="]
)
def test_a_launch_with_a_missing_or_doubled_parameter_is_refused(
    site: Site, connects: list[object], query: str
) -> None:
    assert site.browser.get("/launch?" + query.format(i=quote(site.ehr.iss))).status_code == 400
    assert not connects


def test_S05_state_missing(site: Site) -> None:
    answer = site.answer(site.launch())
    assert site.callback({"code": answer["code"]}).status_code == 400


def test_S05_state_unknown(site: Site) -> None:
    assert site.callback(site.answer(site.launch()) | {"state": "x" * 43}).status_code == 400


def test_S05_state_reused(site: Site) -> None:
    answer = site.answer(site.launch())
    assert site.callback(answer).status_code == 303
    assert site.callback(answer).status_code == 400


def test_S05_state_of_another_browser(site: Site) -> None:
    answer = site.answer(site.launch())
    other = stranger(site)
    assert site.callback(answer, other).status_code == 400
    site.launch(other)
    assert site.callback(answer, other).status_code == 400


def test_S05_state_too_late(site: Site) -> None:
    answer = site.answer(site.launch())
    site.clock.advance(301)
    assert site.callback(answer).status_code == 400


def test_S05_a_refused_state_costs_the_ehr_no_request(site: Site) -> None:
    answer = site.answer(site.launch())
    before = len(site.ehr.calls)
    site.callback(answer | {"state": "x" * 43})
    assert len(site.ehr.calls) == before


def test_S06_pkce_is_s256_with_a_fresh_long_verifier_every_time(site: Site) -> None:
    seen = set()
    for _ in range(50):
        asked = site.launch()
        assert asked["code_challenge_method"] == "S256"
        seen.add(asked["code_challenge"])
        site.callback(site.answer(asked))
    assert len(seen) == 50
    assert all(43 <= len(form["code_verifier"]) <= 128 for form in site.ehr.forms)


@pytest.mark.parametrize("methods", [["plain"], ["S256", "plain"], []])
def test_S06_an_issuer_that_takes_plain_is_refused(site: Site, methods: list[str]) -> None:
    site.ehr.configuration["code_challenge_methods_supported"] = methods
    answer = site.browser.get(f"/launch?iss={quote(site.ehr.iss)}&launch=x", headers=PAGE)
    assert answer.status_code == 502


def test_S09_a_callback_that_names_another_issuer_is_refused_before_the_code_leaves(site: Site) -> None:
    answer = site.answer(site.launch(), iss="https://evil.example")
    assert site.callback(answer).status_code == 400
    assert not site.ehr.forms


def test_S09_a_callback_that_names_its_issuer_passes(site: Site) -> None:
    assert site.callback(site.answer(site.launch(), iss=site.ehr.origin)).status_code == 303


def test_S09_an_issuer_that_promises_to_name_itself_must(site: Site) -> None:
    site.ehr.configuration["authorization_response_iss_parameter_supported"] = True
    assert site.callback(site.answer(site.launch())).status_code == 400


def test_S09_a_token_address_on_another_plain_host_is_refused(site: Site) -> None:
    site.ehr.configuration["token_endpoint"] = "http://evil.example/token"
    answer = site.browser.get(f"/launch?iss={quote(site.ehr.iss)}&launch=x", headers=PAGE)
    assert answer.status_code == 502


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"aud": "other"},
        {"nonce": "x" * 43},
        {"exp": 1},
        {"sub": None},
    ],
)
def test_S11_a_launch_with_a_false_id_token_opens_nothing(site: Site, change: dict[str, Any]) -> None:
    site.ehr.sign = lambda claims: jwt.encode(
        {"alg": "RS256", "kid": "one"}, {k: v for k, v in (claims | change).items() if v is not None}, KEY
    )
    answer = site.whole_launch()
    assert answer.status_code == 403
    assert not site.desk.opened
    assert not [c for c in site.ehr.calls if "Patient" in c]


def test_S11_a_launch_signed_by_another_key_opens_nothing(site: Site) -> None:
    site.ehr.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, OTHER_KEY)
    assert site.whole_launch().status_code == 403
    assert not site.desk.opened


def test_a_launch_without_id_token_opens_nothing(site: Site) -> None:
    site.ehr.sign = lambda _: None
    assert site.whole_launch().status_code == 403


def test_S14_a_code_of_another_launch_is_refused(site: Site) -> None:
    other = site.answer(site.launch())
    mine = site.answer(site.launch())
    assert site.callback(mine | {"code": other["code"]}).status_code == 502


def test_a_study_of_another_patient_is_refused_by_what_the_ehr_says(site: Site) -> None:
    site.ehr.put_study("s9", CT, patient="p2")
    site.ehr.context = {"fhirContext": [{"reference": "ImagingStudy/s9"}]}
    answer = site.whole_launch()
    assert answer.status_code == 403
    assert "another patient" in answer.text
    assert not site.desk.opened


def test_a_study_of_another_patient_is_refused_by_what_we_know(site: Site) -> None:
    site.ehr.put_study("s9", FOREIGN)  # the EHR is wrong
    site.ehr.context = {"fhirContext": [{"reference": "ImagingStudy/s9"}]}
    assert site.whole_launch().status_code == 403
    assert not site.desk.opened


def test_an_access_token_goes_only_to_the_issuers_own_server(site: Site, connects: list[Any]) -> None:
    site.ehr.context = {"fhirContext": [{"reference": "http://127.0.0.2:1/fhir/ImagingStudy/s1"}]}
    assert site.whole_launch().status_code == 403
    assert {to[0] for to in connects} == {"127.0.0.1"}


@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("path", ["/token", "/jwks", "/fhir/Patient/p1"])
def test_S38_no_redirect_is_followed_with_a_secret_in_hand(site: Site, path: str, status: int) -> None:
    asked = site.launch()
    site.ehr.statuses[path] = status
    assert site.callback(site.answer(asked)).status_code == 502
    assert "/elsewhere" not in site.ehr.calls


def test_S15_no_token_and_no_patient_in_addresses_cookies_or_logs(site: Site) -> None:
    site.desk.patients["M1", "HOSP"].append(Line(MR, description="MR knee"))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        asked = site.launch()
        answer = site.callback(site.answer(asked))
        page = site.browser.get(answer.headers["Location"], headers=PAGE)
        site.ehr.statuses["/fhir/Patient/p1"] = 500
        failed = site.whole_launch()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    logged = stream.getvalue()
    cookies = " ".join(answer.headers.getlist("Set-Cookie") + page.headers.getlist("Set-Cookie"))
    for token in (
        *site.ehr.tokens,
        *(f["code_verifier"] for f in site.ehr.forms),
        *(f["code"] for f in site.ehr.forms),
    ):
        for text in (logged, cookies, answer.headers["Location"], page.text, failed.text):
            assert token not in text
    for planted in ("Planted", "Penelope", "M1", "1980-02-03"):
        assert planted not in logged
        assert planted not in answer.headers["Location"]
        assert planted not in failed.text


def test_S16_the_viewers_session_is_new_with_every_entry(site: Site) -> None:
    site.viewer.set_cookie("__Host-bridge-viewer", "planted" * 7, domain="images.example")
    site.enter(site.whole_launch())
    cookie = site.viewer.get_cookie("__Host-bridge-viewer", "images.example")
    assert cookie is not None
    assert "planted" not in cookie.value


@pytest.mark.parametrize(("origin", "name"), [("public", "browser"), ("viewer", "viewer")])
def test_S17_cookies_are_for_one_host_http_only_and_secure(site: Site, origin: str, name: str) -> None:
    started = site.browser.get(f"/launch?iss={quote(site.ehr.iss)}&launch=x")
    entered = site.enter(site.callback(site.answer(authorization(started.headers["Location"]))))
    header = (started if origin == "public" else entered).headers["Set-Cookie"]
    assert header.startswith(f"__Host-bridge-{name}=")
    parts = {part.strip() for part in header.split(";")[1:]}
    assert parts == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


def test_without_tls_on_loopback_the_cookies_still_work(tmp_path: Path) -> None:
    with launch_site(tmp_path, public_url="http://localhost:8080") as site:
        started = site.browser.get(f"/launch?iss={quote(site.ehr.iss)}&launch=x")
        assert started.headers["Set-Cookie"].startswith("bridge-browser=")
        assert "Secure" not in started.headers["Set-Cookie"]
        assert "Strict-Transport-Security" not in started.headers


@pytest.mark.parametrize("path", ["/launch/open", "/logout", "/s/" + "x" * 43])
@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}])
def test_S19_a_form_that_is_not_ours_is_refused(site: Site, path: str, form: dict[str, str]) -> None:
    site.whole_launch()
    assert site.browser.post(path, data=form | {"study": CT}).status_code == 403


def test_S19_ending_the_viewers_session_needs_our_form(site: Site) -> None:
    site.enter(site.whole_launch())
    assert site.viewer.post("/launch/end").status_code == 403
    assert not site.desk.revoked


def test_S19_a_form_sent_from_another_site_is_refused(site: Site) -> None:
    site.desk.patients["M1", "HOSP"].append(Line(MR))
    where = site.whole_launch().headers["Location"]
    page = site.browser.get(where, headers=PAGE).text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    form = {"csrf": csrf, "at": where.rpartition("/")[2], "study": CT}
    for foreign in ("cross-site", "same-site"):
        assert site.browser.post("/launch/open", data=form, headers={"Sec-Fetch-Site": foreign}).status_code == 403
    assert site.browser.post("/launch/open", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


@pytest.mark.parametrize(
    "more", ["next=https://evil.example", "redirect_uri=//evil.example", "return=%0d%0aLocation:%20x", "url=\\\\evil"]
)
def test_S20_nothing_in_the_address_sends_the_browser_elsewhere(site: Site, more: str) -> None:
    started = site.browser.get(f"/launch?iss={quote(site.ehr.iss)}&launch=x&{more}")
    assert started.headers["Location"].startswith(f"{site.ehr.origin}/authorize?")
    answer = site.answer(authorization(started.headers["Location"]))
    query = f"code={answer['code']}&state={answer['state']}&{more}"
    assert site.browser.get(f"/launch/callback?{query}").headers["Location"].startswith(f"{VIEWER}/enter?")


def test_the_launch_handle_cannot_add_parameters_to_the_request(site: Site) -> None:
    asked = site.launch(launch="x&scope=system/*.*&state=mine#")
    assert asked["launch"] == "x&scope=system/*.*&state=mine#"
    assert asked["state"] != "mine"


def test_a_hand_over_code_works_once(site: Site) -> None:
    answer = site.whole_launch()
    assert site.enter(answer).status_code == 303
    again = site.enter(answer)
    assert again.status_code == 403
    assert not again.headers.getlist("Set-Cookie")


def test_a_hand_over_code_is_good_for_a_minute(site: Site) -> None:
    answer = site.whole_launch()
    site.clock.advance(61)
    assert site.enter(answer).status_code == 403


@pytest.mark.parametrize("code", ["x" * 43, "../../x", "", "a\x00b", "é" * 43])
def test_an_invented_hand_over_code_opens_nothing(site: Site, code: str) -> None:
    answer = site.viewer.get(f"/enter?code={quote(code)}", headers=PAGE)
    assert answer.status_code in (400, 403)
    assert not answer.headers.getlist("Set-Cookie")


def test_the_launch_pages_do_not_exist_on_the_viewers_origin(site: Site) -> None:
    for path in ("/launch", "/launch/callback", "/links", "/s/" + "x" * 43, "/ready"):
        assert site.viewer.get(path).status_code == 404


def test_the_viewers_door_does_not_exist_on_the_public_origin(site: Site) -> None:
    answer = site.whole_launch()
    parts = urlsplit(answer.headers["Location"])
    assert site.browser.get(f"{parts.path}?{parts.query}").status_code == 404
    assert site.enter(answer).status_code == 303


def test_the_viewers_token_is_worth_nothing_as_a_code_nor_a_code_as_token(site: Site) -> None:
    answer = site.whole_launch()
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    site.viewer.set_cookie("__Host-bridge-viewer", code, domain="images.example")
    assert site.viewer.get(f"/dicom-web/studies/{CT}").json == {"session": None}


LINK_FORGERIES: dict[str, dict[str, Any]] = {
    "unknown issuer": {"iss": "https://evil.example"},
    "issuer with a slash": {"iss": "https://portal.example/"},
    "other audience": {"aud": "other"},
    "no audience": {"aud": None},
    "expired": {"exp": 1},
    "good for too long": {"exp": 4102444800},
    "no exp": {"exp": None},
    "from the future": {"iat": 4102444800},
    "no iat": {"iat": None},
    "no jti": {"jti": None},
    "empty jti": {"jti": ""},
    "jti without end": {"jti": "x" * 201},
    "no sub": {"sub": None},
    "no study": {"study": None},
    "study is no UID": {"study": "../../x"},
    "study is a list": {"study": [CT]},
    "not yet": {"nbf": 4102444800},
}


@pytest.mark.parametrize("change", LINK_FORGERIES.values(), ids=LINK_FORGERIES.keys())
def test_S22_an_unfit_link_token_makes_no_link(site: Site, change: dict[str, Any]) -> None:
    answer = site.make_link(site.link_token(**change))
    assert answer.status_code == 401
    assert not site.desk.links


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "e30.e30.",
        "eyJhbGciOiJub25lIn0.e30.",
        "x" * 20000,
    ],
)
def test_rubbish_makes_no_link(site: Site, token: str) -> None:
    assert site.make_link(token).status_code == 401


def test_a_link_token_signed_by_the_ehr_makes_no_link(site: Site) -> None:
    token = jwt.encode({"alg": "RS256", "kid": "portal"}, {"iss": "https://portal.example"}, KEY)
    assert site.make_link(token).status_code == 401


def test_S21_no_changed_link_token_makes_a_link(site: Site) -> None:
    token = site.link_token()
    for place in range(0, len(token) - 1, 5):
        if token[place] == "." or token[place + 1] == ".":
            continue
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert site.make_link(changed).status_code == 401
    assert not site.desk.links


def test_a_link_token_with_a_key_in_its_header_makes_no_link(site: Site) -> None:
    header = {"alg": "ES384", "kid": "portal", "jwk": PORTAL_KEY.as_dict(private=False)}
    assert site.make_link(site.link_token(header=header)).status_code == 401


def test_S25_a_link_cannot_be_opened_without_our_page(site: Site) -> None:
    path = site.make_link(site.link_token()).json["url"].removeprefix(PUBLIC)
    assert stranger(site).post(path).status_code == 403
    page = site.browser.get(path, headers=PAGE).text
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert stranger(site).post(path, data={"csrf": csrf}).status_code == 403
    assert not site.desk.spent_links


def test_S33_what_the_ehr_says_is_text(site: Site) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    site.ehr.resources["Patient/p1"]["name"] = [{"family": evil, "given": [evil]}]
    site.desk.patients["M1", "HOSP"] = [Line(CT, description=evil), Line(MR, description=evil)]
    page = site.browser.get(site.whole_launch().headers["Location"], headers=PAGE).text
    assert "<script>alert" not in page
    assert "<img" not in page


def test_S60_bad_input_never_shows_our_inside(site: Site) -> None:
    asked = site.launch()
    for query in ("state[]=x", "state=%ff%fe", "state=" + "x" * 5000, "state=a&state=b", f"state={asked['state']}"):
        text = site.browser.get(f"/launch/callback?{query}", headers=PAGE).text
        for inside in ("Traceback", "/work/", "site-packages", "SELECT", 'File "'):
            assert inside not in text


HERE = "127.0.0.1"


def test_a_false_state_is_audited_by_its_address(site: Site) -> None:
    answer = site.answer(site.launch())
    site.callback(answer)
    site.callback(answer)
    site.callback(answer | {"state": "x" * 43}, stranger(site))
    assert site.desk.turned_away == [(HERE, "launch", "state")] * 2


@pytest.mark.parametrize("code", ["x" * 43, "../../x"])
def test_a_false_hand_over_code_is_audited_by_its_address(site: Site, code: str) -> None:
    site.viewer.get(f"/enter?code={quote(code)}", headers=PAGE)
    assert site.desk.turned_away == [(HERE, "enter", "handover")]


def test_a_false_issuer_is_audited_by_its_address(site: Site) -> None:
    site.browser.get("/launch?iss=https://evil.example&launch=x")
    assert site.desk.turned_away == [(HERE, "launch", "unknown-issuer")]


def test_a_false_link_is_audited_by_its_address(site: Site) -> None:
    site.browser.get("/s/short", headers=PAGE)
    path = "/s/" + "x" * 43
    csrf = site.browser.get(path, headers=PAGE).text.split('name="csrf" value="')[1].split('"')[0]
    assert site.browser.post(path, data={"csrf": csrf}, headers=PAGE).status_code == 404
    assert site.desk.turned_away == [(HERE, "link-opened", "link-unknown")] * 2


def test_a_foreign_study_asked_from_a_live_session_is_audited(site: Site) -> None:
    site.enter(site.whole_launch())
    site.viewer.get(f"/dicom-web/studies/{CT}")
    assert site.desk.images_refused == []
    site.viewer.get(f"/dicom-web/studies/{FOREIGN}")
    assert site.desk.images_refused == [(1, FOREIGN)]


def test_nobody_without_a_session_writes_a_row_by_asking_for_images(site: Site) -> None:
    site.viewer.get(f"/dicom-web/studies/{FOREIGN}")
    assert site.desk.images_refused == []
