"""What follows from what other archives say they have."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.availability import Availability, AvailabilityNotice, RemoteInstance
from bridge.domain.performed import ScheduledReference
from bridge.errors import StateConflict
from bridge.store import launches
from bridge.workflow import noticing
from bridge.workflow.noticing import Notices, Noticing
from bridge.workflow.publishing import Publisher
from tests.unit.workflow.house import House, made, order
from tests.unit.workflow.test_publishing import FakeEhr

ON, NEAR, OFF, GONE = Availability
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}


def tell(house: House, ae: str = "PACS", uid: str = "", **words: Availability) -> int:
    """The words of one notice by the last part of the instance's UID, as `i1=ON`; in how many pieces it was applied."""
    number = len(house.rows("availability_notice"))
    instances = tuple(
        RemoteInstance("1.2.3.1", "1.2.840.10008.5.1.4.1.1.2", f"1.2.9.{name[1:]}", word, ae)
        for name, word in words.items()
    )
    Notices(house.context).take_notice(AvailabilityNotice(uid or f"1.2.49.{number}", "1.2.3", instances), ae)
    worker, pieces = Noticing(house.context), 0
    while worker.apply_due():
        pieces += 1
    return pieces


def published(house: House) -> House:
    """A study of two images, matched and at the EHR's door."""
    house.order(order())
    for number in (1, 2):
        house.image(sop_instance_uid=f"1.2.9.{number}")
    house.complete()
    return house


def sent(house: House, ehr: FakeEhr | None = None) -> FakeEhr:
    """The EHR once it has got what is due."""
    ehr = ehr or FakeEhr()
    publisher = Publisher(house.context, {"ehr": ehr})
    publisher.publish_due()
    publisher.close()
    return ehr


def statuses(ehr: FakeEhr) -> list[str]:
    return [status for status, *_ in ehr.studies.values()]


def places(house: House) -> dict[tuple[str, str], str]:
    return {(r.calling_ae_title, r.sop_instance_uid): r.availability for r in house.rows("remote_instance")}


# -- what is kept -------------------------------------------------------------------------------------------------


def test_the_newest_word_of_an_archive_on_an_instance_holds(house: House) -> None:
    tell(house, i1=ON, i2=ON)
    tell(house, i1=GONE)
    assert places(house) == {("PACS", "1.2.9.1"): GONE, ("PACS", "1.2.9.2"): ON}


def test_each_archive_speaks_for_itself(house: House) -> None:
    tell(house, i1=ON)
    tell(house, "OTHER", i1=GONE)
    assert places(house) == {("PACS", "1.2.9.1"): ON, ("OTHER", "1.2.9.1"): GONE}


def test_a_notice_is_known_once(house: House) -> None:
    tell(house, uid="1.2.49.9", i1=ON)
    with pytest.raises(StateConflict) as fault:
        tell(house, uid="1.2.49.9", i1=ON)
    assert fault.value.code == "duplicate"


def test_a_long_notice_is_applied_in_pieces_and_then_not_kept_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noticing, "PIECE", 2)
    many: dict[str, Any] = {f"i{number}": ON for number in range(5)}
    assert tell(house, **many) == 3
    (row,) = house.rows("availability_notice")
    assert (len(places(house)), row.applied, row.instances) == (5, 5, [])


# -- an exam's images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "complete"), [(ON, "MPPS"), (NEAR, "MPPS"), (OFF, ""), (GONE, "")])
def test_what_an_archive_can_give_counts_as_come(house: House, word: Availability, complete: str) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.image(sop_instance_uid="1.2.9.1")
    house.mpps_end("1.1", **made("1.2.9.1", "1.2.9.2"))
    tell(house, i2=word)
    house.acquiring.complete_due()
    assert house.study().completed_by == complete


# -- nothing left -------------------------------------------------------------------------------------------------


def test_a_study_of_which_the_archive_has_nothing_left_leaves_the_record_and_a_person_is_told(house: House) -> None:
    ehr = sent(published(house))
    tell(house, i1=GONE, i2=GONE)
    assert house.reviews() == {("images-unavailable", "archive-has-none")}
    assert statuses(sent(house, ehr)) == ["cancelled"]


def test_it_is_opened_by_no_viewer(house: House) -> None:
    published(house)
    owner = house.order_row().patient_id
    before = house.read(lambda c: launches.studies_of_patient(c, owner))
    tell(house, i1=GONE, i2=GONE)
    assert [len(before), len(house.read(lambda c: launches.studies_of_patient(c, owner)))] == [1, 0]


def test_a_study_of_which_a_part_is_gone_stays_and_a_person_is_told(house: House) -> None:
    published(house)
    tell(house, i1=GONE, i2=ON)
    assert house.reviews() == {("images-unavailable", "archive-lacks-some")}
    assert not house.study().unavailable


def test_what_one_archive_has_no_more_and_another_has_is_not_gone(house: House) -> None:
    published(house)
    tell(house, i1=GONE, i2=GONE)
    tell(house, "OTHER", i1=ON, i2=OFF)
    assert house.reviews() == set()
    assert not house.study().unavailable


def test_when_the_archive_has_it_again_so_has_the_record(house: House) -> None:
    published(house)
    tell(house, i1=GONE, i2=GONE)
    tell(house, i1=ON, i2=ON)
    house.matching.judge_due()
    assert house.reviews() == set()
    assert (house.study().match_state, statuses(sent(house))) == ("matched", ["available"])


def test_a_person_shows_our_copy_all_the_same(house: House) -> None:
    published(house)
    tell(house, i1=GONE, i2=GONE)
    house.matching.link(house.study().id, house.order_row().id, "cli:x")
    assert house.reviews() == set()
    assert statuses(sent(house)) == ["available"]


def test_a_study_that_was_never_published_is_nobodys_trouble_for_a_part(house: House) -> None:
    for number in (1, 2):
        house.image(sop_instance_uid=f"1.2.9.{number}")
    tell(house, i1=GONE)
    assert house.reviews() == set()


def test_of_a_study_that_is_not_here_it_is_only_noted(house: House) -> None:
    tell(house, i1=GONE)
    assert (places(house), house.reviews()) == ({("PACS", "1.2.9.1"): GONE}, set())
