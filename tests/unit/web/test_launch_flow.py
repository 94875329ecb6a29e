"""From the chart to the viewer's door (SMART App Launch 2.2, EHR launch)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotFound
from bridge.web.factory import create_viewer_app
from bridge.web.viewer.files import seal
from bridge.web.viewer.serve import viewer_blueprint
from tests.fakes.launch_desk import Line
from tests.fakes.launch_site import CT, FOREIGN, MR, PAGE, PUBLIC, VIEWER, Browser, Site, client
from tests.fakes.smart_ehr import CLIENT


def fields(page: str) -> dict[str, str]:
    return dict(re.findall(r'name="(csrf|at)" value="([^"]+)"', page))


def listed(site: Site) -> tuple[str, dict[str, str]]:
    """A launch of a patient with two studies, at its list: the address and the form's fields."""
    site.desk.patients["M1", "HOSP"] = [
        Line(CT, date(2026, 3, 1), "CT head", ("CT", "SR"), 200),
        Line(MR, date(2026, 4, 1), "MR <knee>", ("MR",), 1),
    ]
    answer = site.whole_launch()
    where = answer.headers["Location"]
    return where, fields(site.browser.get(where, headers=PAGE).text)


def test_the_authorization_request_holds_what_smart_demands(site: Site) -> None:
    asked = site.launch()
    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT
    assert asked["redirect_uri"] == f"{PUBLIC}/launch/callback"
    assert asked["aud"] == site.ehr.iss
    assert asked["launch"] == "handle"
    assert asked["scope"] == site.deps.settings.launch.smart[0].scopes
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) >= 22
    assert len(asked["nonce"]) >= 22


def test_a_single_study_opens_in_the_viewer(site: Site) -> None:
    entered = site.enter(site.whole_launch())
    assert entered.headers["Location"] == f"/viewer?StudyInstanceUIDs={CT}"
    assert site.viewer.get(f"/dicom-web/studies/{CT}").json == {"session": 1}


def test_the_session_is_the_users_who_signed_in(site: Site) -> None:
    site.whole_launch()
    user, origin, _ = site.desk.opened[1]
    assert (user.issuer, user.subject, user.name, origin) == (site.ehr.origin, "dr-demo", "Dr Demo", "smart")


def test_the_study_of_the_launch_opens_though_there_are_others(site: Site) -> None:
    site.desk.patients["M1", "HOSP"].append(Line(MR))
    site.ehr.put_study("s1", MR)
    site.ehr.context = {"fhirContext": [{"reference": "ImagingStudy/s1"}]}
    assert site.enter(site.whole_launch()).headers["Location"] == f"/viewer?StudyInstanceUIDs={MR}"


def test_several_studies_are_listed_newest_first_under_the_patients_name(site: Site) -> None:
    where, _ = listed(site)
    page = site.browser.get(where, headers=PAGE).text
    assert page.index("MR &lt;knee&gt;") < page.index("CT head")
    assert "Planted, Penelope" in page
    assert "1980-02-03" in page
    assert "CT, SR · 200 images" in page


def test_a_chosen_study_opens_and_the_list_can_be_used_again(site: Site) -> None:
    where, form = listed(site)
    for study in (CT, MR, CT):
        answer = site.browser.post("/launch/open", data=form | {"study": study}, headers=PAGE)
        assert site.enter(answer).headers["Location"] == f"/viewer?StudyInstanceUIDs={study}"
    assert site.browser.get(where, headers=PAGE).status_code == 200


def test_a_study_that_is_not_in_the_list_does_not_open(site: Site) -> None:
    _, form = listed(site)
    for study in (FOREIGN, "", "1.2"):
        assert site.browser.post("/launch/open", data=form | {"study": study}, headers=PAGE).status_code == 404


def test_no_images_yet_is_a_page_that_opens_them_when_they_come(site: Site) -> None:
    studies = site.desk.patients.pop(("M1", "HOSP"))
    where = site.whole_launch().headers["Location"]
    page = site.browser.get(where, headers=PAGE)
    assert page.status_code == 200
    assert "No images yet" in page.text
    assert page.headers["Refresh"] == "15"
    site.desk.patients["M1", "HOSP"] = studies
    assert site.enter(site.browser.get(where, headers=PAGE)).headers["Location"].endswith(CT)


def test_a_waiting_page_belongs_to_one_browser(site: Site) -> None:
    where, _ = listed(site)
    stranger = Browser(site.browser.application, use_cookies=True)
    stranger.home = PUBLIC
    assert stranger.get(where, headers=PAGE).status_code == 401
    stranger.get("/s/" + "x" * 43)  # gets a browser cookie of its own
    assert stranger.get(where, headers=PAGE).status_code == 401


def test_two_lists_in_two_tabs_never_mix(site: Site) -> None:
    first, _ = listed(site)
    site.desk.patients["M1", "HOSP"] = [Line("1.5"), Line("1.6")]
    second = site.whole_launch().headers["Location"]
    assert "CT head" in site.browser.get(first, headers=PAGE).text
    assert 'value="1.5"' in site.browser.get(second, headers=PAGE).text


def test_two_patients_in_two_tabs_stay_two_launches(site: Site) -> None:
    site.enter(site.whole_launch())
    site.ehr.resources["Patient/p1"]["identifier"][0]["value"] = "M2"
    site.enter(site.whole_launch())
    assert site.viewer.get(f"/dicom-web/studies/{CT}").json == {"session": 1}
    assert site.viewer.get(f"/dicom-web/studies?StudyInstanceUID={FOREIGN}").json == {"session": 2}
    assert site.viewer.get("/dicom-web/studies").json == {"session": 2}


def test_the_viewers_cookie_keeps_four_launches_and_no_dead_ones(site: Site) -> None:
    for _ in range(6):
        site.enter(site.whole_launch())
    cookie = site.viewer.get_cookie("__Host-bridge-viewer", "images.example")
    assert cookie is not None
    assert cookie.value.count(".") == 3
    site.desk.revoked.update(range(1, 7))
    site.enter(site.whole_launch())
    cookie = site.viewer.get_cookie("__Host-bridge-viewer", "images.example")
    assert cookie is not None
    assert cookie.value.count(".") == 0


def test_logout_on_the_list_ends_the_viewers_access(site: Site) -> None:
    where, form = listed(site)
    site.enter(site.browser.post("/launch/open", data=form | {"study": CT}, headers=PAGE))
    assert site.browser.post("/logout", data=form, headers=PAGE).status_code == 200
    assert site.viewer.get(f"/dicom-web/studies/{CT}").json == {"session": None}
    assert site.browser.get(where, headers=PAGE).status_code == 401


def test_the_viewers_origin_ends_every_session_of_its_browser(site: Site) -> None:
    site.enter(site.whole_launch())
    form = fields(site.viewer.get("/launch/end", headers=PAGE).text)
    assert site.viewer.post("/launch/end", data=form, headers=PAGE).status_code == 200
    assert site.desk.revoked == {1}


def test_what_cannot_be_shown_has_a_page_that_says_no_more_than_that(site: Site) -> None:
    page = site.viewer.get("/launch/expired", headers=PAGE)
    assert page.status_code == 200
    assert "session has ended" not in page.text  # it may live: a fifth tab pushed these images out
    assert "cannot be shown any more here" in page.text
    assert f'href="{VIEWER}/launch/end"' in page.text


def test_the_list_of_studies_says_how_to_close_all(site: Site) -> None:
    where, _ = listed(site)
    assert f'href="{VIEWER}/launch/end"' in site.browser.get(where, headers=PAGE).text


def test_the_page_that_says_all_is_closed_offers_no_closing(site: Site) -> None:
    site.enter(site.whole_launch())
    form = fields(site.viewer.get("/launch/end", headers=PAGE).text)
    assert "Close my images" not in site.viewer.post("/launch/end", data=form, headers=PAGE).text


@pytest.mark.parametrize("origin", ["browser", "viewer"])
def test_the_front_page_says_where_images_are_opened(site: Site, origin: str) -> None:
    page = getattr(site, origin).get("/", headers=PAGE)
    assert page.status_code == 200
    assert "Open images from the chart" in page.text and site.deps.settings.site.name in page.text


def with_ohif(site: Site, folder: Path) -> Browser:
    ohif = replace(site.deps, viewer=(lambda _: viewer_blueprint(folder, investigational_banner=False),))
    return client(create_viewer_app(ohif), VIEWER)


def test_the_viewers_front_page_is_ours_not_ohifs(site: Site, tmp_path: Path) -> None:
    assert "Open images from the chart" in with_ohif(site, tmp_path).get("/", headers=PAGE).text


def test_a_person_at_an_unknown_address_of_the_viewer_gets_a_page(site: Site, tmp_path: Path) -> None:
    seal(tmp_path, "1.0", "sha512-x", 1, lambda *_: None)
    ohif = with_ohif(site, tmp_path)
    page, program = (ohif.get("/dicomweb/studies", headers={"Accept": a}) for a in ("text/html", "application/json"))
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert (program.status_code, program.mimetype) == (404, "application/problem+json")


def test_only_the_first_look_of_a_waiting_launch_is_audited(site: Site) -> None:
    site.desk.patients.clear()
    where = site.whole_launch().headers["Location"]
    site.browser.get(where, headers=PAGE)
    site.browser.get(where, headers=PAGE)
    assert site.desk.quiet == [False, True, True]


def test_the_list_is_gone_when_the_session_is_over(site: Site) -> None:
    where, _ = listed(site)
    site.clock.advance(3601)
    assert site.browser.get(where, headers=PAGE).status_code == 401


def test_a_secret_is_sent_by_basic_authentication_when_the_site_has_one(site: Site, tmp_path: Any) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    issuer = site.deps.settings.launch.smart[0]
    object.__setattr__(issuer, "__dict__", issuer.__dict__ | {"client_secret_file": tmp_path / "secret"})
    site.whole_launch()
    assert site.ehr.authorizations == ["Basic aW1hZ2luZy1icmlkZ2U6czNjcmV0"]


def test_a_public_client_names_itself_in_the_body(site: Site) -> None:
    site.whole_launch()
    assert site.ehr.forms[0]["client_id"] == CLIENT
    assert site.ehr.authorizations == [""]


def test_an_ehr_that_is_down_is_a_503_that_may_be_tried_again(site: Site) -> None:
    asked = site.launch()
    site.ehr.statuses["/token"] = 503
    answer = site.callback(site.answer(asked))
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_an_ehr_that_refuses_the_token_is_a_502(site: Site) -> None:
    asked = site.launch()
    site.ehr.statuses["/fhir/Patient/p1"] = 401
    assert site.callback(site.answer(asked)).status_code == 502


def test_a_user_who_says_no_gets_a_clear_page(site: Site) -> None:
    answer = site.callback({"error": "access_denied", "state": site.launch()["state"]})
    assert answer.status_code == 403
    assert "did not agree" in answer.text


def test_a_patient_without_a_known_number_gets_a_clear_page(site: Site) -> None:
    site.ehr.resources["Patient/p1"]["identifier"] = []
    answer = site.whole_launch()
    assert answer.status_code == 403
    assert "not known here" in answer.text


def test_a_desk_that_knows_the_patient_but_no_study_waits(site: Site) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise NotFound("none")

    site.desk.open = nothing  # type: ignore[method-assign,assignment]
    assert site.whole_launch().headers["Location"].startswith("/launch/at/")


def test_the_hand_over_leads_to_the_viewers_origin(site: Site) -> None:
    assert site.whole_launch().headers["Location"].startswith(f"{VIEWER}/enter?code=")
