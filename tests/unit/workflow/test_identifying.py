"""Whose message it is: numbers that are shared, mistyped, reused or renamed (HL7 v2.5.1 3.4.2.3, table 0203)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.config import Defaults
from bridge.domain.identity import Identifier
from bridge.domain.message import Envelope, Fate, Reading
from bridge.domain.order import OrderRequest
from bridge.domain.patient import PatientData, PatientEvent, PersonName
from bridge.domain.report import ReportRequest
from bridge.errors import NotFound, StateConflict
from bridge.store import review
from bridge.workflow.identifying import CONTRADICTS, KEPT, SEVERAL
from bridge.workflow.replaying import Replaying
from bridge.workflow.reviewing import accept_patient
from bridge.workflow.scheduling import ANOTHERS
from tests.unit.workflow.house import JANE, JOHN, House, at, order, who

SSN = Identifier("999999999", "SSA", "SS")
EPI, EPI2 = Identifier("E1", "EPI", "PI"), Identifier("E2", "EPI", "PI")
OLD, NEW = Identifier("1001", "HOSP", "MR"), Identifier("1009", "HOSP", "MR")
OTHER_PERSON = PatientData((JANE,), PersonName("ROE^JOHN"), "19700707", "M")
"""Somebody else under Jane's number."""


def second_order(patient: PatientData, **changes: Any) -> OrderRequest:
    return order(placer="P2", accession="A2", uid="1.2.4", patient=patient, **changes)


def shown(house: House) -> list[tuple[str, str]]:
    return [(entry.accession_number, entry.patient_name.dicom) for entry in house.worklist()]


def confirmed(house: House) -> None:
    house.adt("A04", JANE, name=PersonName("DOE^JANE"), birth_date="19800101", sex="F")


# -- numbers that name nobody -------------------------------------------------------------------------------------


def test_two_people_with_one_social_security_number_stay_two(house: House) -> None:
    house.order(order(patient=PatientData((JANE,), PersonName("DOE^JANE"), "19800101", "F", (SSN,))))
    house.order(second_order(PatientData((JOHN,), PersonName("ROE^JOHN"), "19700707", "M", (SSN,))))
    assert shown(house) == [("A1", "DOE^JANE"), ("A2", "ROE^JOHN")]


def test_a_number_that_names_nobody_is_shown_beside_the_patient_id(house: House) -> None:
    house.order(order())
    (before,) = house.worklist()
    house.adt("A08", JANE, others=(SSN,))
    (after,) = house.worklist()
    assert (after.patient_id, after.other_patient_ids, after.version > before.version) == ("1001", (SSN,), True)


def test_a_number_that_names_nobody_follows_its_person_into_a_merge(house: House) -> None:
    house.adt("A04", JOHN, others=(SSN,))
    house.order(order())
    house.adt("A40", JANE, prior=(JOHN,))
    assert SSN in house.worklist()[0].other_patient_ids


# -- a number that is mistyped or reused --------------------------------------------------------------------------


@pytest.mark.parametrize("feed", [False, True], ids=["no ADT feed", "ADT feed"])
def test_an_order_of_another_person_under_a_known_number_waits_and_renames_nobody(house: House, feed: bool) -> None:
    if feed:
        confirmed(house)
    house.order(order())
    assert house.order(second_order(OTHER_PERSON)) == (Fate.PARKED, [CONTRADICTS])
    assert shown(house) == [("A1", "DOE^JANE")]
    assert house.reviews() == {("patient-overlay", CONTRADICTS)}


DOUBTED = {
    "brothers": {"name": PersonName("DOE^JAMES"), "birth_date": "19820101", "sex": "F"},
    "same sex": {"name": PersonName("ROE^ANN"), "birth_date": "19700707"},
    "twins": {"name": PersonName("DOE^JOHN"), "sex": "M"},
    "one name, two people": {"name": PersonName("Doe^Jane"), "birth_date": "19700707", "sex": "M"},
    "no sex": {"name": PersonName("ROE^ANN"), "birth_date": "19700707", "sex": ""},
    "no name": {"name": "", "birth_date": "19700707", "sex": "M"},
    "no birth date": {"name": PersonName("ROE^ANN"), "birth_date": ""},
    "a name alone": {"name": PersonName("ROE^JOHN"), "birth_date": "", "sex": ""},
}


@pytest.mark.parametrize("feed", [False, True], ids=["no ADT feed", "ADT feed"])
@pytest.mark.parametrize("said", DOUBTED.values(), ids=DOUBTED)
def test_an_order_in_which_two_things_differ_waits_and_renames_nobody(
    house: House, said: dict[str, Any], feed: bool
) -> None:
    if feed:
        confirmed(house)
    house.order(order())
    assert house.order(second_order(who(**said))) == (Fate.PARKED, [CONTRADICTS])
    assert shown(house) == [("A1", "DOE^JANE")]


CORRECTED = {
    "marriage": {"name": PersonName("ROE^JANE")},
    "given name": {"name": PersonName("DOE^JOAN")},
    "birth date": {"birth_date": "19800110"},
    "birth date, more names": {"name": PersonName("DOE^JANE^ANN"), "birth_date": "19800110"},
    "sex": {"sex": "M"},
}


@pytest.mark.parametrize("said", CORRECTED.values(), ids=CORRECTED)
def test_a_newer_order_in_which_one_thing_differs_corrects_what_is_shown(house: House, said: dict[str, Any]) -> None:
    house.order(order(event_time=at(10)))
    assert house.order(second_order(who(**said), event_time=at(11)))[0] is Fate.APPLIED
    told = who(**said)
    assert [(e.patient_name, e.birth_date, e.sex) for e in house.worklist()] == [
        (told.name, told.birth_date, told.sex)
    ] * 2


@pytest.mark.parametrize("name", ["JANE^DOE", "DOE JANE", "D^J", "DOE-ROE^JANE"])
def test_a_name_that_is_only_written_otherwise_is_no_other_name(house: House, name: str) -> None:
    house.order(order())
    said = who(name=PersonName(name), birth_date="19800110")
    assert house.order(second_order(said))[0] is Fate.APPLIED


def test_an_order_with_the_birth_date_and_sex_of_another_name_renames_nobody(house: House) -> None:
    """Spelt otherwise by another system (MUELLER^JUERGEN), or somebody else: what was known first is shown."""
    house.order(order(patient=who(name=PersonName("MÜLLER^JÜRGEN"))))
    fate, told = house.order(second_order(who(name=PersonName("MUELLER^JUERGEN"))))
    assert (fate, KEPT in told) == (Fate.APPLIED, True)
    assert shown(house) == [("A1", "MÜLLER^JÜRGEN"), ("A2", "MÜLLER^JÜRGEN")]


def names_both(house: House) -> Reading:
    """An order under the numbers of two known patients."""
    house.order(order(patient=who(JANE)), order(placer="P9", accession="A9", uid="1.2.9", patient=who(JOHN)))
    reading = Reading(orders=(second_order(who(name="", identifiers=(JANE, JOHN))),))
    assert house.send(reading) == (Fate.PARKED, [SEVERAL])
    return reading


def test_an_order_that_names_two_patients_is_shown_under_neither(house: House) -> None:
    names_both(house)
    assert shown(house) == [("A1", "DOE^JANE"), ("A9", "ROE^JOHN")]
    assert house.reviews() == {("patient-identifiers", SEVERAL)}


def test_an_order_that_named_two_patients_is_taken_when_they_were_merged(house: House) -> None:
    reading = names_both(house)
    house.adt("A40", JANE, prior=(JOHN,), name=PersonName("DOE^JANE"))
    assert replay(house, reading) is Fate.APPLIED
    assert (("A2", "DOE^JANE") in shown(house), house.reviews()) == (True, set())


def test_a_change_of_a_known_order_that_tells_of_another_person_waits_too(house: House) -> None:
    house.order(order())
    assert house.order(order("XO", patient=OTHER_PERSON))[0] is Fate.PARKED
    assert shown(house) == [("A1", "DOE^JANE")]


def test_a_cancel_of_a_known_order_under_its_patients_number_is_done_whatever_it_says_of_the_name(
    house: House,
) -> None:
    """Registration has corrected name and birth date since; the order's number and the patient's are its own."""
    confirmed(house)
    house.order(order())
    assert house.order(order("CA", patient=OTHER_PERSON))[0] is Fate.APPLIED
    assert (shown(house), house.patient(JANE).name, house.reviews()) == ([], PersonName("DOE^JANE"), set())


def test_a_cancel_of_an_unknown_order_that_tells_of_another_person_waits(house: House) -> None:
    confirmed(house)
    assert house.order(order("CA", patient=OTHER_PERSON)) == (Fate.PARKED, [CONTRADICTS])


def test_a_report_of_another_person_under_a_known_number_waits(house: House) -> None:
    confirmed(house)
    told = ReportRequest(Identifier("F1", "RIS"), None, None, OTHER_PERSON, text="text", issued=at(12), sent=at(12))
    assert house.send(Reading(reports=(told,)))[0] is Fate.PARKED
    assert house.rows("report") == []


def replay(house: House, reading: Reading) -> Fate:
    """The parked message again."""

    def read(_: Envelope) -> Reading:
        return reading

    (message,) = (row.id for row in house.rows("message") if row.fate == Fate.PARKED)
    return Replaying(house.context, read).replay(message, "cli:x", dry_run=False).after


def parked(house: House) -> tuple[Reading, int]:
    """An order that waits, and its review entry."""
    house.order(order())
    reading = Reading(orders=(second_order(OTHER_PERSON),))
    house.send(reading)
    (entry,) = house.read(review.open_reviews)
    return reading, int(str(entry["id"]))


def test_a_replay_alone_leaves_the_order_waiting(house: House) -> None:
    reading, _ = parked(house)
    assert replay(house, reading) is Fate.PARKED
    assert house.reviews() == {("patient-overlay", CONTRADICTS)}


def test_an_order_that_a_person_accepts_is_taken_by_its_replay(house: House) -> None:
    reading, entry = parked(house)
    assert accept_patient(house.context, entry, "cli:x", "named in the meantime") == "message:2"
    assert replay(house, reading) is Fate.APPLIED
    assert [accession for accession, _ in shown(house)] == ["A1", "A2"]
    assert (house.reviews(), house.audited("patient-accepted")) == (set(), 1)


def test_an_accepted_order_renames_neither_the_patient_nor_their_other_orders(house: House) -> None:
    reading, entry = parked(house)
    accept_patient(house.context, entry, "cli:x", "maiden name")
    replay(house, reading)
    assert shown(house) == [("A1", "DOE^JANE"), ("A2", "DOE^JANE")]


def test_an_accepted_order_takes_nothing_from_the_adt_feed(house: House) -> None:
    confirmed(house)
    reading, entry = parked(house)
    accept_patient(house.context, entry, "cli:x", "maiden name")
    assert replay(house, reading) is Fate.APPLIED
    assert shown(house) == [("A1", "DOE^JANE"), ("A2", "DOE^JANE")]


def test_once_registration_has_put_the_record_right_the_replay_takes_the_order(house: House) -> None:
    reading, _ = parked(house)
    house.adt("A08", JANE, name=PersonName("ROE^JOHN"), birth_date="19700707", sex="M")
    assert replay(house, reading) is Fate.APPLIED
    assert ("patient-overlay", CONTRADICTS) not in house.reviews()


def test_only_such_an_entry_can_be_accepted(house: House) -> None:
    house.image()
    house.complete()
    (entry,) = house.read(review.open_reviews)
    with pytest.raises(StateConflict):
        accept_patient(house.context, int(str(entry["id"])), "cli:x", "why not")
    with pytest.raises(NotFound):
        accept_patient(house.context, 99, "cli:x", "why not")


# -- orders that came before the feed, for somebody else ----------------------------------------------------------


def withheld(house: House) -> None:
    """An order of John's under Jane's number, before registration told of Jane."""
    house.order(order(patient=OTHER_PERSON))
    confirmed(house)


def test_a_feed_that_first_speaks_of_another_person_is_believed_and_their_orders_wait(house: House) -> None:
    withheld(house)
    assert (shown(house), house.patient(JANE).name) == ([], PersonName("DOE^JANE"))
    assert house.reviews() == {
        ("patient-overlay", "name-birth-and-sex-changed"), ("order-parked", ANOTHERS),
    }  # fmt: skip


def test_a_feed_that_corrects_one_thing_withholds_no_order(house: House) -> None:
    house.order(order())
    house.adt("A04", JANE, name=PersonName("ROE^JANE"), birth_date="19800101", sex="F")
    assert shown(house) == [("A1", "ROE^JANE")]


def test_a_withheld_order_that_a_person_accepts_is_shown(house: House) -> None:
    withheld(house)
    (entry,) = (e for e in house.read(review.open_reviews) if e["reason"] == ANOTHERS)
    assert accept_patient(house.context, int(str(entry["id"])), "cli:x", "asked the ward") == "order:1"
    assert shown(house) == [("A1", "DOE^JANE")]
    assert ("order-parked", ANOTHERS) not in house.reviews()


def test_a_message_that_agrees_with_the_record_shows_a_withheld_order(house: House) -> None:
    withheld(house)
    house.order(order("XO"))
    assert shown(house) == [("A1", "DOE^JANE")]
    assert ("order-parked", ANOTHERS) not in house.reviews()


@pytest.mark.parametrize("said", [OTHER_PERSON, PatientData(()), PatientData((JANE,))], ids=["other", "none", "number"])
def test_a_message_that_does_not_name_the_person_shows_no_withheld_order(house: House, said: PatientData) -> None:
    withheld(house)
    house.order(replace(order("XO"), patient=said))
    assert shown(house) == []


def test_a_withheld_order_that_is_cancelled_waits_for_nobody(house: House) -> None:
    withheld(house)
    house.order(replace(order("CA", "CA"), patient=PatientData(())))
    assert ("order-parked", ANOTHERS) not in house.reviews()


def test_a_new_order_of_the_person_of_the_record_is_shown_beside_a_withheld_one(house: House) -> None:
    withheld(house)
    house.order(second_order(who()))
    assert shown(house) == [("A2", "DOE^JANE")]


# -- the Patient ID that scanners are told ------------------------------------------------------------------------


def test_the_preferred_authority_is_shown_though_it_came_later(build: Callable[..., House]) -> None:
    house = build(defaults=Defaults(patient_issuer="HOSP"))
    house.order(order(patient=who(EPI, name=PersonName("DOE^JANE"))))
    house.adt("A08", EPI, Identifier("1001", "HOSP"))
    assert house.worklist()[0].patient_id == "1001"


def test_a_record_number_is_shown_before_an_untyped_one_that_came_first(house: House) -> None:
    house.adt("A04", Identifier("X1", "ELSEWHERE"), OLD)
    house.order(order(patient=who(OLD)))
    assert house.worklist()[0].patient_id == "1001"


def test_a_changed_number_is_shown_though_the_enterprise_number_is_known(house: House) -> None:
    house.adt("A04", OLD, EPI)
    house.order(order(patient=who(OLD)))
    house.adt("A47", NEW, EPI, prior=(OLD,))
    assert [i.value for i in (Identifier(house.worklist()[0].patient_id), *house.worklist()[0].other_patient_ids)] == [
        "1009", "E1", "1001",
    ]  # fmt: skip


# -- an enterprise number on both sides ---------------------------------------------------------------------------


def test_an_enterprise_number_on_both_sides_of_a_change_stays_in_use(house: House) -> None:
    house.adt("A04", OLD, EPI)
    assert house.adt("A47", NEW, EPI, prior=(OLD, EPI))[0] is Fate.APPLIED
    assert house.adt("A08", EPI, sex="F") == (Fate.APPLIED, [])
    assert house.patient(NEW).id == house.patient(OLD).id == house.patient(EPI).id


@pytest.mark.parametrize("owner", ["prior", "survivor", "nobody"])
def test_an_enterprise_number_on_both_sides_of_a_merge_is_the_survivors(house: House, owner: str) -> None:
    house.adt("A04", OLD, *([EPI] if owner == "prior" else []))
    house.adt("A04", NEW, *([EPI] if owner == "survivor" else []))
    assert house.adt("A40", NEW, EPI, prior=(OLD, EPI))[0] is Fate.APPLIED
    assert house.patient(OLD).id == house.patient(NEW).id == house.patient(EPI).id
    assert house.adt("A08", EPI, sex="F") == (Fate.APPLIED, [])
    assert house.reviews() == set()


def test_a_survivor_with_a_new_number_is_found_by_the_enterprise_number(house: House) -> None:
    house.adt("A04", JOHN, EPI)
    house.adt("A04", OLD)
    house.adt("A40", NEW, EPI, prior=(OLD, EPI))
    assert house.patient(OLD).id == house.patient(NEW).id == house.patient(JOHN).id


@pytest.mark.parametrize("event", ["A40", "A47"])
def test_nothing_but_shared_numbers_merges_and_changes_nothing(house: House, event: str) -> None:
    house.adt("A04", OLD, EPI)
    assert house.adt(event, EPI, prior=(OLD, EPI))[1][0] == "duplicate-key MRG-1"


# -- MRG-7 --------------------------------------------------------------------------------------------------------


def merge(house: House, prior_name: str) -> tuple[Fate, list[str]]:
    house.adt("A04", JOHN, name=PersonName("ROE^JOHN"))
    event = PatientEvent("A40", PatientData((JANE,)), prior=(JOHN,), prior_name=PersonName(prior_name))
    return house.send(Reading(patient=event))


def test_a_merge_that_names_another_person_than_the_record_is_told_and_looked_at(house: House) -> None:
    assert merge(house, "SMITH^ANN") == (
        Fate.APPLIED, ["the prior name (MRG-7) is not that of the record that was merged"],
    )  # fmt: skip
    assert house.reviews() == {("patient-identifiers", "prior-name-differs")}


@pytest.mark.parametrize("prior_name", ["Roe^John", ""])
def test_a_merge_that_names_its_record_or_nobody_needs_no_look(house: House, prior_name: str) -> None:
    assert merge(house, prior_name) == (Fate.APPLIED, [])
