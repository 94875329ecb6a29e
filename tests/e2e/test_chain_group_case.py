"""Chest and abdomen in one go (IHE RAD-6 group case): two orders, one exam, one study; both orders are done with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from pydicom import Dataset

from bridge.sandbox import ris as messages
from bridge.sandbox.modality import grouped
from tests.e2e.story import Resource, Site, Story, pictures, until


@dataclass
class Played:
    site: Site
    stories: tuple[Story, Story]
    group: Dataset
    step_uid: str
    order_ids: set[str]
    study: Resource


def placers(played: Played) -> list[str]:
    return [story.order.placer for story in played.stories]


@pytest.fixture(scope="module")
def played(either: Site) -> Played:
    chest, abdomen = either.story("CT"), either.story("CT")
    # The same patient's second order.
    abdomen.patient = chest.patient
    abdomen.order = replace(abdomen.order, patient=chest.patient, description="CT of the abdomen")
    patient_id = either.records.put_patient(chest.patient)
    order_ids = {either.records.put_order(story.order, patient_id) for story in (chest, abdomen)}
    either.ris.send(messages.adt_a04, chest.patient)
    chest.send()
    abdomen.send()
    scanner = either.hospital.scanner("CT1")
    group = grouped([chest.item(), abdomen.item()])
    step = scanner.start(group)
    images = pictures(group, 2, step)
    assert scanner.send(images).failed == ()
    scanner.complete(step, images)
    study = either.published(str(group.StudyInstanceUID))
    return Played(either, (chest, abdomen), group, step, order_ids, study)


def test_one_study_is_linked_to_both_orders(played: Played) -> None:
    links = played.site.links(str(played.group.StudyInstanceUID))
    assert len({link["order_id"] for link in links}) == 2
    assert {link["ended_at"] for link in links} == {None}


def test_both_steps_and_both_orders_are_done(played: Played) -> None:
    for story in played.stories:
        row = story.order_row()
        assert (row["status"], row["step_status"]) == ("CM", "COMPLETED")


def test_neither_entry_is_offered_again(played: Played) -> None:
    scanner = played.site.hospital.scanner("CT1")
    for story in played.stories:
        assert scanner.worklist(AccessionNumber=story.order.accession) == []


def test_the_study_is_complete_by_its_mpps(played: Played) -> None:
    uid = str(played.group.StudyInstanceUID)
    assert played.site.rows("SELECT completed_by FROM study WHERE study_instance_uid = :u", u=uid) == [
        {"completed_by": "MPPS"}
    ]


def test_the_ehr_has_one_study_based_on_both_orders(played: Played) -> None:
    based_on = {one["reference"].split("/")[-1] for one in played.study["basedOn"]}
    assert based_on == played.order_ids
    assert (played.study["status"], played.study["numberOfInstances"]) == ("available", 2)
    for story in played.stories:  # nothing under the studies that were planned
        assert played.site.studies(story.uid) == []


def test_the_scanner_reads_back_what_it_told(played: Played) -> None:
    told = played.site.hospital.scanner("CT1").told(played.step_uid)
    assert told.PerformedProcedureStepStatus == "COMPLETED"
    accessions = [str(one.AccessionNumber) for one in told.ScheduledStepAttributesSequence]
    assert accessions == [story.order.accession for story in played.stories]


def test_an_exam_of_the_wrong_entry_is_off_its_order_and_offered_again(site: Site) -> None:
    """Images, then 110514: the study that the EHR had is withdrawn, and the entry waits again."""
    story = site.story("CT")
    patient_id = site.records.put_patient(story.patient)
    site.records.put_order(story.order, patient_id)
    site.ris.send(messages.adt_a04, story.patient)
    story.send()
    scanner = site.hospital.scanner("CT1")
    item = story.item()
    step = scanner.start(item)
    assert scanner.send(pictures(item, 2, step)).failed == ()
    site.published(story.uid)  # by the quiet time
    scanner.discontinue(step, (), ("110514", "Incorrect worklist entry selected"))
    site.published(story.uid, status="entered-in-error")
    assert until(lambda: len(scanner.worklist(AccessionNumber=story.order.accession)) == 1)
    assert site.review_of_study(story.uid)["reason"] == "wrong-entry"
