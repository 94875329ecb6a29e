"""Images first, the order after (IHE PIR case 3): only the study's own UID ties them without a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.domain.matching import Verdict
from bridge.sandbox import ris as messages
from bridge.uids import new_uid
from tests.e2e.story import Site, Story


def emergency(site: Site) -> Story:
    """A CT of a known patient that nobody had ordered: stored, complete, in the review list."""
    story = site.story()
    site.records.put_patient(story.patient)
    site.ris.send(messages.adt_a04, story.patient)
    story.acquire_unordered()
    assert site.review_of_study(story.uid)["reason"] == "no-order"
    return story


@pytest.fixture(scope="module")
def found(sekmet_site: Site) -> Story:
    """The late order carries the UID that the study already has."""
    story = emergency(sekmet_site)
    story.send(messages.late_order)
    sekmet_site.published(story.uid)
    return story


def test_a_late_order_with_the_studys_own_uid_is_matched(site: Site, found: Story) -> None:
    assert [link["rule"] for link in site.links(found.uid)] == ["study-instance-uid"]


def test_a_late_order_with_the_studys_own_uid_is_published(site: Site, found: Story) -> None:
    assert site.published(found.uid)["basedOn"][0]["identifier"]["value"] == found.order.accession


def test_a_late_order_that_found_its_study_leaves_the_review_list(site: Site, found: Story) -> None:
    assert site.reviews(f"study:{site.study_id(found.uid)}") == []


def test_a_late_order_of_a_study_that_was_done_is_on_no_worklist(site: Site, found: Story) -> None:
    for station in ("CT1", ""):
        assert site.hospital.scanner("CT1").worklist(station=station, PatientID=found.patient.mrn) == []


@pytest.fixture(scope="module")
def candidate(sekmet_site: Site) -> Story:
    """A late order of the same patient, modality and day that names another study: nobody can know."""
    story = emergency(sekmet_site)
    story.order = replace(story.order, study_uid=new_uid())
    story.send()
    sekmet_site.wait_for_review(story.uid, "weak-evidence")
    return story


def test_patient_modality_and_time_alone_are_never_a_match(site: Site, candidate: Story) -> None:
    assert site.links(candidate.uid) == [] and site.studies(candidate.uid) == []


def test_the_candidate_is_shown_with_its_evidence(site: Site, candidate: Story) -> None:
    shown = site.review_of_study(candidate.uid)["details"]["candidates"]
    assert [(one["order"], one["rules"]) for one in shown] == [(candidate.order_row()["id"], ["patient-modality-date"])]
    assert dict(shown[0]["evidence"]) == {
        "patient identifier": Verdict.EQUAL,
        "patient name": Verdict.EQUAL,
        "patient birth date": Verdict.EQUAL,
        "patient sex": Verdict.EQUAL,
        "accession number": Verdict.MISSING,
        "modality": Verdict.EQUAL,
    }


def test_bridge_review_says_the_candidate_in_words(site: Site, candidate: Story) -> None:
    told = site.hospital.run("review").stdout
    number = candidate.order_row()["id"]
    assert f"candidate order {number} by patient-modality-date: patient identifier equal" in told


def test_the_order_that_is_only_a_candidate_stays_on_the_worklist(site: Site, candidate: Story) -> None:
    found = site.hospital.scanner("CT1").worklist(PatientID=candidate.patient.mrn)
    assert [str(item.StudyInstanceUID) for item in found] == [candidate.order.study_uid]
