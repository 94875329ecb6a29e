"""Launch context: SMART App Launch 2.2, scopes and launch context."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.errors import BridgeError, NotAllowed, RemoteRefused
from bridge.smart.context import patient_identifiers, read_context, study_uid

ISS = "https://ehr.example/fhir"
ISSUERS = Issuers([Issuer("HOSP", system="urn:oid:1.2.3"), Issuer("NAT", system="http://nat.example"), Issuer("NONE")])


@pytest.mark.parametrize("patient", ["p1", "Patient/p1", f"{ISS}/Patient/p1"])
def test_the_patient_is_taken_bare_or_as_a_reference(patient: str) -> None:
    assert read_context({"patient": patient}, ISS).patient == "p1"


@pytest.mark.parametrize(
    "patient",
    [None, "", 7, "..", ".", "../Observation/1", "a b", "p1\n", "x" * 65, "https://evil.example/Patient/p1", ["p1"]],
)
def test_no_usable_patient_means_no_launch(patient: object) -> None:
    with pytest.raises(NotAllowed) as refusal:
        read_context({"patient": patient}, ISS)
    assert refusal.value.code == "no-patient"


@pytest.mark.parametrize(
    "more",
    [
        {"fhirContext": [{"reference": "ImagingStudy/s1"}]},
        {"fhirContext": [{"reference": "ImagingStudy/s1", "type": "ImagingStudy", "role": "launch"}]},
        {"fhirContext": [{"reference": f"{ISS}/ImagingStudy/s1"}]},
        {"fhirContext": [{"reference": "ImagingStudy/s1/_history/2"}]},
        {"fhirContext": ["ImagingStudy/s1"]},
        {"fhirContext": [{"reference": "ImagingStudy/s1"}, {"reference": "Encounter/e"}, 7, None]},
        {"imagingstudy": "s1"},
        {"imagingstudy": "ImagingStudy/s1"},
    ],
)
def test_the_study_is_found_in_every_form_old_or_new(more: dict[str, Any]) -> None:
    assert read_context({"patient": "p1"} | more, ISS).studies == ("s1",)


def test_a_study_may_be_named_by_its_uid() -> None:
    entry = {"type": "ImagingStudy", "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}}
    assert read_context({"patient": "p1", "fhirContext": [entry]}, ISS).uids == ("1.2.3",)


def test_context_in_another_role_is_not_what_to_open() -> None:
    entry = {"reference": "ImagingStudy/s1", "role": "https://example.org/prior"}
    assert read_context({"patient": "p1", "fhirContext": [entry]}, ISS).studies == ()


@pytest.mark.parametrize("reference", ["https://evil.example/ImagingStudy/s1", "ImagingStudy/..", "ImagingStudy/a/b"])
def test_a_study_elsewhere_is_refused(reference: str) -> None:
    with pytest.raises(NotAllowed) as refusal:
        read_context({"patient": "p1", "fhirContext": [{"reference": reference}]}, ISS)
    assert refusal.value.code == "foreign-context"


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda v: (
            st.lists(v)
            | st.dictionaries(st.sampled_from(["reference", "identifier", "role", "system", "value", "type"]), v)
        ),
        max_leaves=12,
    )
)
def test_no_context_breaks_the_reader(junk: Any) -> None:
    with suppress(BridgeError):
        read_context({"patient": "p1", "fhirContext": junk, "imagingstudy": junk}, ISS)


def test_identifiers_keep_the_names_that_this_site_gives_their_systems() -> None:
    mr = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}
    patient = {
        "identifier": [
            {"system": "urn:oid:1.2.3", "value": " M1 ", "type": mr},
            {"system": "http://nat.example", "value": "N1"},
        ]
    }
    assert patient_identifiers(patient, ISSUERS) == (Identifier("M1", "HOSP", "MR"), Identifier("N1", "NAT"))


@pytest.mark.parametrize(
    "identifier",
    [
        {"system": "urn:oid:9.9", "value": "M1"},
        {"value": "M1"},
        {"system": "", "value": "M1"},
        {"system": "urn:oid:1.2.3"},
        {"system": "urn:oid:1.2.3", "value": "  "},
        {"system": "urn:oid:1.2.3", "value": 7},
        {"system": "urn:oid:1.2.3", "value": "M1", "use": "old"},
        "M1",
    ],
)
def test_an_identifier_without_a_known_authority_or_out_of_use_names_nobody(identifier: object) -> None:
    assert patient_identifiers({"identifier": [identifier]}, ISSUERS) == ()


STUDY = {
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.1"}],
    "subject": {"reference": "Patient/p1"},
}


def test_a_study_of_the_patient_gives_its_uid() -> None:
    assert study_uid(STUDY, "p1", ISS) == "1.2.840.1"
    assert study_uid(STUDY | {"subject": {"reference": f"{ISS}/Patient/p1"}}, "p1", ISS) == "1.2.840.1"


@pytest.mark.parametrize(
    "subject",
    [
        None,
        {},
        {"reference": "Patient/p2"},
        {"reference": "Patient/P1"},
        {"reference": "Device/p1"},
        {"reference": "https://evil.example/Patient/p1"},
        {"display": "p1"},
    ],
)
def test_a_study_of_anybody_else_is_refused(subject: object) -> None:
    with pytest.raises(NotAllowed) as refusal:
        study_uid(STUDY | {"subject": subject}, "p1", ISS)
    assert refusal.value.code == "patient-differs"


@pytest.mark.parametrize("value", ["urn:oid:1.02", "urn:uuid:x", "../x", "", None])
def test_a_study_without_a_uid_cannot_be_opened(value: object) -> None:
    with pytest.raises(RemoteRefused):
        study_uid(STUDY | {"identifier": [{"system": "urn:dicom:uid", "value": value}]}, "p1", ISS)
