"""What we build is valid R4 and says what the reference tables say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier
from bridge.domain.publication import OrderContent, StudyContent
from bridge.errors import BadValue
from bridge.fhir.checks import checked
from bridge.fhir.coding import body_site, concept, modality
from bridge.fhir.endpoint import endpoint
from bridge.fhir.imaging_study import derived_id, imaging_study
from bridge.fhir.service_request import service_request
from bridge.workflow.ports import Reference
from tests.unit.fhir import content
from tests.unit.fhir.content import ENDPOINT, ISSUERS, PATIENT


def built(study: StudyContent, *based_on: Reference | None) -> dict[str, Any]:
    return checked(
        imaging_study(study, issuers=ISSUERS, patient=PATIENT, based_on=based_on or (None,), endpoint=ENDPOINT)
    )


@given(content.studies, st.booleans())
def test_any_study_content_makes_a_valid_imaging_study(study: StudyContent, found: bool) -> None:
    based_on = tuple(Reference("ServiceRequest", "s1") if found else None for _ in study.orders)
    checked(imaging_study(study, issuers=ISSUERS, patient=PATIENT, based_on=based_on, endpoint=ENDPOINT))


@given(content.orders)
def test_any_order_content_makes_a_valid_service_request(order: OrderContent) -> None:
    checked(service_request(order, PATIENT, ISSUERS))


def test_endpoint_is_valid() -> None:
    assert checked(endpoint("https://images.example/dicom-web"))["address"] == "https://images.example/dicom-web"


def test_study_uid_has_system_urn_dicom_uid_and_prefix_urn_oid() -> None:
    assert built(content.study())["identifier"][0] == {"system": "urn:dicom:uid", "value": f"urn:oid:{content.UID}"}


def test_accession_number_of_an_iso_issuer_has_its_oid_as_system() -> None:
    acsn = built(content.study())["identifier"][1]
    assert (acsn["system"], acsn["value"]) == ("urn:oid:1.2.3.2", "ACC1")


def test_accession_number_of_a_local_issuer_names_it_as_assigner_and_invents_no_system() -> None:
    acsn = built(content.study(accessions=(Identifier("A", "LOCAL"),)))["identifier"][1]
    assert acsn["assigner"] == {"display": "LOCAL"} and "system" not in acsn


def test_study_modality_holds_acquisition_modalities_only() -> None:
    assert [m["code"] for m in built(content.study())["modality"]] == ["CT"]


def test_series_uid_is_bare() -> None:
    assert [s["uid"] for s in built(content.study())["series"]] == [content.UID + ".1", content.UID + ".2"]


def test_negative_series_number_is_left_out() -> None:
    assert [s.get("number") for s in built(content.study())["series"]] == [1, None]


def test_counts_are_of_what_is_listed() -> None:
    study = built(content.study())
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 6)


def test_based_on_has_the_literal_reference_and_the_accession_number() -> None:
    [row] = built(content.study(), Reference("ServiceRequest", "s1"))["basedOn"]
    assert row["reference"] == "ServiceRequest/s1" and row["identifier"]["value"] == "ACC1"


def test_an_order_that_the_ehr_does_not_know_is_named_by_identifier_alone() -> None:
    [row] = built(content.study())["basedOn"]
    assert "reference" not in row and row["identifier"]["value"] == "ACC1"


def test_laterality_and_body_part_are_snomed_codes() -> None:
    study = built(content.study(series=(content.series(body_part="knee ", laterality="L"),)))
    assert (study["series"][0]["bodySite"]["code"], study["series"][0]["laterality"]["code"]) == ("72696002", "7771000")


@pytest.mark.parametrize("word", ["CSPINE", "C SPINE", "c_spine", "CERVICAL SPINE"])
def test_body_part_spellings_of_the_field(word: str) -> None:
    assert (body_site(word) or {})["code"] == "122494005"


def test_unknown_body_part_has_no_code() -> None:
    assert body_site("BRUSTKORB") is None


def test_code_of_an_unknown_scheme_is_text_only() -> None:
    assert concept(Code("CTCH", "L", "CT Thorax")) == {"text": "CT Thorax"}


def test_modality_unknown_to_dicom_has_no_system() -> None:
    assert modality("ZZ") == {"code": "ZZ"}


def test_missing_modality_is_other() -> None:
    assert modality("")["code"] == "OT"


def test_derived_id_is_a_fhir_id_and_not_the_uid() -> None:
    study = {**built(content.study()), "id": derived_id(content.UID)}
    assert checked(study)["id"] != content.UID


@pytest.mark.parametrize("uid", ["", "1.02.3", "../x", "1." * 33, "urn:oid:1.2"])
def test_bad_study_uid_is_refused(uid: str) -> None:
    with pytest.raises(BadValue):
        built(content.study(study_instance_uid=uid))


@pytest.mark.parametrize(
    ("status", "fhir"), [("SC", "active"), ("CM", "completed"), ("DC", "revoked"), ("HD", "on-hold")]
)
def test_order_status(status: str, fhir: str) -> None:
    assert service_request(content.order(status=status), PATIENT, ISSUERS)["status"] == fhir


def test_service_request_carries_all_three_identifiers() -> None:
    rows = service_request(content.order(), PATIENT, ISSUERS)["identifier"]
    assert [r["type"]["coding"][0]["code"] for r in rows] == ["PLAC", "FILL", "ACSN"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"status": "bogus"}, "ImagingStudy.status"),
        ({"subject": {}}, "ImagingStudy.subject"),
        ({"subject": {"reference": "somebody"}}, "ImagingStudy.subject"),
        ({"modality": []}, "ImagingStudy.modality"),
        ({"description": None}, "ImagingStudy.description"),
        ({"description": ""}, "ImagingStudy.description"),
        ({"id": "x" * 65}, "ImagingStudy.id"),
        ({"numberOfSeries": "1"}, "ImagingStudy.numberOfSeries"),
        ({"numberOfSeries": 1.0}, "ImagingStudy.numberOfSeries"),
        ({"started": "2026-11-25T09:00:00"}, "ImagingStudy.started"),
        ({"partOf": []}, "ImagingStudy.partOf"),
        ({"identifier": [{"system": "mrn", "value": "1"}]}, "ImagingStudy.identifier.system"),
        ({"identifier": [{"system": "urn:dicom:uid", "value": "1.2.3"}]}, "ImagingStudy.identifier.value"),
        ({"series": [{"uid": "1.02.3", "modality": {"code": "CT"}}]}, "ImagingStudy.series.uid"),
        ({"series": [{"uid": "1.2", "modality": {"code": "CT"}}] * 2}, "ImagingStudy.series.uid"),
    ],
)
def test_checked_refuses_what_fhir_resources_lets_pass(change: dict[str, Any], where: str) -> None:
    with pytest.raises(BadValue) as refused:
        checked({**built(content.study()), **change})
    assert refused.value.where.startswith(where)
