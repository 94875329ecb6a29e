"""Finding, publishing and merging against a scripted server."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import Ehr
from bridge.domain.identity import Identifier, Issuers
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.fhir.ehr import FhirEhr
from bridge.fhir.imaging_study import derived_id, imaging_study
from bridge.workflow.ports import Reference
from tests.unit.fhir import content
from tests.unit.fhir.script import Script, bundle, outcome

PATIENT, ENDPOINT = Reference("Patient", "p1"), Reference("Endpoint", "e1")
MRN = Identifier("4711", "HOSPITAL", "MR")
OTHER = Identifier("99", "RIS", "PI")


def patient(id: str, identifier: Identifier = MRN, **more: Any) -> dict[str, Any]:
    system = {"HOSPITAL": "urn:oid:1.2.3.1", "RIS": "urn:oid:1.2.3.2"}[identifier.issuer]
    return {"resourceType": "Patient", "id": id, "identifier": [{"system": system, "value": identifier.value}], **more}


def publish(ehr: FhirEhr, known: Reference | None, **changes: object) -> Reference:
    return ehr.write_imaging_study(
        content.study(**changes), patient=PATIENT, based_on=(None,), endpoint=ENDPOINT, known=known
    )


def stored(issuers: Issuers, version: str = "1", **changes: object) -> dict[str, Any]:
    ours = imaging_study(
        content.study(**changes), issuers=issuers, patient=PATIENT, based_on=(None,), endpoint=ENDPOINT
    )
    return {**ours, "id": "7", "meta": {"versionId": version}}


KNOWN = Reference("ImagingStudy", "7", "1")


def test_no_patient_is_none(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle())
    assert ehr.find_patient((MRN,)) is None


def test_one_patient_under_two_identifiers_is_found(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle(patient("p1")))
    script.say(200, bundle(patient("p1", OTHER)))
    assert (ehr.find_patient((MRN, OTHER)) or ENDPOINT).id == "p1"


def test_two_identifiers_of_two_people_are_refused(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle(patient("p1")))
    script.say(200, bundle(patient("p2", OTHER)))
    with pytest.raises(RemoteRefused) as told:
        ehr.find_patient((MRN, OTHER))
    assert told.value.code == "several-matches"


def test_a_server_that_ignores_the_search_parameter_yields_nobody(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle(patient("p9", Identifier("0815", "HOSPITAL"))))
    assert ehr.find_patient((MRN,)) is None


def test_identifier_whose_issuer_has_no_system_is_not_asked_for(script: Script, ehr: FhirEhr) -> None:
    assert ehr.find_patient((Identifier("4711", "LOCAL"),)) is None
    assert script.asked == []


def test_replaced_patient_leads_to_the_one_that_replaces_it(script: Script, ehr: FhirEhr) -> None:
    link = [{"other": {"reference": "Patient/p2"}, "type": "replaced-by"}]
    script.say(200, bundle(patient("p1", active=False, link=link)))
    script.say(200, patient("p2"))
    assert (ehr.find_patient((MRN,)) or ENDPOINT).id == "p2"


def test_merged_and_surviving_patient_under_one_identifier_are_one(script: Script, ehr: FhirEhr) -> None:
    link = [{"other": {"reference": "Patient/p2"}, "type": "replaced-by"}]
    script.say(200, bundle(patient("p1", link=link), patient("p2")))
    script.say(200, patient("p2"))
    assert (ehr.find_patient((MRN,)) or ENDPOINT).id == "p2"


def test_patients_that_replace_each_other_in_a_circle_are_nobody(script: Script, ehr: FhirEhr) -> None:
    link = [{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]
    script.say(200, bundle(patient("p1", link=link)))
    for _ in range(10):
        script.say(200, patient("p1", link=link))
    assert ehr.find_patient((MRN,)) is None


def test_inactive_patient_is_nobody(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle(patient("p1", active=False)))
    assert ehr.find_patient((MRN,)) is None


def test_order_is_asked_for_by_placer_filler_and_accession_in_turn(script: Script, ehr: FhirEhr) -> None:
    found = {
        "resourceType": "ServiceRequest",
        "id": "s1",
        "identifier": [{"system": "urn:oid:1.2.3.2", "value": "ACC1"}],
    }
    script.say(200, bundle())
    script.say(200, bundle())
    script.say(200, bundle(found))
    assert (ehr.find_service_request(content.order()) or PATIENT).id == "s1"


def test_server_without_service_request_search_has_no_order(script: Script, ehr: FhirEhr) -> None:
    script.say(403, outcome("forbidden"))
    assert ehr.find_service_request(content.order()) is None


def test_service_request_without_a_findable_identifier_is_not_created(script: Script, ehr: FhirEhr) -> None:
    order = content.order(placer=Identifier("1", "LOCAL"), filler=None, accession=None)
    with pytest.raises(RemoteRefused) as told:
        ehr.create_service_request(order, PATIENT)
    assert (told.value.code, script.asked) == ("no-identifier-system", [])


def test_first_publication_searches_then_creates_conditionally(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle())
    script.say(201, Location="ImagingStudy/7/_history/1")
    assert publish(ehr, None) == KNOWN
    assert script.methods == ["GET", "POST"] and "If-None-Exist" in script.asked[1].headers


def test_first_publication_finds_what_a_lost_answer_had_created(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, bundle(stored(issuers)))
    script.say(200, stored(issuers))
    assert publish(ehr, None) == KNOWN
    assert script.methods == ["GET", "GET"]


def test_two_studies_of_one_uid_are_refused(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, bundle(stored(issuers), {**stored(issuers), "id": "8"}))
    with pytest.raises(RemoteRefused) as told:
        publish(ehr, None)
    assert told.value.code == "several-matches"


def test_conflict_of_two_creators_is_tried_again_and_finds_the_others(
    script: Script, ehr: FhirEhr, issuers: Issuers
) -> None:
    script.say(200, bundle())
    script.say(409, outcome("conflict"))
    script.say(200, bundle(stored(issuers)))
    script.say(200, stored(issuers))
    assert publish(ehr, None) == KNOWN


def test_create_that_hits_an_existing_one_updates_it(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    older = stored(issuers, description="old")
    script.say(200, bundle())
    script.say(200, older)
    script.say(200, older, ETag='W/"1"')
    script.say(200, stored(issuers, "2"), ETag='W/"2"')
    assert publish(ehr, None).version == "2"
    assert script.asked[-1].headers["If-Match"] == 'W/"1"'


def test_unchanged_content_is_not_written(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, stored(issuers))
    assert publish(ehr, KNOWN) == KNOWN
    assert script.methods == ["GET"]


def test_changed_content_is_put_with_if_match(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, stored(issuers), ETag='W/"opaque-1"')
    script.say(200, ETag='W/"opaque-2"')
    assert publish(ehr, KNOWN, description="changed") == Reference("ImagingStudy", "7", "opaque-2")
    assert script.asked[1].headers["If-Match"] == 'W/"opaque-1"'
    assert script.asked[1].json["description"] == "changed"


@pytest.mark.parametrize("status", [409, 412])
def test_conflict_is_read_again_and_merged(status: int, script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, stored(issuers))
    script.say(status, outcome("conflict"))
    script.say(200, {**stored(issuers, "2"), "note": [{"text": "of the EHR"}]})
    script.say(200, ETag='W/"3"')
    assert publish(ehr, KNOWN, description="changed").version == "3"
    assert script.asked[-1].json["note"] == [{"text": "of the EHR"}]


def test_conflicts_without_end_are_left_for_later(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    for _ in range(5):
        script.say(200, stored(issuers))
        script.say(412, outcome("conflict"))
    with pytest.raises(RemoteUnavailable) as told:
        publish(ehr, KNOWN, description="changed")
    assert told.value.code == "version-conflict" and len(script.asked) == 10


@pytest.mark.parametrize("status", [404, 410])
def test_deleted_study_is_created_anew(status: int, script: Script, ehr: FhirEhr) -> None:
    script.say(status, outcome("not-found"))
    script.say(200, bundle())
    script.say(201, Location="ImagingStudy/9/_history/1")
    assert publish(ehr, KNOWN).id == "9"


def test_known_id_that_is_another_study_now_is_not_touched(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, stored(issuers, study_instance_uid="1.2.840.99999.2"))
    script.say(200, bundle())
    script.say(201, Location="ImagingStudy/9/_history/1")
    assert publish(ehr, KNOWN).id == "9" and "PUT" not in script.methods


def test_put_by_id_uses_the_derived_id(script: Script, settings: Ehr, issuers: Issuers) -> None:
    by_id = settings.model_copy(update={"imaging_study": "put-by-id"})
    ehr = FhirEhr(by_id, issuers, "https://images.example/dicom-web")
    script.say(404, outcome("not-found"))
    script.say(201, ETag='W/"1"')
    assert publish(ehr, None) == Reference("ImagingStudy", derived_id(content.UID), "1")
    assert script.methods == ["GET", "PUT"] and script.asked[1].json["id"] == derived_id(content.UID)


def withdraw(ehr: FhirEhr, known: Reference | None = None, endpoint: Reference | None = ENDPOINT) -> Reference | None:
    return ehr.withdraw_imaging_study(content.UID, endpoint=endpoint, known=known)


def test_known_study_is_marked_entered_in_error(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, stored(issuers))
    script.say(200, ETag='W/"2"')
    assert withdraw(ehr, KNOWN) == Reference("ImagingStudy", "7", "2")
    assert script.methods == ["GET", "PUT"] and script.asked[1].json["status"] == "entered-in-error"


def test_study_of_which_nothing_is_left_loses_series_counts_and_our_endpoint(
    script: Script, ehr: FhirEhr, issuers: Issuers
) -> None:
    theirs = {"reference": "Endpoint/theirs"}
    script.say(200, {**stored(issuers), "endpoint": [{"reference": ENDPOINT.relative}, theirs]})
    script.say(200, ETag='W/"2"')
    ehr.withdraw_imaging_study(content.UID, endpoint=ENDPOINT, known=KNOWN, status="cancelled", emptied=True)
    said = script.asked[1].json
    assert (said["status"], said["endpoint"], said["numberOfSeries"], said["numberOfInstances"]) == (
        "cancelled", [theirs], 0, 0,
    )  # fmt: skip
    assert "series" not in said and said["identifier"] == stored(issuers)["identifier"]


def test_study_that_is_in_error_is_never_made_milder(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, {**stored(issuers), "status": "entered-in-error"})
    ehr.withdraw_imaging_study(content.UID, endpoint=ENDPOINT, known=KNOWN, status="cancelled")
    assert script.methods == ["GET"]


def test_study_that_a_lost_answer_left_is_found_and_withdrawn(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, bundle(stored(issuers)))
    script.say(200, stored(issuers))
    script.say(200, ETag='W/"2"')
    assert withdraw(ehr) == Reference("ImagingStudy", "7", "2")
    assert script.methods == ["GET", "GET", "PUT"] and script.asked[2].json["status"] == "entered-in-error"


def test_study_that_never_arrived_needs_no_withdrawal(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle())
    assert withdraw(ehr) is None and script.methods == ["GET"]


def test_study_that_another_source_published_is_not_withdrawn(script: Script, ehr: FhirEhr, issuers: Issuers) -> None:
    script.say(200, bundle({**stored(issuers), "endpoint": [{"reference": "Endpoint/theirs"}]}))
    assert withdraw(ehr) is None and script.methods == ["GET"]


def test_nothing_is_asked_of_an_ehr_that_never_had_our_endpoint(script: Script, ehr: FhirEhr) -> None:
    assert withdraw(ehr, endpoint=None) is None and script.asked == []


def test_put_by_id_withdraws_by_the_derived_id(script: Script, settings: Ehr, issuers: Issuers) -> None:
    by_id = settings.model_copy(update={"imaging_study": "put-by-id"})
    ehr = FhirEhr(by_id, issuers, "https://images.example/dicom-web")
    script.say(200, {**stored(issuers), "id": derived_id(content.UID)})
    script.say(200, ETag='W/"2"')
    assert withdraw(ehr) == Reference("ImagingStudy", derived_id(content.UID), "2")


def test_endpoint_is_found_again(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle())
    script.say(201, Location="Endpoint/e1")
    assert ehr.ensure_endpoint(None) == ENDPOINT
    made = {**script.asked[1].json, "id": "e1"}
    script.say(200, made)
    assert ehr.ensure_endpoint(ENDPOINT) == ENDPOINT and script.methods == ["GET", "POST", "GET"]


def test_endpoint_follows_a_changed_address(script: Script, ehr: FhirEhr) -> None:
    old = "https://old.example/dicom-web"
    script.say(
        200,
        {
            "resourceType": "Endpoint",
            "id": "e1",
            "address": old,
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": old}],
        },
    )
    script.say(200, ETag='W/"2"')
    ehr.ensure_endpoint(ENDPOINT)
    sent = script.asked[1].json
    assert sent["address"] == sent["identifier"][0]["value"] == "https://images.example/dicom-web"


def test_suspended_endpoint_stays_suspended(script: Script, ehr: FhirEhr) -> None:
    script.say(200, bundle())
    script.say(201, Location="Endpoint/e1")
    ehr.ensure_endpoint(None)
    script.say(200, {**script.asked[1].json, "id": "e1", "status": "suspended"})
    ehr.ensure_endpoint(ENDPOINT)
    assert "PUT" not in script.methods
