"""Rejection notes (RAD-66): what is hidden, refused, taken off its order, told, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge.config import Destination, Dicom, DicomPeer, Hl7, Storage
from bridge.domain.order import OrderStatus
from bridge.domain.performed import ScheduledReference
from bridge.domain.rejection import Hidden, RejectedInstance, RejectionNote, strongest, withdrawn_status
from bridge.domain.study import MatchState
from bridge.errors import StateConflict
from bridge.store import launches, rejection, studies, viewing
from bridge.workflow import rejecting
from bridge.workflow.matching import Matching
from bridge.workflow.publishing import gather
from tests.unit.workflow.house import House, made, order

MAY = frozenset({"store", "reject"})
PACS = Dicom(peer=(DicomPeer(ae_title="CT1", may=MAY),))
RIS = Destination(name="ris", port=1, events=frozenset({"started", "completed", "discontinued"}))
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
TITLES = [Hidden.QUALITY, Hidden.SAFETY, Hidden.WORKLIST, Hidden.RETENTION]


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build(dicom=PACS)


def reject(house: House, title: Hidden, *uids: str, note: str = "1.2.7.1", study: str = "1.2.3", **more: Any) -> bool:
    """The note arrives, as an object of a series of its own in the study that it speaks of."""
    named = tuple(RejectedInstance(study, "1.2.3.1", uid) for uid in uids)
    return house.image(
        sop_instance_uid=note, sop_class_uid=KEY_OBJECTS, series_instance_uid=f"{note}.0", modality="KO", sha=note,
        rejection=RejectionNote(title, named, readable=bool(named)), **more,
    )  # fmt: skip


def scanned(house: House, *uids: str) -> None:
    house.order(order())
    for uid in uids:
        house.image(sop_instance_uid=uid)
    house.complete()


def hidden(house: House) -> dict[str, str]:
    return {row.sop_instance_uid: row.hidden for row in house.rows("instance")}


def shown(house: House) -> set[str]:
    return {row.sop_instance_uid for row in house.read(lambda c: viewing.find_instances(c, "1.2.3"))}


def published(house: House) -> tuple[str, int]:
    """The status that an EHR is told now, and how many instances."""
    content, state = house.read(lambda c: gather(c, house.study().id, house.context))
    status = content.status if state is MatchState.MATCHED else "entered-in-error"
    return status, sum(one.instances for one in content.series)


# -- hidden ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", TITLES)
def test_what_a_note_names_is_hidden_with_its_arrival_and_nothing_else(house: House, title: Hidden) -> None:
    scanned(house, "1.5", "1.6")
    reject(house, title, "1.5")
    assert hidden(house) == {"1.5": title, "1.6": "", "1.2.7.1": "note"}


def test_no_reader_shows_what_is_hidden(house: House) -> None:
    scanned(house, "1.5", "1.6")
    reject(house, Hidden.SAFETY, "1.5")
    assert shown(house) == {"1.6"}
    assert house.read(lambda c: viewing.find_documents(c, "1.2.3", "1.2.3.1", "1.5")) == []
    assert [row.instances for row in house.read(lambda c: viewing.list_studies(c, frozenset({"1.2.3"})))] == [1]
    assert [row.instances for row in house.read(lambda c: viewing.list_series(c, "1.2.3"))] == [1]
    assert house.read(lambda c: studies.count_instances(c, house.study().id)) == 1


def test_the_note_itself_is_no_image(house: House) -> None:
    scanned(house, "1.5", "1.6")
    reject(house, Hidden.SAFETY, "1.5")
    assert published(house) == ("available", 1)
    assert [row.modalities for row in house.read(lambda c: viewing.list_studies(c, frozenset({"1.2.3"})))] == [("CT",)]


def test_a_study_of_which_all_is_rejected_is_nothing_to_open(house: House) -> None:
    scanned(house, "1.5")
    owner = house.order_row().patient_id
    assert [s.id for s in house.read(lambda c: launches.studies_of_patient(c, owner))] == [house.study().id]
    reject(house, Hidden.SAFETY, "1.5")
    assert house.read(lambda c: launches.studies_of_patient(c, owner)) == []


def test_the_ehrs_are_told_at_once(house: House) -> None:
    scanned(house, "1.5", "1.6")
    before = house.rows("publication")[0].version
    reject(house, Hidden.SAFETY, "1.5")
    assert house.rows("publication")[0].version > before
    assert house.study().state == "complete"


@pytest.mark.parametrize(
    ("title", "status"),
    [
        (Hidden.QUALITY, "cancelled"),
        (Hidden.SAFETY, "entered-in-error"),
        (Hidden.WORKLIST, "entered-in-error"),
        (Hidden.RETENTION, "cancelled"),
    ],
)
def test_the_status_of_a_study_of_which_nothing_is_left(house: House, title: Hidden, status: str) -> None:
    scanned(house, "1.5")
    reject(house, title, "1.5")
    assert published(house) == (status, 0)


def test_a_study_is_in_error_only_when_all_of_it_was() -> None:
    assert withdrawn_status([Hidden.SAFETY, Hidden.NOTE]) == "entered-in-error"
    assert withdrawn_status([Hidden.SAFETY, Hidden.QUALITY]) == "cancelled"
    assert withdrawn_status([Hidden.NOTE]) == withdrawn_status([]) == "cancelled"


def test_nothing_left_waits_for_no_person(house: House) -> None:
    house.image(sop_instance_uid="1.5")
    house.complete()
    assert ("study-unmatched", "no-order") in house.reviews()
    reject(house, Hidden.SAFETY, "1.5")
    house.complete()
    assert house.reviews() == set()


def test_quality_may_be_shown_on_by_setting(build: Callable[..., House]) -> None:
    house = build(dicom=PACS, storage=Storage(rejected_for_quality="show"))
    scanned(house, "1.5")
    reject(house, Hidden.QUALITY, "1.5")
    assert hidden(house) == {"1.5": "", "1.2.7.1": "note"}
    assert [row.title for row in house.rows("rejection")] == ["quality"]


def test_the_strongest_of_several_rejections_counts_whichever_came_first(house: House) -> None:
    scanned(house, "1.5", "1.6")
    reject(house, Hidden.QUALITY, "1.5", "1.6", note="1.2.7.1")
    reject(house, Hidden.SAFETY, "1.5", "1.6", note="1.2.7.2")
    reject(house, Hidden.RETENTION, "1.5", "1.6", note="1.2.7.3")
    assert {hidden(house)[uid] for uid in ("1.5", "1.6")} == {"safety"}
    assert strongest([Hidden.RETENTION, Hidden.WORKLIST]) is Hidden.WORKLIST


def test_an_object_of_another_study_than_the_note_says_is_shown_on_and_a_person_told(house: House) -> None:
    scanned(house, "1.5")
    reject(house, Hidden.SAFETY, "1.5", study="1.2.99")
    assert shown(house) == {"1.5"}
    assert house.reviews() == {("rejection-note", "objects-of-another-study")}


def test_the_same_note_again_is_applied_once(house: House) -> None:
    scanned(house, "1.5")
    assert [reject(house, Hidden.SAFETY, "1.5") for _ in "12"] == [True, False]
    assert (len(house.rows("rejection")), house.audited("rejected")) == (1, 1)


# -- whose word counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peers", [(), (DicomPeer(ae_title="CT1"),)], ids=["unlisted", "by default"])
def test_the_note_of_a_peer_that_may_not_reject_hides_nothing(build: Callable[..., House], peers: Any) -> None:
    house = build(dicom=Dicom(peer=peers))
    scanned(house, "1.5")
    reject(house, Hidden.SAFETY, "1.5")
    assert hidden(house) == {"1.5": "", "1.2.7.1": ""}
    assert house.reviews() == {("rejection-note", "rejection-not-allowed")}


def test_sent_again_by_a_peer_that_may_reject_meanwhile_it_is_applied(build: Callable[..., House]) -> None:
    first = build(dicom=Dicom())
    scanned(first, "1.5")
    reject(first, Hidden.SAFETY, "1.5")
    later = first.settings.model_copy(update={"dicom": PACS})
    object.__setattr__(first.context, "settings", later)
    assert reject(first, Hidden.SAFETY, "1.5") is False
    assert (hidden(first), first.reviews()) == ({"1.5": "safety", "1.2.7.1": "note"}, set())


def test_a_note_that_cannot_be_read_whole_hides_nothing_and_waits_for_a_person(house: House) -> None:
    scanned(house, "1.5")
    reject(house, Hidden.SAFETY)
    assert (shown(house), house.reviews()) == ({"1.5", "1.2.7.1"}, {("rejection-note", "rejection-unclear")})


# -- before and after -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", TITLES)
def test_an_object_that_comes_after_its_note_is_hidden_with_its_arrival(house: House, title: Hidden) -> None:
    house.order(order())
    reject(house, title, "1.5")
    house.image(sop_instance_uid="1.5")
    house.complete()
    assert hidden(house) == {"1.5": title, "1.2.7.1": "note"}
    assert (house.reviews(), house.rows("publication")) == (set(), [])


def test_an_object_that_is_rejected_before_it_comes_starts_no_step(house: House) -> None:
    house.order(order())
    reject(house, Hidden.SAFETY, "1.5")
    house.image(sop_instance_uid="1.5")
    assert house.status_of_step() == "SCHEDULED"


@pytest.mark.parametrize("title", [Hidden.SAFETY, Hidden.WORKLIST])
@pytest.mark.parametrize("sha", ["x", "y"], ids=["same bytes", "other bytes"])
def test_what_was_rejected_for_safety_or_its_entry_is_not_taken_again(house: House, title: Hidden, sha: str) -> None:
    house.order(order())
    house.image(sop_instance_uid="1.5", sha="x")
    reject(house, title, "1.5")
    with pytest.raises(StateConflict) as refused:
        house.image(sop_instance_uid="1.5", sha=sha)
    assert refused.value.code == "rejected"
    assert house.rows("instance_aside") == []


def test_an_object_that_came_after_its_note_is_not_taken_a_second_time(house: House) -> None:
    reject(house, Hidden.SAFETY, "1.5")
    assert house.image(sop_instance_uid="1.5", sha="x")
    with pytest.raises(StateConflict):
        house.image(sop_instance_uid="1.5", sha="x")


def test_what_was_rejected_for_quality_may_come_again_and_stays_hidden(house: House) -> None:
    house.image(sop_instance_uid="1.5", sha="x")
    reject(house, Hidden.QUALITY, "1.5")
    assert house.image(sop_instance_uid="1.5", sha="x") is False
    assert hidden(house)["1.5"] == "quality"


def test_what_is_imported_again_after_its_retention_is_shown_and_told(house: House) -> None:
    house.order(order())
    house.image(sop_instance_uid="1.5", sha="x")
    reject(house, Hidden.RETENTION, "1.5")
    assert house.image(sop_instance_uid="1.5", sha="x") is False
    house.complete()
    assert (shown(house), published(house)) == ({"1.5"}, ("available", 1))


# -- the wrong worklist entry ---------------------------------------------------------------------------------------


def by_mpps(house: House) -> None:
    house.order(order())
    house.mpps("1.3.1", FROM_LIST, modality="CT", patient_id="1001", patient_issuer="HOSP")
    house.image(sop_instance_uid="1.5")
    house.mpps_end("1.3.1", **made("1.5"))
    house.complete()


def by_images(house: House) -> None:
    house.order(order())
    house.image(sop_instance_uid="1.5")
    house.complete()


BOTH = pytest.mark.parametrize("done", [by_mpps, by_images])


@BOTH
def test_a_step_done_under_the_wrong_entry_waits_again(house: House, done: Callable[[House], None]) -> None:
    done(house)
    assert (house.status_of_step(), house.worklist()) == ("COMPLETED", [])
    reject(house, Hidden.WORKLIST, "1.5")
    assert (house.status_of_step(), len(house.worklist())) == ("SCHEDULED", 1)
    assert house.order_row().status is OrderStatus.SC


@BOTH
def test_its_study_is_taken_off_the_order_by_rule_and_audited(house: House, done: Callable[[House], None]) -> None:
    done(house)
    reject(house, Hidden.WORKLIST, "1.5")
    house.complete()
    assert house.links() == []
    assert [row.end_reason for row in house.rows("study_link")] == [rejecting.WRONG_ENTRY]
    assert (house.audited("study-unlinked"), house.reviews()) == (1, set())


@BOTH
def test_no_later_message_ends_the_step_again(house: House, done: Callable[[House], None]) -> None:
    done(house)
    reject(house, Hidden.WORKLIST, "1.5")
    house.order(order("XO"))
    house.complete()
    assert (house.status_of_step(), house.links()) == ("SCHEDULED", [])


@BOTH
def test_the_right_exam_under_the_same_study_uid_is_done_linked_and_told(
    house: House, done: Callable[[House], None]
) -> None:
    done(house)
    reject(house, Hidden.WORKLIST, "1.5")
    house.mpps("1.3.2", FROM_LIST, modality="CT", patient_id="1001", patient_issuer="HOSP")
    house.image(sop_instance_uid="1.6", series_instance_uid="1.2.3.2")
    house.mpps_end("1.3.2", **made("1.6", series="1.2.3.2"))
    house.complete()
    assert (house.status_of_step(), len(house.links()), published(house)) == ("COMPLETED", 1, ("available", 1))


def test_the_right_exam_that_is_given_up_leaves_the_step_as_its_device_says(house: House) -> None:
    by_mpps(house)
    reject(house, Hidden.WORKLIST, "1.5")
    house.mpps("1.3.2", FROM_LIST, modality="CT", patient_id="1001", patient_issuer="HOSP")
    house.mpps_end("1.3.2", "DISCONTINUED")
    assert house.status_of_step() == "DISCONTINUED"


def test_the_step_of_an_order_that_was_cancelled_meanwhile_does_not_wait(house: House) -> None:
    by_images(house)
    house.order(order("OC", "CA"))
    reject(house, Hidden.WORKLIST, "1.5")
    assert (house.status_of_step(), house.worklist()) == ("CANCELED", [])


def test_while_some_of_it_is_shown_a_person_decides(house: House) -> None:
    scanned(house, "1.5", "1.6")
    reject(house, Hidden.WORKLIST, "1.5")
    assert (len(house.links()), house.status_of_step()) == (1, "COMPLETED")
    assert house.reviews() == {("rejection-note", "rejected-in-part")}


def test_when_a_second_note_rejects_the_rest_it_is_done(house: House) -> None:
    scanned(house, "1.5", "1.6")
    reject(house, Hidden.WORKLIST, "1.5", note="1.2.7.1")
    reject(house, Hidden.WORKLIST, "1.6", note="1.2.7.2")
    assert (house.links(), house.status_of_step(), house.reviews()) == ([], "SCHEDULED", set())


def test_images_that_come_after_the_note_take_their_study_off_the_order(house: House) -> None:
    house.order(order())
    house.mpps("1.3.1", FROM_LIST, modality="CT", patient_id="1001", patient_issuer="HOSP")
    house.mpps_end("1.3.1", **made("1.5"))
    reject(house, Hidden.WORKLIST, "1.5")
    house.image(sop_instance_uid="1.5")
    assert house.status_of_step() == "SCHEDULED"


def test_an_order_that_was_told_as_completed_is_in_sight_of_a_person(build: Callable[..., House]) -> None:
    house = build(dicom=PACS, hl7=Hl7(destination=(RIS,)))
    by_images(house)
    reject(house, Hidden.WORKLIST, "1.5")
    assert house.reviews() == {("performed-conflict", "told-and-rejected")}


def test_the_exam_that_a_person_gave_the_study_to_stays_done(house: House) -> None:
    by_mpps(house)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    Matching(house.context).link(house.study().id, house.order_row("P2").id, "cli:anna")
    reject(house, Hidden.WORKLIST, "1.5")
    assert (house.status_of_step("P1"), house.status_of_step("P2")) == ("SCHEDULED", "COMPLETED")
    assert (len(house.links()), published(house)) == (1, ("entered-in-error", 0))


def test_safety_leaves_the_step_as_it_was_done(house: House) -> None:
    by_images(house)
    reject(house, Hidden.SAFETY, "1.5")
    assert (house.status_of_step(), len(house.links())) == ("COMPLETED", 1)


# -- taken back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", TITLES)
@BOTH
def test_taken_back_by_a_person_all_is_as_it_was(house: House, title: Hidden, done: Callable[[House], None]) -> None:
    done(house)
    reject(house, title, "1.5")
    assert rejecting.lift(house.context, 1, "cli:anna", "the wrong note") == 1
    house.complete()
    assert (shown(house), len(house.links()), house.status_of_step()) == ({"1.5"}, 1, "COMPLETED")
    assert published(house) == ("available", 1)
    assert house.image(sop_instance_uid="1.5", sha=house.rows("instance")[0].sha256) is False


def test_what_another_note_rejects_too_stays_hidden(house: House) -> None:
    scanned(house, "1.5")
    reject(house, Hidden.QUALITY, "1.5", note="1.2.7.1")
    reject(house, Hidden.SAFETY, "1.5", note="1.2.7.2")
    rejecting.lift(house.context, 2, "cli:anna", "")
    assert hidden(house)["1.5"] == "quality"


def test_a_rejection_is_taken_back_once(house: House) -> None:
    scanned(house, "1.5")
    reject(house, Hidden.QUALITY, "1.5")
    rejecting.lift(house.context, 1, "cli:anna", "")
    with pytest.raises(StateConflict):
        rejecting.lift(house.context, 1, "cli:anna", "")
    assert [row["applied"] for row in house.read(lambda c: rejection.list_rejections(c, 5))] == [1]
