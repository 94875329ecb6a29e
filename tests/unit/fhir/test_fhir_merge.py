"""What of an EHR's resource stays, and what is ours."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from bridge.domain.identity import Identifier, Issuers
from bridge.domain.publication import StudyContent
from bridge.fhir.imaging_study import imaging_study
from bridge.fhir.merge import Merger
from bridge.workflow.ports import Reference
from tests.unit.fhir import content
from tests.unit.fhir.content import ENDPOINT, ISSUERS, PATIENT

BASE = "https://ehr.example/fhir"
MERGER = Merger(BASE, ISSUERS)


def built(study: StudyContent | None = None, issuers: Issuers = ISSUERS) -> dict[str, Any]:
    study = study or content.study()
    found = tuple(None for _ in study.orders)
    return imaging_study(study, issuers=issuers, patient=PATIENT, based_on=found, endpoint=ENDPOINT)


def merged(current: dict[str, Any], study: StudyContent | None = None) -> dict[str, Any]:
    return MERGER.merge(current, built(study))


@given(content.studies)
def test_merging_the_same_content_changes_nothing(study: StudyContent) -> None:
    current = {**built(study), "id": "7", "meta": {"versionId": "1"}}
    assert MERGER.merge(current, built(study)) == current


@given(content.studies, content.studies)
def test_merging_twice_is_merging_once(before: StudyContent, after: StudyContent) -> None:
    once = MERGER.merge(built(before), built(after))
    assert MERGER.merge(once, built(after)) == once


def test_elements_of_others_stay() -> None:
    theirs = {"note": [{"text": "n"}], "encounter": {"reference": "Encounter/1"}, "meta": {"tag": [{"code": "x"}]}}
    assert merged({**built(), **theirs}) == {**built(), **theirs}


def test_identifiers_of_others_stay() -> None:
    row = {"system": "https://pacs.example", "value": "1"}
    assert row in merged({**built(), "identifier": [row]})["identifier"]


def test_accession_number_that_we_no_longer_say_leaves() -> None:
    before = built(content.study(accessions=(Identifier("OLD", "RIS"),)))
    values = [i["value"] for i in merged(before)["identifier"]]
    assert "ACC1" in values and "OLD" not in values


def test_order_that_we_no_longer_say_leaves_and_one_that_the_ehr_added_stays() -> None:
    theirs = {"reference": "ServiceRequest/theirs"}
    before = {**built(), "basedOn": [*built()["basedOn"], theirs]}
    assert merged(before, content.study(orders=()))["basedOn"] == [theirs]


def test_identifier_without_our_type_is_not_doubled() -> None:
    bare = [{k: v for k, v in i.items() if k != "type"} for i in built()["identifier"]]
    assert len(merged({**built(), "identifier": bare})["identifier"]) == 2


def test_absolute_reference_of_this_server_is_the_same_reference() -> None:
    current = {**built(), "subject": {"reference": f"{BASE}/Patient/p1", "display": "shown"}}
    assert merged(current) == current


def test_name_of_the_wrong_patient_leaves_with_the_reference() -> None:
    current = {**built(), "subject": {"reference": "Patient/wrong", "display": "WRONG"}}
    assert merged(current)["subject"] == {"reference": PATIENT.relative}


def test_what_others_added_to_a_series_stays() -> None:
    current = built()
    current["series"][0]["performer"] = [{"actor": {"display": "x"}}]
    changed = merged(current, content.study(series=(content.series(instances=9),)))
    assert changed["series"] == [{**current["series"][0], "numberOfInstances": 9}]


def test_series_that_is_withdrawn_leaves() -> None:
    assert [s["uid"] for s in merged(built(), content.study(series=(content.series(),)))["series"]] == [
        content.UID + ".1"
    ]


def test_new_order_reference_takes_the_place_of_its_identifier() -> None:
    ours = imaging_study(
        content.study(),
        issuers=ISSUERS,
        patient=PATIENT,
        based_on=(Reference("ServiceRequest", "s1"),),
        endpoint=ENDPOINT,
    )
    assert [r.get("reference") for r in MERGER.merge(built(), ours)["basedOn"]] == ["ServiceRequest/s1"]
