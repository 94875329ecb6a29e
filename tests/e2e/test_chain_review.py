"""What waits for a person, and what a person's word does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from bridge.hl7.ack import AckCode
from bridge.sandbox import ris as messages
from bridge.sandbox.images import us_clip
from tests.e2e.story import Resource, Site, Story


def ultrasound(site: Site) -> Story:
    """A clip of a known patient without an order, typed at the console."""
    story = site.story("US")
    site.records.put_patient(story.patient)
    clip = us_clip(story.patient)
    story.uid = str(clip.StudyInstanceUID)
    assert site.hospital.scanner("US1").send([clip]).failed == ()
    site.review_of_study(story.uid)
    return story


@pytest.fixture(scope="module")
def unordered(sekmet_site: Site) -> Story:
    return ultrasound(sekmet_site)


def test_an_ultrasound_without_order_stays_in_review_with_its_reason(site: Site, unordered: Story) -> None:
    subject = f"study:{site.study_id(unordered.uid)}"
    entries = [one for one in site.hospital.reviews() if one["subject"] == subject]
    assert [(one["kind"], one["reason"]) for one in entries] == [("study-unmatched", "no-order")]


def test_an_ultrasound_without_order_is_not_published(site: Site, unordered: Story) -> None:
    assert site.studies(unordered.uid) == []


def test_an_ultrasound_without_order_is_opened_for_nobody(site: Site, unordered: Story) -> None:
    answer = site.viewer(unordered.uid).ask(f"studies/{unordered.uid}/metadata")
    assert answer.status_code == 401


@dataclass
class Decided:
    """The same after a person linked it, undid the link and linked it again: what was seen after each."""

    story: Story
    linked: Resource
    seen_while_linked: int
    seen_after: int
    undone: Resource
    waiting: dict[str, Any]
    again: Resource


@pytest.fixture(scope="module")
def decided(sekmet_site: Site) -> Decided:
    site, story = sekmet_site, ultrasound(sekmet_site)
    story.send()
    study, order = str(site.study_id(story.uid)), str(story.order_row()["id"])
    metadata = f"studies/{story.uid}/metadata"

    def review(*words: str) -> None:
        done = site.hospital.run("review", *words)
        assert done.returncode == 0, done.stderr

    review("link", study, order)
    linked = site.published(story.uid, status="available")
    viewer = site.viewer(story.uid)
    seen = viewer.ask(metadata).status_code
    review("unlink", study, "--reason", "wrong order")
    seen_after = viewer.ask(metadata).status_code
    undone = site.published(story.uid, status="entered-in-error")
    waiting = site.review_of_study(story.uid)
    review("link", study, order)
    return Decided(story, linked, seen, seen_after, undone, waiting, site.published(story.uid, status="available"))


def test_a_link_by_a_person_publishes_with_its_order(decided: Decided) -> None:
    assert [one["identifier"]["value"] for one in decided.linked["basedOn"]] == [decided.story.order.accession]


def test_an_undone_link_is_entered_in_error(decided: Decided) -> None:
    assert (decided.undone["id"], decided.undone["status"]) == (decided.linked["id"], "entered-in-error")


def test_an_undone_link_ends_access_at_once(decided: Decided) -> None:
    assert (decided.seen_while_linked, decided.seen_after) == (200, 403)


def test_an_undone_link_waits_for_review_again(decided: Decided) -> None:
    assert decided.waiting["reason"] == "unlinked-by-a-person"


def test_a_link_made_again_revives_the_imaging_study(decided: Decided) -> None:
    assert decided.again["id"] == decided.linked["id"]


def test_links_keep_their_history_and_who_made_them(site: Site, decided: Decided) -> None:
    links = site.links(decided.story.uid)
    assert [(one["rule"], one["ended_at"] is None) for one in links] == [("person", False), ("person", True)]
    assert all(one["made_by"].startswith("cli:") for one in links)


PARKED = {
    "modality-unknown": {"modality": "WOBBLE", "station_ae": "CT1"},
    "no-station": {"modality": "NM", "station_ae": "", "station_name": "", "location": ""},
}


@pytest.fixture(scope="module", params=PARKED)
def parked(request: pytest.FixtureRequest, sekmet_site: Site) -> tuple[str, Story]:
    values = dict(PARKED[request.param])
    story = sekmet_site.story(values.pop("modality"), **values)
    assert story.send().code is AckCode.AA
    return request.param, story


def test_an_order_that_cannot_be_placed_is_in_the_review_list(site: Site, parked: tuple[str, Story]) -> None:
    reason, story = parked
    subject = f"step:{story.order_row()['step']}"
    entries = [one for one in site.hospital.reviews() if one["subject"] == subject]
    assert [(one["kind"], one["reason"]) for one in entries] == [("order-parked", reason)]


def test_an_order_that_cannot_be_placed_is_counted(site: Site) -> None:
    def count() -> int:
        return sum(number for kind, number, _ in site.hospital.status()["reviews"] if kind == "order-parked")

    before = count()
    site.story("NM", station_ae="").send()
    assert count() == before + 1


def test_an_order_that_cannot_be_placed_is_on_no_worklist(site: Site, parked: tuple[str, Story]) -> None:
    _, story = parked
    for station in ("CT1", "MR1", ""):
        assert site.hospital.scanner("CT1").worklist(station=station, PatientID=story.patient.mrn) == []


def test_a_parked_order_is_released_by_the_change_that_mends_it(site: Site) -> None:
    story = site.story("NM", station_ae="")
    story.send()
    story.order = replace(story.order, modality="MR", station_ae="MR1")
    story.send(messages.change)
    assert [str(item.PatientID) for item in site.hospital.scanner("MR1").worklist(PatientID=story.patient.mrn)] == [
        story.patient.mrn
    ]
    assert site.reviews(f"step:{story.order_row()['step']}") == []
