"""A scanner that speaks no MPPS: its images start the exam, and silence ends it."""

from __future__ import annotations

import pytest

from bridge.sandbox import ris as messages
from tests.e2e.story import Site, Story, pictures, until


@pytest.fixture
def story(site: Site) -> Story:
    made = site.story("CT")
    patient_id = site.records.put_patient(made.patient)
    site.records.put_order(made.order, patient_id)
    site.ris.send(messages.adt_a04, made.patient)
    made.send()
    return made


def standing(story: Story) -> tuple[str, str]:
    row = story.order_row()
    return row["status"], row["step_status"]


def test_the_first_image_takes_the_entry_off_the_list_and_silence_ends_the_exam(story: Story) -> None:
    scanner, images = story.site.hospital.scanner("CT1"), pictures(story.item(), 3)
    assert scanner.send(images[:1]).failed == ()
    assert scanner.worklist(AccessionNumber=story.order.accession) == []
    assert standing(story)[0] in ("IP", "CM")
    assert scanner.send(images[1:]).failed == ()
    study = story.site.published(story.uid, numberOfInstances=3)
    assert study["status"] == "available"
    assert until(lambda: standing(story) == ("CM", "COMPLETED"))
    completed = story.site.rows("SELECT completed_by FROM study WHERE study_instance_uid = :u", u=story.uid)
    assert completed == [{"completed_by": "quiet"}]


def test_an_image_that_comes_late_is_told_too_and_the_order_stays_done(story: Story) -> None:
    scanner, images = story.site.hospital.scanner("CT1"), pictures(story.item(), 2)
    assert scanner.send(images[:1]).failed == ()
    story.site.published(story.uid, numberOfInstances=1)
    assert scanner.send(images[1:]).failed == ()
    story.site.published(story.uid, numberOfInstances=2)
    assert standing(story) == ("CM", "COMPLETED")


def test_nobody_waits_for_an_mpps_of_it(story: Story) -> None:
    scanner = story.site.hospital.scanner("CT1")
    assert scanner.send(pictures(story.item(), 1)).failed == ()
    story.site.published(story.uid)
    kinds = {one["kind"] for one in story.site.hospital.reviews() if "performed" in one["kind"]}
    assert not kinds & {"performed-open"}
    assert story.site.reviews(f"study:{story.site.study_id(story.uid)}") == []
