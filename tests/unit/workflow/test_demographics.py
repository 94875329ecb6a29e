"""Patients: who they are, and what a merge does (IHE RAD-1, RAD-12; adt.md sections 3 and 6)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from bridge.config import Patients
from bridge.domain.access import User
from bridge.domain.identity import Identifier
from bridge.domain.message import Fate
from bridge.domain.patient import DELETED, PersonName
from bridge.store import patients
from bridge.workflow.identifying import MERGED
from bridge.workflow.launching import LaunchDesk
from tests.unit.workflow.house import JANE, JOHN, House, at, ct_step, order, who

TEMP = Identifier("TMP7", "HOSP")
USER = User("https://ehr.example.org", "dr")


def name(family: str) -> PersonName:
    return PersonName(family)


# -- ADT and orders -----------------------------------------------------------------------------------------------


def test_an_order_for_an_unknown_patient_makes_a_provisional_one(house: House) -> None:
    house.order(order())
    assert house.patient(JANE).provisional


def test_the_adt_feed_wins_over_what_an_order_said(house: House) -> None:
    house.order(order(patient=who(name=name("DO^JAN"))))
    house.adt("A04", JANE, name=name("DOE^JANE"))
    assert (house.patient(JANE).name, house.patient(JANE).provisional) == (name("DOE^JANE"), False)
    assert house.worklist()[0].patient_name == name("DOE^JANE")


def test_the_adt_feed_wins_even_when_it_comes_later_than_the_order_it_preceded(house: House) -> None:
    house.order(order(patient=who(name=name("DO^JAN")), event_time=at(10, 5)))
    house.adt("A04", JANE, name=name("DOE^JANE"), at=at(10))
    assert house.patient(JANE).name == name("DOE^JANE")


def test_an_order_only_fills_what_the_adt_feed_left_empty(house: House) -> None:
    house.adt("A04", JANE, name=name("DOE^JANE"))
    house.order(order(patient=who(name=name("DO^JAN"), birth_date="19800101")))
    assert (house.patient(JANE).name, house.patient(JANE).birth_date) == (name("DOE^JANE"), "19800101")


def test_empty_keeps_and_two_quotes_delete(house: House) -> None:
    house.adt("A04", JANE, name=name("DOE^JANE"), birth_date="19800101", sex="F", at=at(9))
    house.adt("A08", JANE, birth_date=DELETED, at=at(10))
    row = house.patient(JANE)
    assert (row.name, row.birth_date, row.sex) == (name("DOE^JANE"), "", "F")


def test_an_order_deletes_nothing_that_the_adt_feed_said(house: House) -> None:
    house.adt("A04", JANE, name=name("DOE^JANE"), birth_date="19800101")
    house.order(order(patient=who(birth_date=DELETED)))
    assert house.patient(JANE).birth_date == "19800101"


def test_an_older_update_changes_no_name(house: House) -> None:
    house.adt("A08", JANE, name=name("NEW^JANE"), at=at(11))
    house.adt("A08", JANE, name=name("OLD^JANE"), at=at(10))
    assert house.patient(JANE).name == name("NEW^JANE")


def test_an_update_that_confirms_the_name_also_outdates_older_ones(house: House) -> None:
    house.adt("A08", JANE, name=name("DOE^JANE"), at=at(9))
    house.adt("A08", JANE, name=name("DOE^JANE"), at=at(11))
    house.adt("A08", JANE, name=name("OLD^JANE"), at=at(10))
    assert house.patient(JANE).name == name("DOE^JANE")


def test_a_new_name_makes_cached_worklist_answers_void(house: House) -> None:
    house.order(order())
    (before,) = house.worklist()
    house.adt("A08", JANE, name=name("NEW^JANE"))
    (after,) = house.worklist()
    assert after.version > before.version
    assert after.patient_name == name("NEW^JANE")


def test_the_same_number_of_another_authority_is_another_person(house: House) -> None:
    house.adt("A04", JANE, name=name("DOE^JANE"))
    house.adt("A04", Identifier(JANE.value, "OTHER"), name=name("ROE^JOHN"))
    assert house.patient(JANE).name == name("DOE^JANE")
    assert len(house.rows("patient")) == 2


def test_identifiers_of_two_patients_are_not_merged_by_a_message(house: House) -> None:
    house.adt("A04", JANE)
    house.adt("A04", JOHN)
    house.adt("A08", JANE, JOHN)
    assert house.patient(JANE).id != house.patient(JOHN).id
    assert ("patient-identifiers", "identifiers-of-several-patients") in house.reviews()


def test_a_message_that_names_two_patients_changes_the_name_of_neither(house: House) -> None:
    house.adt("A04", JANE, name=name("DOE^JANE"))
    house.adt("A04", JOHN, name=name("ROE^JOHN"))
    house.adt("A08", JANE, JOHN, name=name("WHO^EVER"))
    assert [house.patient(i).name for i in (JANE, JOHN)] == [name("DOE^JANE"), name("ROE^JOHN")]


# -- merges -------------------------------------------------------------------------------------------------------


def test_after_a_merge_the_worklist_shows_the_survivors_name_and_id(house: House) -> None:
    """The record that is merged away was often registered first; its number must not be shown any more."""
    house.order(order(patient=who(TEMP, name=name("UNKNOWN^X"))))
    house.adt("A04", JANE, name=name("DOE^JANE"))
    house.adt("A40", JANE, prior=(TEMP,))
    (entry,) = house.worklist()
    assert (entry.patient_id, entry.patient_name) == ("1001", name("DOE^JANE"))


def test_a_survivor_that_the_merge_itself_makes_known_is_shown_by_its_own_id(house: House) -> None:
    house.order(order(patient=who(TEMP)))
    house.adt("A40", JANE, prior=(TEMP,), name=name("DOE^JANE"))
    assert house.worklist()[0].patient_id == "1001"


def test_a_chain_of_merges_leads_to_the_last(house: House) -> None:
    sunday, doe = Identifier("SUNDAY", "OF1"), Identifier("DOE", "HOSP")
    house.order(order(patient=who(sunday)))
    house.adt("A04", doe)
    house.adt("A40", doe, prior=(sunday,))
    house.adt("A40", JANE, prior=(doe,))
    assert house.patient(sunday).id == house.patient(doe).id == house.patient(JANE).id
    assert house.worklist()[0].patient_id == "1001"


@pytest.mark.parametrize("arrival", permutations(range(4)))
def test_a_chain_of_merges_leads_to_the_last_whichever_merge_came_first(house: House, arrival: tuple[int, ...]) -> None:
    sunday, doe = Identifier("SUNDAY", "OF1"), Identifier("DOE", "HOSP")
    acts: list[Callable[[], tuple[Fate, list[str]]]] = [
        lambda: house.order(order(patient=who(sunday))),
        lambda: house.adt("A04", doe),
        lambda: house.adt("A40", doe, prior=(sunday,)),
        lambda: house.adt("A40", JANE, prior=(doe,)),
    ]
    assert {acts[n]()[0] for n in arrival} == {Fate.APPLIED}
    assert house.patient(sunday).id == house.patient(doe).id == house.patient(JANE).id
    assert house.worklist()[0].patient_id == "1001"


def test_a_merge_into_a_record_that_was_merged_may_be_told_twice(house: House) -> None:
    house.adt("A40", JOHN, prior=(TEMP,))
    house.adt("A40", JANE, prior=(JOHN,))
    assert house.adt("A40", JOHN, prior=(TEMP,))[0] is Fate.APPLIED
    assert house.patient(TEMP).id == house.patient(JOHN).id == house.patient(JANE).id


def test_a_merge_that_would_take_the_survivors_own_number_along_is_refused(house: House) -> None:
    house.adt("A40", JANE, prior=(JOHN,))
    assert house.adt("A40", JOHN, prior=(TEMP, JANE))[1][0] == "duplicate-key PID-3"
    assert house.adt("A08", JANE, sex="F") == (Fate.APPLIED, [])


def test_a_merge_told_twice_is_a_merge_told_once(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A40", JANE, prior=(TEMP,))
    assert house.adt("A40", JANE, prior=(TEMP,))[0] is Fate.APPLIED
    assert house.audited("patient-merge") == 1


def test_an_unknown_prior_number_becomes_an_alias_for_images_still_to_come(house: House) -> None:
    fate, told = house.adt("A40", JANE, prior=(TEMP,))
    assert (fate, told) == (Fate.APPLIED, ["the prior identifier of the merge was not known"])
    assert house.patient(TEMP).id == house.patient(JANE).id


@pytest.mark.parametrize("numbers", [(JANE,), (JANE, Identifier("X9", "NHS"))], ids=["one id", "two ids"])
def test_a_record_is_not_merged_into_itself(house: House, numbers: tuple[Identifier, ...]) -> None:
    house.adt("A04", *numbers)
    assert house.adt("A40", *numbers, prior=(JANE,))[0] is Fate.REFUSED


def test_a_number_that_was_merged_elsewhere_does_not_drag_that_patient_along(house: House) -> None:
    """A into Jane, then A into John: John must not swallow Jane (adt.md section 3: AE 204)."""
    house.adt("A04", TEMP)
    house.adt("A04", JANE, name=name("DOE^JANE"))
    house.adt("A04", JOHN, name=name("ROE^JOHN"))
    house.adt("A40", JANE, prior=(TEMP,))
    assert house.adt("A40", JOHN, prior=(TEMP,))[0] is Fate.REFUSED
    assert house.patient(JANE).id != house.patient(JOHN).id


def test_a_loop_of_merges_is_refused(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A40", JANE, prior=(TEMP,))
    assert house.adt("A40", TEMP, prior=(JANE,))[0] is Fate.REFUSED


def test_an_update_under_a_retired_number_is_the_survivors_and_renames_nobody(house: House) -> None:
    house.adt("A04", TEMP, name=name("UNKNOWN^X"))
    house.adt("A40", JANE, prior=(TEMP,), name=name("DOE^JANE"))
    assert house.adt("A08", TEMP, name=name("UNKNOWN^Y")) == (Fate.APPLIED, [MERGED])
    assert house.patient(JANE).name == name("DOE^JANE")


def test_a_site_may_refuse_an_update_under_a_retired_number(build: Callable[..., House]) -> None:
    house = build(patients=Patients(merged_away="refuse"))
    house.adt("A40", JANE, prior=(TEMP,), name=name("DOE^JANE"))
    assert house.adt("A08", TEMP, name=name("UNKNOWN^Y"))[1][0] == "unknown-key PID-3"


def test_an_order_under_a_retired_number_says_so(house: House) -> None:
    house.adt("A40", JANE, prior=(TEMP,), name=name("DOE^JANE"), birth_date="19800101", sex="F")
    old = who(TEMP, name=name("UNKNOWN^X"), birth_date="19000101", sex="O")
    assert house.order(order(patient=old, procedure_id="RP1", steps=(ct_step(step_id="S1"),))) == (
        Fate.APPLIED, [MERGED],
    )  # fmt: skip
    assert house.worklist()[0].patient_name == name("DOE^JANE")


def test_an_order_under_a_retired_number_goes_to_the_survivor_as_they_are(house: House) -> None:
    house.order(order(patient=who(JANE)))
    house.adt("A40", JANE, prior=(TEMP,))
    house.order(order(placer="P2", accession="A2", uid="1.2.4", patient=who(TEMP, name=name("UNKNOWN^X"))))
    assert [(e.patient_id, e.patient_name) for e in house.worklist()] == [("1001", name("DOE^JANE"))] * 2


def test_several_pairs_of_a_merge_are_all_or_nothing(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A04", JANE)
    house.adt("A40", JANE, prior=(TEMP, JANE))
    assert house.patient(TEMP).id != house.patient(JANE).id


def test_a_merge_ends_the_sessions_of_the_record_that_is_gone(house: House) -> None:
    house.order(order(patient=who(TEMP)))
    house.image(patient_id=TEMP.value)
    house.complete()
    desk = LaunchDesk(house.context)
    session = desk.open(USER, patient=(TEMP,), study_instance_uids=None, origin="smart")
    token, _ = desk.enter(desk.hand_over(session.id, ("1.2.3",)))
    assert desk.session(token) is not None
    house.adt("A40", JANE, prior=(TEMP,))
    assert desk.session(token) is None


def test_a_matched_study_follows_its_patient_into_the_merge(house: House) -> None:
    """IHE PIR case 2: registered as unknown, scanned, then identified: all of it ends under the survivor."""
    house.order(order(patient=who(TEMP, name=name("UNKNOWN^X"))))
    house.image(patient_id=TEMP.value, patient_name=name("UNKNOWN^X"))
    house.complete()
    house.adt("A40", JANE, prior=(TEMP,), name=name("DOE^JANE"))
    house.complete()
    assert house.study().match_state == "matched"
    session = LaunchDesk(house.context).open(USER, patient=(JANE,), study_instance_uids=None, origin="smart")
    assert house.sees(session.id) == {"1.2.3"}


def test_a_patient_who_gets_their_name_later_keeps_the_study(house: House) -> None:
    """IHE PIR case 1: A08 names John Doe; an image that comes after must not take the study out of the chart."""
    house.order(order(patient=who(JANE, name=name("UNKNOWN^X"))))
    house.image(patient_name=name("UNKNOWN^X"))
    house.complete()
    house.adt("A08", JANE, name=name("DOE^JANE"))
    house.image(patient_name=name("UNKNOWN^X"))
    house.complete()
    assert house.study().match_state == "matched"


def test_a_study_that_comes_under_the_old_number_waits_for_a_person_when_the_name_differs(house: House) -> None:
    house.order(order(patient=who(JANE)))
    house.adt("A40", JANE, prior=(TEMP,))
    house.image(patient_id=TEMP.value, patient_name=name("UNKNOWN^X"))
    house.complete()
    assert house.study().match_state == "ambiguous"


def test_the_old_identifiers_are_kept_behind_the_survivors_own(house: House) -> None:
    house.adt("A04", TEMP)
    house.adt("A40", JANE, prior=(TEMP,))
    found = house.read(lambda c: patients.identifiers_of(c, house.patient(JANE).id))
    assert [i.value for i in found] == ["1001", "TMP7"]
