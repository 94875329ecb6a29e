"""Publishing into two EHRs that are not ours: one scenario, opposite habits. HL7's validator reads all we write."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from bridge.config import Ehr
from bridge.domain.identity import Identifier, Issuers
from bridge.domain.publication import StudyContent
from bridge.errors import RemoteRefused
from bridge.fhir.checks import checked
from bridge.fhir.ehr import FhirEhr
from bridge.fhir.endpoint import endpoint
from bridge.fhir.imaging_study import imaging_study
from bridge.fhir.service_request import service_request
from bridge.uids import new_uid
from bridge.workflow.ports import Reference
from tests.peers.hapi import FhirValidator
from tests.peers.sekmet import SekmetServer
from tests.unit.fhir import content
from tests.unit.fhir.content import ISSUERS

pytestmark = pytest.mark.peer("hapi")

WADO = "https://images.example/dicom-web"


class Site:
    """One foreign server, with what the tests put there by hand."""

    def __init__(self, base: str, policy: str = "create") -> None:
        self.base = base
        settings = Ehr.model_validate({"name": "peer", "fhir_base": base, "imaging_study": policy})
        self.ehr = FhirEhr(settings, ISSUERS, WADO)
        self.mrn = Identifier(uuid.uuid4().hex, "HOSPITAL", "MR")
        self.study = content.study(
            study_instance_uid=new_uid(), patient=(self.mrn,), orders=(content.order(accession=None),), accessions=()
        )

    def add_patient(self, *identifiers: Identifier, **more: Any) -> Reference:
        rows = [{"system": ISSUERS.find(i.issuer).system or "urn:oid:1.2.3.2", "value": i.value} for i in identifiers]
        body = {"resourceType": "Patient", "identifier": rows, "name": [{"family": "Test", "given": ["Ida"]}], **more}
        answer = requests.post(f"{self.base}/Patient", json=body, timeout=20)
        assert answer.status_code == 201, answer.text
        return Reference("Patient", answer.json()["id"])

    def get(self, reference: Reference) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.base}/{reference.relative}", timeout=20).json()
        return found

    def publish(self, study: StudyContent, known: Reference | None = None) -> Reference:
        patient = self.ehr.find_patient(study.patient)
        assert patient is not None
        found = tuple(self.ehr.find_service_request(o) for o in study.orders)
        return self.ehr.write_imaging_study(
            study, patient=patient, based_on=found, endpoint=self.ehr.ensure_endpoint(None), known=known
        )

    def studies(self) -> list[str]:
        value = f"urn:dicom:uid|urn:oid:{self.study.study_instance_uid}"
        bundle = requests.get(f"{self.base}/ImagingStudy", params={"identifier": value}, timeout=20).json()
        return [e["resource"]["id"] for e in bundle.get("entry", [])]


@pytest.fixture(scope="session")
def sekmet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SekmetServer]:
    with SekmetServer(tmp_path_factory.mktemp("sekmet")) as server:
        yield server


@pytest.fixture(params=["hapi", "sekmet"])
def base(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).base_url)


@pytest.fixture
def site(base: str) -> Site:
    site = Site(base)
    site.add_patient(site.mrn)
    return site


def test_patient_that_the_ehr_does_not_have_is_none(site: Site) -> None:
    assert site.ehr.find_patient((Identifier(uuid.uuid4().hex, "HOSPITAL"),)) is None


def test_two_patients_with_one_identifier_are_refused(site: Site) -> None:
    site.add_patient(site.mrn)
    with pytest.raises(RemoteRefused) as told:
        site.ehr.find_patient((site.mrn,))
    assert told.value.code == "several-matches"


def test_replaced_patient_leads_to_its_successor(site: Site) -> None:
    old, new = Identifier(uuid.uuid4().hex, "HOSPITAL"), site.ehr.find_patient((site.mrn,))
    assert new
    site.add_patient(old, active=False, link=[{"other": {"reference": new.relative}, "type": "replaced-by"}])
    assert (site.ehr.find_patient((old, site.mrn)) or new.relative) == new


def test_published_twice_is_one_study_in_one_version(site: Site) -> None:
    first = site.publish(site.study)
    assert site.publish(site.study, first) == first
    assert site.publish(site.study, None) == first
    assert site.studies() == [first.id]


def test_changed_content_is_a_new_version_of_the_same_study(site: Site) -> None:
    first = site.publish(site.study)
    second = site.publish(replace(site.study, description="with late images"), first)
    assert second.id == first.id and second.version != first.version
    assert site.get(second)["description"] == "with late images"


def test_what_the_ehr_added_survives_a_republication(site: Site) -> None:
    first = site.publish(site.study)
    theirs = {**site.get(first), "note": [{"text": "seen in the ward round"}]}
    assert requests.put(f"{site.base}/{first.relative}", json=theirs, timeout=20).ok
    second = site.publish(replace(site.study, description="changed"), first)
    assert site.get(second)["note"] == [{"text": "seen in the ward round"}]


def test_foreign_edit_between_read_and_write_is_merged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = site.publish(site.study)
    client = site.ehr._client
    update, edits = client.update, iter([{"note": [{"text": "meanwhile"}]}])

    def late(resource: dict[str, Any], if_match: str) -> Any:
        for edit in edits:
            theirs = {**site.get(first), **edit}
            assert requests.put(f"{site.base}/{first.relative}", json=theirs, timeout=20).ok
        return update(resource, if_match)

    monkeypatch.setattr(client, "update", late)
    second = site.publish(replace(site.study, description="changed"), first)
    written = site.get(second)
    assert (written["note"], written["description"]) == ([{"text": "meanwhile"}], "changed")


def test_deleted_study_is_published_anew(site: Site) -> None:
    first = site.publish(site.study)
    assert requests.delete(f"{site.base}/{first.relative}", timeout=20).ok
    again = site.publish(site.study, first)
    assert site.studies() == [again.id]


@pytest.mark.parametrize("answered", [True, False], ids=["answer heard", "answer lost"])
def test_withdrawn_study_is_entered_in_error(site: Site, answered: bool) -> None:
    written = site.publish(site.study)
    known, endpoint = written if answered else None, site.ehr.ensure_endpoint(None)
    withdrawn = site.ehr.withdraw_imaging_study(site.study.study_instance_uid, endpoint=endpoint, known=known)
    assert withdrawn and site.get(withdrawn)["status"] == "entered-in-error"
    assert site.studies() == [written.id]


def test_put_by_id_publishes_one_study(base: str) -> None:
    site = Site(base, "put-by-id")
    site.add_patient(site.mrn)
    first = site.publish(site.study)
    assert site.publish(site.study, None) == first and site.studies() == [first.id]


def test_order_is_created_once_and_found_again(site: Site) -> None:
    patient = site.ehr.find_patient((site.mrn,))
    assert patient
    order = content.order(placer=Identifier(uuid.uuid4().hex, "HOSPITAL"), filler=None, accession=None)
    made = site.ehr.create_service_request(order, patient)
    assert site.ehr.create_service_request(order, patient).id == made.id
    assert (site.ehr.find_service_request(order) or patient).id == made.id
    first = site.publish(replace(site.study, orders=(order,)))
    assert site.get(first)["basedOn"][0]["reference"].endswith(made.relative)


def test_endpoint_is_one(site: Site) -> None:
    first = site.ehr.ensure_endpoint(None)
    assert site.ehr.ensure_endpoint(None) == first == site.ehr.ensure_endpoint(first)


def built(study: StudyContent, *found: Reference | None, issuers: Issuers = ISSUERS) -> dict[str, Any]:
    subject, wado = Reference("Patient", "p1"), Reference("Endpoint", "e1")
    return imaging_study(study, issuers=issuers, patient=subject, based_on=found, endpoint=wado)


def test_hl7_validator_finds_no_error_in_what_we_write(fhir_validator: FhirValidator) -> None:
    several = tuple(content.series(f"{content.UID}.{n}", modality=m) for n, m in enumerate(("MR", "SR", "US", "XX"), 1))
    local = content.order(placer=Identifier("1", "LOCAL"), filler=None, accession=None, code=None, priority="?")
    written = [
        built(content.study(), Reference("ServiceRequest", "s1")),
        built(content.study(), None),
        built(content.study(started="", description="", series=(), accessions=(), modalities=(), orders=())),
        built(content.study(series=several, orders=(local,), started="2026-11-25"), None),
        *(built(content.study(status=s), None) for s in ("registered", "cancelled", "entered-in-error")),
        endpoint(WADO),
        *(
            service_request(o, Reference("Patient", "p1"), ISSUERS)
            for o in (content.order(), local, content.order(status="HD"))
        ),
    ]
    issues = fhir_validator.validate(checked(resource) for resource in written)
    assert [i for i in issues if i.is_error] == []
