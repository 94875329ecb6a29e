"""Images first, the order after (IHE PIR case 3): only the study's own UID ties them without a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.domain.matching import Verdict
from bridge.sandbox import ris as messages
from bridge.uids import new_uid
from tests.e2e.story import Site, Story


@pytest.fixture
def emergency(site: Site) -> Story:
    """A CT of a known patient that nobody had ordered: stored, complete, in the review list."""
    story = site.story()
    site.records.put_patient(story.patient)
    site.ris.send(messages.adt_a04, story.patient)
    story.acquire_unordered()
    assert site.review_of_study(story.uid)["reason"] == "no-order"
    return story


def test_a_late_order_with_the_studys_own_uid_is_matched_and_published(site: Site, emergency: Story) -> None:
    emergency.send(messages.late_order)
    study = site.published(emergency.uid)
    assert study["basedOn"] and [link["rule"] for link in site.links(emergency.uid)] == ["study-instance-uid"]


def test_a_late_order_that_found_its_study_leaves_the_review_list(site: Site, emergency: Story) -> None:
    emergency.send(messages.late_order)
    site.published(emergency.uid)
    assert site.reviews(f"study:{site.study_id(emergency.uid)}") == []


def test_a_late_order_of_a_study_that_was_done_is_on_no_worklist(site: Site, emergency: Story) -> None:
    emergency.send(messages.late_order)
    for station in ("CT1", ""):
        assert site.hospital.scanner("CT1").worklist(station=station, PatientID=emergency.patient.mrn) == []


@pytest.fixture
def candidate(site: Site, emergency: Story) -> Story:
    """A late order of the same patient, modality and day that names another study: nobody can know."""
    emergency.order = replace(emergency.order, study_uid=new_uid())
    emergency.send()
    number = emergency.order_row()["id"]
    assert site.wait_for_review(emergency.uid, "weak-evidence")["details"]["candidates"][0]["order"] == number
    return emergency


def test_patient_modality_and_time_alone_are_never_a_match(site: Site, candidate: Story) -> None:
    assert site.links(candidate.uid) == [] and site.studies(candidate.uid) == []


def test_the_candidate_is_shown_with_its_evidence(site: Site, candidate: Story) -> None:
    shown = site.review_of_study(candidate.uid)["details"]["candidates"][0]
    assert shown["rules"] == ["patient-modality-date"]
    assert dict(shown["evidence"]) == {
        "patient identifier": Verdict.EQUAL,
        "patient name": Verdict.EQUAL,
        "patient birth date": Verdict.EQUAL,
        "patient sex": Verdict.EQUAL,
        "accession number": Verdict.MISSING,
        "modality": Verdict.EQUAL,
    }


def test_the_review_list_says_the_candidate_in_words(site: Site, candidate: Story) -> None:
    told = site.hospital.run("review").stdout
    number = candidate.order_row()["id"]
    assert f"candidate order {number} by patient-modality-date: patient identifier equal" in told


def test_a_person_makes_the_candidate_a_match(site: Site, candidate: Story) -> None:
    number = candidate.order_row()["id"]
    done = site.hospital.run("review", "link", str(site.study_id(candidate.uid)), str(number))
    assert done.returncode == 0, done.stderr
    assert site.published(candidate.uid)["basedOn"]
