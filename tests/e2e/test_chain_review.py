"""What waits for a person, and what a person's word does."""

from __future__ import annotations

import pytest

from bridge.hl7.ack import AckCode
from bridge.sandbox import ris as messages
from bridge.sandbox.images import us_clip
from tests.e2e.story import Site, Story


@pytest.fixture
def ultrasound(site: Site) -> Story:
    """A clip of a known patient without an order, typed at the console."""
    story = site.story("US")
    site.records.put_patient(story.patient)
    clip = us_clip(story.patient)
    story.uid = str(clip.StudyInstanceUID)
    assert site.hospital.scanner("US1").send([clip]).failed == ()
    return story


def test_an_ultrasound_without_order_stays_in_review_with_its_reason(site: Site, ultrasound: Story) -> None:
    entry = site.review_of_study(ultrasound.uid)
    assert (entry["kind"], entry["reason"]) == ("study-unmatched", "no-order")


def test_an_ultrasound_without_order_is_not_published(site: Site, ultrasound: Story) -> None:
    site.review_of_study(ultrasound.uid)
    assert site.studies(ultrasound.uid) == []


def test_an_ultrasound_without_order_is_not_launched(site: Site, ultrasound: Story) -> None:
    site.review_of_study(ultrasound.uid)
    viewer = site.viewer(ultrasound.uid)
    assert viewer.ask(f"studies/{ultrasound.uid}/metadata").status_code == 401


@pytest.fixture
def linked(site: Site, ultrasound: Story) -> Story:
    """The same, after a person has tied it to an order."""
    site.review_of_study(ultrasound.uid)
    ultrasound.send()
    link(site, ultrasound)
    site.published(ultrasound.uid, status="available")
    return ultrasound


def link(site: Site, story: Story) -> None:
    done = site.hospital.run("review", "link", str(site.study_id(story.uid)), str(story.order_row()["id"]))
    assert done.returncode == 0, done.stderr


def unlink(site: Site, story: Story) -> None:
    done = site.hospital.run("review", "unlink", str(site.study_id(story.uid)), "--reason", "wrong order")
    assert done.returncode == 0, done.stderr


def test_a_link_by_a_person_publishes(site: Site, linked: Story) -> None:
    study = site.published(linked.uid)
    assert (len(study["basedOn"]), [one["rule"] for one in site.links(linked.uid)]) == (1, ["person"])


def test_a_link_says_who_made_it(site: Site, linked: Story) -> None:
    assert site.links(linked.uid)[0]["made_by"].startswith("cli:")


def test_an_undone_link_is_entered_in_error(site: Site, linked: Story) -> None:
    first = site.published(linked.uid)
    unlink(site, linked)
    assert site.published(linked.uid, status="entered-in-error")["id"] == first["id"]


def test_an_undone_link_ends_access_at_once(site: Site, linked: Story) -> None:
    viewer = site.viewer(linked.uid)
    assert viewer.ask(f"studies/{linked.uid}/metadata").status_code == 200
    unlink(site, linked)
    assert viewer.ask(f"studies/{linked.uid}/metadata").status_code == 403


def test_an_undone_link_waits_for_review_again(site: Site, linked: Story) -> None:
    unlink(site, linked)
    assert site.review_of_study(linked.uid)["reason"] == "unlinked-by-a-person"


def test_a_link_made_again_revives_the_imaging_study(site: Site, linked: Story) -> None:
    unlink(site, linked)
    site.published(linked.uid, status="entered-in-error")
    link(site, linked)
    site.published(linked.uid, status="available")
    assert [one["ended_at"] is None for one in site.links(linked.uid)] == [False, True]


PARKED = {
    "modality-unknown": {"modality": "WOBBLE", "station_ae": "CT1"},
    "no-station": {"modality": "NM", "station_ae": "", "station_name": "", "location": ""},
}


@pytest.fixture(params=PARKED)
def parked(request: pytest.FixtureRequest, site: Site) -> tuple[str, Story]:
    values = dict(PARKED[request.param])
    story = site.story(values.pop("modality"), **values)
    assert story.send().code is AckCode.AA
    return request.param, story


def test_an_order_that_cannot_be_placed_is_in_the_review_list(site: Site, parked: tuple[str, Story]) -> None:
    reason, story = parked
    entries = site.reviews(f"step:{story.order_row()['step']}")
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
    mended = site.story("MR", **{name: getattr(story.order, name) for name in ("patient", "placer", "filler", "accession",
                                                                               "procedure_id", "step_id", "study_uid")})  # fmt: skip
    mended.send(messages.change)
    assert [str(item.PatientID) for item in site.hospital.scanner("MR1").worklist(PatientID=story.patient.mrn)] == [
        story.patient.mrn
    ]
    assert site.reviews(f"step:{story.order_row()['step']}") == []
