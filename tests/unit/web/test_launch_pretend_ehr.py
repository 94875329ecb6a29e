"""The whole launch against the sandbox's EHR: Authlib's authorisation server and a FHIR server of foreign make."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from bridge.clock import ManualClock, SystemClock
from bridge.config import Settings
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.ris import HOSPITAL, DemoPatient
from bridge.smart.client import SmartClient
from bridge.web.factory import create_public_app
from bridge.web.ports import Deps
from tests.fakes.launch_desk import FakeDesk, Line
from tests.fakes.launch_site import CT, MR, PAGE, PUBLIC, VIEWER, Browser, client


@pytest.fixture(scope="module")
def ehr() -> Iterator[PretendEhr]:
    with PretendEhr(redirect_uris=[f"{PUBLIC}/launch/callback"]) as ehr:
        yield ehr


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk(ManualClock(datetime.now(UTC)), {("100234", "HOSP"): [Line(CT), Line(MR)]})


@pytest.fixture
def browser(ehr: PretendEhr, desk: FakeDesk) -> Browser:
    settings = Settings.model_validate(
        {
            "issuer": [{"name": "HOSP", "system": HOSPITAL.system}],
            "web": {"public_url": PUBLIC, "viewer_url": VIEWER},
            "launch": {"smart": [{"iss": ehr.fhir_base, "client_id": ehr.client_id}]},
        }
    )
    smart = SmartClient(
        settings.launch.smart, settings.issuers, redirect_uri=f"{PUBLIC}/launch/callback", clock=SystemClock()
    )
    return client(create_public_app(Deps(settings, desk, SystemClock(), smart, dict)), PUBLIC)


@pytest.fixture(scope="module")
def patient(ehr: PretendEhr) -> str:
    return ehr.put_patient(DemoPatient("100234", "Okafor", "Amara", date(1968, 4, 12), "F"))


def put_study(ehr: PretendEhr, patient: str, uid: str) -> str:
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
    }
    answer = requests.post(f"{ehr.fhir_base}/ImagingStudy", json=study, timeout=10)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def launched(ehr: PretendEhr, browser: Browser, handle: str) -> Any:
    start = browser.get(f"/launch?{urlencode({'iss': ehr.fhir_base, 'launch': handle})}", headers=PAGE)
    assert start.status_code == 303, start.text
    back = requests.get(start.headers["Location"], allow_redirects=False, timeout=10).headers["Location"]
    assert back.startswith(f"{PUBLIC}/launch/callback?")
    return browser.get(f"/launch/callback?{urlsplit(back).query}", headers=PAGE)


def test_a_launch_for_a_patient_lists_what_there_is(ehr: PretendEhr, browser: Browser, patient: str) -> None:
    answer = launched(ehr, browser, ehr.new_launch(patient))
    page = browser.get(answer.headers["Location"], headers=PAGE)
    assert "Okafor, Amara" in page.text
    assert page.text.count('name="study"') == 2


def test_a_launch_for_a_study_opens_it(ehr: PretendEhr, browser: Browser, desk: FakeDesk, patient: str) -> None:
    answer = launched(ehr, browser, ehr.new_launch(patient, put_study(ehr, patient, MR)))
    assert answer.headers["Location"].startswith(f"{VIEWER}/enter?code="), answer.text
    assert desk.opened[1][2] == {MR}
    assert desk.opened[1][0].name == "Dr Demo"


def test_a_used_launch_handle_opens_nothing(ehr: PretendEhr, browser: Browser, desk: FakeDesk, patient: str) -> None:
    handle = ehr.new_launch(patient)
    launched(ehr, browser, handle)
    before = len(desk.opened)
    assert launched(ehr, browser, handle).status_code == 403
    assert len(desk.opened) == before
