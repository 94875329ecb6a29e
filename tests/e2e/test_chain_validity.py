"""HL7's validator over everything that the bridge wrote into both EHRs, by whatever test of this session."""

from __future__ import annotations

import pytest

from tests.e2e.story import Site
from tests.peers.hapi import FhirValidator


@pytest.mark.peer("hapi")
@pytest.mark.parametrize("kind", ["ImagingStudy", "Endpoint", "ServiceRequest"])
def test_hl7s_validator_finds_no_error_in_what_was_published(
    either: Site, fhir_validator: FhirValidator, kind: str
) -> None:
    story = either.story()
    patient_id = either.records.put_patient(story.patient)
    either.records.put_order(story.order, patient_id)
    story.send()
    story.acquire()
    either.published(story.uid)
    published = either.search(kind, _count="500")
    assert published and [issue for issue in fhir_validator.validate(published) if issue.is_error] == []
