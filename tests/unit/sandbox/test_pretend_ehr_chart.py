"""The chart pages and the FHIR door of the pretend EHR."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from bridge.clock import ManualClock
from bridge.errors import NotAllowed, NotFound
from bridge.sandbox.authorization_state import LAUNCH_SECONDS, LaunchContext, State
from bridge.sandbox.chart import age, spoken_time
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.ris import DemoOrder, DemoPatient

LAUNCH = "http://127.0.0.1:9/smart/launch"


def a_study(ehr: PretendEhr, patient_id: str, **more: object) -> str:
    resource = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": f"Patient/{patient_id}"},
        "numberOfSeries": 2,
        "numberOfInstances": 48,
        "description": "CT chest <late>",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}],
        **more,
    }
    answer = requests.post(f"{ehr.fhir_base}/ImagingStudy", json=resource, timeout=10)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def a_patient(ehr: PretendEhr, mrn: str) -> str:
    return ehr.put_patient(DemoPatient(mrn, "Lindqvist", "Erik", date(1951, 9, 3), "M"))


def test_every_page_says_that_it_is_pretend(ehr: PretendEhr, patient_id: str) -> None:
    for path in ("/", f"/chart/{patient_id}", "/chart/unknown"):
        assert "demo data only" in requests.get(ehr.issuer + path, timeout=10).text


def test_the_same_medical_record_number_is_the_same_patient(ehr: PretendEhr) -> None:
    first = ehr.put_patient(DemoPatient("77", "Before", "A", date(1970, 1, 1), "F"))
    assert ehr.put_patient(DemoPatient("77", "After", "A", date(1970, 1, 1), "F")) == first
    assert "After" in requests.get(ehr.chart_url(first), timeout=10).text


def test_patient_is_found_by_identifier_system_and_value(
    ehr: PretendEhr, patient_id: str, patient: DemoPatient
) -> None:
    query = {"identifier": f"{patient.authority.system}|100234"}
    found = requests.get(f"{ehr.fhir_base}/Patient", params=query, timeout=10).json()
    assert [e["resource"]["id"] for e in found["entry"]] == [patient_id]


def test_links_and_location_name_the_address_of_the_ehr(ehr: PretendEhr, patient_id: str) -> None:
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": f"Patient/{patient_id}"},
    }
    made = requests.post(f"{ehr.fhir_base}/ImagingStudy", json=study, timeout=10)
    assert made.headers["Location"].startswith(f"{ehr.fhir_base}/ImagingStudy/")
    bundle = requests.get(f"{ehr.fhir_base}/ImagingStudy?_count=1", timeout=10).json()
    addresses = [link["url"] for link in bundle["link"]] + [e["fullUrl"] for e in bundle["entry"]]
    assert all(address.startswith(ehr.fhir_base) for address in addresses)


def test_fhir_passes_conditions_and_versions_on(ehr: PretendEhr, patient_id: str) -> None:
    read = requests.get(f"{ehr.fhir_base}/Patient/{patient_id}", timeout=10)
    stale = requests.put(
        f"{ehr.fhir_base}/Patient/{patient_id}", json=read.json(), headers={"If-Match": 'W/"999"'}, timeout=10
    )
    assert read.headers["ETag"].startswith("W/")
    assert stale.status_code == 412


def test_orders_are_not_answered_by_a_simulator(ehr: PretendEhr, order: DemoOrder) -> None:
    patient_id = a_patient(ehr, "88")
    ehr.put_order(order, patient_id)
    found = requests.get(f"{ehr.fhir_base}/ImagingStudy?patient={patient_id}", timeout=10).json()
    assert found["total"] == 0


def test_order_waits_until_a_study_is_based_on_it(ehr: PretendEhr, order: DemoOrder) -> None:
    patient_id = a_patient(ehr, "89")
    order_id = ehr.put_order(order, patient_id)
    assert "Waiting for images" in requests.get(ehr.chart_url(patient_id), timeout=10).text
    a_study(ehr, patient_id, basedOn=[{"reference": f"ServiceRequest/{order_id}"}])
    page = requests.get(ehr.chart_url(patient_id), timeout=10).text
    assert "Waiting for images" not in page
    assert "2 series" in page
    assert "48" in page


def test_the_time_of_an_order_is_when_it_is_scheduled(ehr: PretendEhr, order: DemoOrder) -> None:
    patient_id = a_patient(ehr, "89s")
    ehr.put_order(order, patient_id)
    page = requests.get(ehr.chart_url(patient_id), timeout=10).text
    assert '<th scope="col">Scheduled</th>' in page
    assert "25 Nov 2026, 09:30" in page


def test_an_order_without_a_time_has_none(ehr: PretendEhr) -> None:
    patient_id = a_patient(ehr, "89n")
    resource = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{patient_id}"},
        "authoredOn": "2026-11-25T08:15:00+01:00",
    }
    requests.post(f"{ehr.fhir_base}/ServiceRequest", json=resource, timeout=10).raise_for_status()
    assert ehr.records.chart(patient_id)[2][0].due == ""


def listed(ehr: PretendEhr, **more: object) -> bool:
    """Whether the list of patients links a Patient that somebody made by FHIR."""
    made = requests.post(f"{ehr.fhir_base}/Patient", json={"resourceType": "Patient", **more}, timeout=10).json()
    return f"/chart/{made['id']}" in requests.get(f"{ehr.issuer}/", timeout=10).text


def test_a_patient_without_a_record_number_is_listed(ehr: PretendEhr) -> None:
    assert listed(ehr, name=[{"family": "Nobody"}])


def test_a_record_number_without_a_type_is_listed(ehr: PretendEhr) -> None:
    assert listed(ehr, identifier=[{"system": "urn:oid:2.25.1", "value": "X1"}])


def test_a_patient_who_is_no_longer_active_is_not_listed(ehr: PretendEhr) -> None:
    assert not listed(ehr, active=False)


def test_text_from_a_resource_is_escaped(ehr: PretendEhr) -> None:
    patient_id = a_patient(ehr, "90")
    a_study(ehr, patient_id)
    page = requests.get(ehr.chart_url(patient_id), timeout=10).text
    assert "CT chest &lt;late&gt;" in page


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_withdrawn_study_is_not_shown(ehr: PretendEhr, status: str) -> None:
    patient_id = a_patient(ehr, f"91{status}")
    a_study(ehr, patient_id, status=status)
    assert "No imaging studies yet" in requests.get(ehr.chart_url(patient_id), timeout=10).text


def test_button_opens_the_bridge_with_iss_and_a_fresh_handle(ehr: PretendEhr) -> None:
    patient_id = a_patient(ehr, "92")
    study = a_study(ehr, patient_id)
    browser = requests.Session()
    browser.get(ehr.chart_url(patient_id), timeout=10)
    form = {"patient": patient_id, "study": study}
    pressed = [
        browser.post(f"{ehr.issuer}/launch", data=form, allow_redirects=False, timeout=10).headers["Location"]
        for _ in range(2)
    ]
    asked = [parse_qs(urlsplit(target).query) for target in pressed]
    assert all(target.startswith(LAUNCH + "?") for target in pressed)
    assert asked[0]["iss"] == [ehr.fhir_base]
    assert asked[0]["launch"] != asked[1]["launch"]


def test_another_site_cannot_press_the_button(ehr: PretendEhr, patient_id: str) -> None:
    answer = requests.post(f"{ehr.issuer}/launch", data={"patient": patient_id}, allow_redirects=False, timeout=10)
    assert answer.status_code == 403


@pytest.fixture
def linking(ehr: PretendEhr) -> Iterator[list[str]]:
    """The Study Instance UIDs that a link was asked for, while the EHR has somebody who makes links."""
    asked: list[str] = []

    def make(uid: str) -> str:
        asked.append(uid)
        return "http://127.0.0.1:9/s/opaque"

    ehr.make_link = make
    yield asked
    ehr.make_link = None


def press_link(ehr: PretendEhr, patient_id: str, study: str) -> requests.Response:
    browser = requests.Session()
    browser.get(ehr.chart_url(patient_id), timeout=10)
    form = {"patient": patient_id, "study": study}
    return browser.post(f"{ehr.issuer}/link", data=form, allow_redirects=False, timeout=10)


UID = {"identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.4711"}]}


def test_second_button_has_a_link_made_for_the_study_and_goes_there(ehr: PretendEhr, linking: list[str]) -> None:
    patient_id = a_patient(ehr, "95")
    answer = press_link(ehr, patient_id, a_study(ehr, patient_id, **UID))
    assert (answer.status_code, answer.headers["Location"]) == (303, "http://127.0.0.1:9/s/opaque")
    assert linking == ["2.25.4711"]


def test_no_link_is_made_for_another_patients_study(ehr: PretendEhr, linking: list[str]) -> None:
    study = a_study(ehr, a_patient(ehr, "96"), **UID)
    assert press_link(ehr, a_patient(ehr, "97"), study).status_code == 403
    assert linking == []


def test_another_site_cannot_have_a_link_made(ehr: PretendEhr, linking: list[str]) -> None:
    patient_id = a_patient(ehr, "98")
    form = {"patient": patient_id, "study": a_study(ehr, patient_id, **UID)}
    assert requests.post(f"{ehr.issuer}/link", data=form, allow_redirects=False, timeout=10).status_code == 403
    assert linking == []


def test_link_that_the_bridge_refuses_is_a_plain_page(ehr: PretendEhr, linking: list[str]) -> None:
    def refuse(_: str) -> str:
        raise requests.HTTPError

    ehr.make_link = refuse
    patient_id = a_patient(ehr, "99")
    answer = press_link(ehr, patient_id, a_study(ehr, patient_id, **UID))
    assert (answer.status_code, "made no link" in answer.text) == (502, True)


@pytest.mark.parametrize("links", [True, False])
def test_second_button_is_there_only_with_somebody_who_makes_links(
    ehr: PretendEhr, linking: list[str], links: bool
) -> None:
    if not links:
        ehr.make_link = None
    patient_id = a_patient(ehr, f"9{links}")
    a_study(ehr, patient_id)
    assert ("Open by signed link" in requests.get(ehr.chart_url(patient_id), timeout=10).text) is links


def test_foreign_host_name_is_refused(ehr: PretendEhr) -> None:
    assert requests.get(ehr.issuer, headers={"Host": "evil.example"}, timeout=10).status_code == 400


def test_study_of_another_patient_cannot_be_launched(ehr: PretendEhr) -> None:
    study = a_study(ehr, a_patient(ehr, "93"))
    with pytest.raises(NotAllowed):
        ehr.new_launch(a_patient(ehr, "94"), study)


def test_unknown_study_cannot_be_launched(ehr: PretendEhr, patient_id: str) -> None:
    with pytest.raises(NotFound):
        ehr.new_launch(patient_id, "no-such-study")


@pytest.mark.parametrize("patient_id", ["no-such-patient", ""])
def test_unknown_patient_cannot_be_launched(ehr: PretendEhr, patient_id: str) -> None:
    with pytest.raises(NotFound):
        ehr.new_launch(patient_id)


def test_launch_handle_dies_after_its_time() -> None:
    clock = ManualClock(datetime.fromisoformat("2026-11-25T09:00:00+00:00"))
    state = State(clock)
    handle = state.new_launch(LaunchContext("p"))
    clock.advance(LAUNCH_SECONDS)
    assert state.take_launch(handle) is None


def test_stopped_ehr_frees_its_port() -> None:
    ehr = PretendEhr()
    ehr.start()
    port = int(ehr.issuer.rpartition(":")[2])
    ehr.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(("born", "years"), [("1968-11-25", "58"), ("1968-11-26", "57"), ("1968", ""), ("", "")])
def test_age_in_full_years(born: str, years: str) -> None:
    assert age(born, date(2026, 11, 25)) == years


@pytest.mark.parametrize(("text", "shown"), [("1968-04-02", "2 Apr 1968"), ("1968", "1968"), ("", "–")])
def test_dates_are_shown_as_people_write_them(text: str, shown: str) -> None:
    assert spoken_time(text) == shown
