"""Links between studies and orders: made, undone, kept as history; a person's word is the last one."""

from __future__ import annotations

import pytest

from bridge.domain.identity import Identifier
from bridge.domain.patient import PersonName
from bridge.domain.performed import ScheduledReference
from bridge.domain.told import told
from bridge.errors import NotFound, StateConflict
from bridge.store import links
from tests.unit.workflow.house import JANE, JOHN, House, order, who


def matched(house: House) -> int:
    house.order(order())
    house.image()
    house.complete()
    assert house.study().match_state == "matched"
    return int(house.study().id)


def history(house: House) -> list[tuple[str, str, str]]:
    found = house.read(lambda c: links.all_links(c, house.study().id))
    return [(link.rule, link.made_by, link.ended_by) for link in found]


def test_a_match_is_a_link_with_its_evidence(house: House) -> None:
    matched(house)
    (link,) = house.links()
    assert link.rule == "study-instance-uid"
    assert ["patient identifier", "equal"] in link.evidence
    assert house.reviews() == set()


def test_evidence_holds_no_patient_data(house: House) -> None:
    house.order(order(patient=who(JOHN)))
    house.image()
    house.complete()
    shown = str(house.rows("review")) + str(house.rows("study_link")) + str(house.rows("audit"))
    for secret in ("DOE", "ROE", "1001", "2002", "19800101"):
        assert secret not in shown


def test_a_study_without_an_order_waits_and_is_matched_when_its_order_comes(house: House) -> None:
    house.image()
    house.complete()
    assert house.reviews() == {("study-unmatched", "no-order")}
    house.order(order())
    house.matching.judge_due()
    assert (house.study().match_state, house.reviews()) == ("matched", set())


def test_an_order_of_another_patient_that_comes_later_takes_nothing(house: House) -> None:
    house.image()
    house.complete()
    house.order(order(patient=who(JOHN), uid="1.2.9"))
    house.matching.judge_due()
    assert (house.study().match_state, house.links()) == ("ambiguous", [])


def test_one_acquisition_serves_the_two_orders_that_it_names(house: House) -> None:
    house.order(order(), order(placer="P2", accession="A2", uid="1.2.4"))
    house.image(
        study_instance_uid="1.2.99",
        series_instance_uid="1.2.99.1",
        accession_number="",
        requests=(ScheduledReference("", "A1", "RIS"), ScheduledReference("", "A2", "RIS")),
    )
    house.complete()
    assert len(house.links("1.2.99")) == 2


def test_an_accession_number_reused_for_another_patient_links_to_neither(house: House) -> None:
    house.order(order(), order(placer="P2", patient=who(JOHN), uid="1.2.4"))
    house.image(study_instance_uid="1.2.99")
    house.complete()
    assert (house.study("1.2.99").match_state, house.links("1.2.99")) == ("ambiguous", [])


def test_a_person_links_and_no_later_message_undoes_it(house: House) -> None:
    house.order(order(uid="1.2.77", accession="A7"))
    house.image()
    house.complete()
    house.matching.link(house.study().id, house.order_row().id, "cli:anna")
    house.order(order(placer="P2"))  # the study's own UID and accession number
    house.image()
    house.complete()
    (link,) = house.links()
    assert (link.rule, link.made_by, house.study().match_state) == ("person", "cli:anna", "matched")


def test_a_person_unlinks_and_no_later_message_links_it_again(house: House) -> None:
    key = matched(house)
    house.matching.unlink(key, "cli:anna", "wrong patient picked")
    house.order(order("XO"))
    house.matching.judge_due()
    house.image()
    house.complete()
    house.adt("A40", JANE, prior=(Identifier("TMP7", "HOSP"),))
    house.matching.judge_due()
    assert (house.study().match_state, house.links()) == ("ambiguous", [])
    assert ("study-ambiguous", "unlinked-by-a-person") in house.reviews()


def test_a_person_may_link_again_what_they_unlinked(house: House) -> None:
    key = matched(house)
    house.matching.unlink(key, "cli:anna", "not sure")
    house.matching.link(key, house.order_row().id, "cli:anna")
    assert house.study().match_state == "matched"
    assert history(house) == [("study-instance-uid", "bridge", "cli:anna"), ("person", "cli:anna", "")]


def test_choosing_another_order_ends_the_first_link(house: House) -> None:
    key = matched(house)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    house.matching.link(key, house.order_row("P2").id, "cli:anna")
    assert len(house.links()) == 1
    assert house.links()[0].order_id == house.order_row("P2").id


def test_a_study_that_still_receives_is_not_linked_by_hand(house: House) -> None:
    house.order(order())
    house.image()
    with pytest.raises(StateConflict):
        house.matching.link(house.study().id, house.order_row().id, "cli:anna")


def test_what_does_not_exist_is_not_linked(house: House) -> None:
    key = matched(house)
    with pytest.raises(NotFound):
        house.matching.link(key, 999, "cli:anna")
    with pytest.raises(NotFound):
        house.matching.link(999, house.order_row().id, "cli:anna")
    assert len(house.links()) == 1


def test_what_is_not_linked_is_not_unlinked(house: House) -> None:
    house.image()
    house.complete()
    with pytest.raises(StateConflict):
        house.matching.unlink(house.study().id, "cli:anna", "why")


def test_a_late_series_that_names_another_order_takes_the_study_out_again(house: House) -> None:
    matched(house)
    house.order(order(placer="P2", accession="A2", uid="1.2.4"))
    house.image(series_instance_uid="1.2.3.2", requests=(ScheduledReference("", "A2", "RIS"),))
    house.complete()
    assert (house.study().match_state, house.links()) == ("ambiguous", [])
    assert history(house) == [("study-instance-uid", "bridge", "bridge")]


def test_the_name_of_the_header_decides_nothing_without_its_number(house: House) -> None:
    house.order(order())
    house.image(patient_id="", patient_issuer="", patient_name=PersonName("DOE^JANE"))
    house.complete()
    assert ("study-ambiguous", "patient-missing") in house.reviews()


def test_a_study_comes_back_by_the_alias_of_a_patient_id_too_long_for_dicom(house: House) -> None:
    long = Identifier("9" * 70, JANE.issuer, JANE.type)
    house.order(order(patient=who(long)))
    house.image(patient_id=told(long.value))
    assert house.status_of_step() == "STARTED"
    house.complete()
    assert house.study().match_state == "matched"


def test_another_patient_s_alias_is_another_patient(house: House) -> None:
    house.order(order(patient=who(Identifier("9" * 70, JANE.issuer, JANE.type))))
    house.image(patient_id=told("9" * 71))
    assert house.status_of_step() == "SCHEDULED"
    house.complete()
    assert house.study().match_state == "ambiguous"


def test_the_worklist_is_asked_by_the_alias_of_a_patient_id(house: House) -> None:
    house.order(order(patient=who(Identifier("9" * 70, JANE.issuer, JANE.type))))
    assert len(house.worklist(patient_id=told("9" * 70))) == 1
    assert house.worklist(patient_id=told("9" * 71)) == []
