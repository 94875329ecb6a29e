"""The foreign peers are what the other tests take them for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import ModalityPerformedProcedureStep, Verification  # type: ignore[attr-defined]

from tests.peers.available import need
from tests.peers.hapi import FhirValidator, HapiServer
from tests.peers.mpps import mpps

DCM = "http://dicom.nema.org/resources/ontology/DCM"
GOOD: dict[str, Any] = {
    "resourceType": "ImagingStudy",
    "id": "a",
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
    "status": "available",
    "subject": {"reference": "Patient/1"},
    "modality": [{"system": DCM, "code": "CT"}],
    "series": [
        {
            "uid": "1.2.3.4",
            "modality": {"system": DCM, "code": "CT"},
            "instance": [
                {
                    "uid": "1.2.3.4.5",
                    "sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"},
                }
            ],
        }
    ],
}
FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "status of no value set": lambda r: r.update(status="bogus"),
    "empty subject": lambda r: r.update(subject={}),
    "no subject": lambda r: r.pop("subject"),
    "subject that is an Endpoint": lambda r: r.update(subject={"reference": "Endpoint/1"}),
    "empty list": lambda r: r.update(modality=[]),
    "unknown field": lambda r: r.update(colour="red"),
    "series without modality": lambda r: r["series"][0].pop("modality"),
    "modality that DICOM does not have": lambda r: r["modality"][0].update(code="ZZZ"),
    "number as text": lambda r: r.update(numberOfSeries="1"),
    "time without zone": lambda r: r.update(started="2026-01-02T03:04:05"),
}


def test_a_missing_peer_is_a_failure_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        need("no-such-program")


def test_a_missing_peer_is_a_loud_skip_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.warns(UserWarning, match="MISSING PEER no-such-program"), pytest.raises(pytest.skip.Exception):
        need("no-such-program")


@pytest.mark.peer("hapi")
def test_a_reset_leaves_the_ehr_empty(empty_hapi: HapiServer) -> None:
    patients = f"{empty_hapi.base_url}/Patient"
    assert requests.post(patients, json={"resourceType": "Patient"}, timeout=30).status_code == 201
    assert requests.get(patients, params={"_summary": "count"}, timeout=30).json()["total"] == 1
    empty_hapi.reset()
    assert requests.get(patients, params={"_summary": "count"}, timeout=30).json()["total"] == 0


@pytest.mark.peer("hapi")
@pytest.mark.parametrize("modality", ["CT", "DOC", "M3D"])
def test_a_good_study_has_no_finding(fhir_validator: FhirValidator, modality: str) -> None:
    study = copy.deepcopy(GOOD)
    study["series"][0]["modality"]["code"] = modality
    assert fhir_validator.validate([study]) == []


@pytest.mark.peer("hapi")
@pytest.mark.parametrize("fault", FAULTS)
def test_the_validator_finds_the_fault(fhir_validator: FhirValidator, fault: str) -> None:
    study = copy.deepcopy(GOOD)
    FAULTS[fault](study)
    assert [issue.index for issue in fhir_validator.validate([GOOD, study]) if issue.is_error][:1] == [1]


@pytest.mark.peer("hapi")
@pytest.mark.parametrize("text", ['{"resourceType":"Patient","id":"a","id":"b"}', "not JSON", "{", ""])
def test_text_that_is_not_sound_json_is_an_error(fhir_validator: FhirValidator, text: str) -> None:
    assert any(issue.is_error for issue in fhir_validator.validate_texts([text]))


@pytest.fixture
def mpps_scp() -> Iterator[tuple[int, list[tuple[str, str, Dataset]]]]:
    """A pynetdicom MPPS SCP of the title BRIDGE; refuses every N-SET as a final step does (0110)."""
    seen: list[tuple[str, str, Dataset]] = []

    def create(event: Event) -> tuple[int, Dataset]:
        seen.append(("create", str(event.request.AffectedSOPInstanceUID), event.attribute_list))  # type: ignore[union-attr]
        return 0x0000, event.attribute_list

    def change(event: Event) -> tuple[int, None]:
        seen.append(("set", str(event.request.RequestedSOPInstanceUID), event.modification_list))  # type: ignore[union-attr]
        return 0x0110, None

    ae = AE("BRIDGE")
    ae.require_called_aet = True
    ae.add_supported_context(ModalityPerformedProcedureStep)
    ae.add_supported_context(Verification)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_CREATE, create), (evt.EVT_N_SET, change)]
    )
    assert server is not None
    yield server.server_address[1], seen
    server.shutdown()


@pytest.mark.peer("dimse")
def test_the_foreign_modality_creates_a_step(mpps_scp: tuple[int, list[tuple[str, str, Dataset]]]) -> None:
    port, seen = mpps_scp
    step = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Müller^Jörg",
        "ScheduledStepAttributesSequence": [{"StudyInstanceUID": "1.2.3"}],
        "PerformedSeriesSequence": [],
    }
    assert mpps(port, "create", "1.2.9", step) == {"status": 0, "comment": "", "sopInstanceUID": "1.2.9"}
    verb, uid, attributes = seen[0]
    assert (verb, uid, str(attributes.PatientName)) == ("create", "1.2.9", "Müller^Jörg")
    assert attributes.ScheduledStepAttributesSequence[0].StudyInstanceUID == "1.2.3"


@pytest.mark.peer("dimse")
def test_the_foreign_modality_reports_a_refused_set(mpps_scp: tuple[int, list[tuple[str, str, Dataset]]]) -> None:
    port, seen = mpps_scp
    assert mpps(port, "set", "1.2.9", {"PerformedProcedureStepStatus": "COMPLETED"})["status"] == 0x0110
    assert seen[0][2].PerformedProcedureStepStatus == "COMPLETED"


@pytest.mark.peer("dimse")
def test_the_foreign_modality_echoes(mpps_scp: tuple[int, list[tuple[str, str, Dataset]]]) -> None:
    assert mpps(mpps_scp[0], "echo")["status"] == 0


@pytest.mark.peer("dimse")
def test_the_foreign_modality_reports_a_rejection(mpps_scp: tuple[int, list[tuple[str, str, Dataset]]]) -> None:
    answer = mpps(mpps_scp[0], "echo", called="OTHER")
    assert answer == {"error": "association rejected", "reason": "CalledAeNotRecognized"}
