"""The Patient ID that a device is told is of the authority that it means; where there is none, a person hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import Defaults, DicomPeer, IssuerSetting
from bridge.domain.identity import Identifier
from bridge.domain.patient import PatientData
from bridge.domain.worklist import WorklistKeys
from bridge.workflow.reviewing import close_entry
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House, order, who

HOSPITAL, CLINIC = Identifier("1001", "HOSP", "MR"), Identifier("77", "CLINIC", "PI")
CT1, CT2 = DicomPeer(ae_title="CT1"), DicomPeer(ae_title="CT2", patient_issuer="CLINIC")


@pytest.fixture
def house(tmp_path: Any) -> House:
    clinic = IssuerSetting(name="CLINIC", namespace="CLI", universal_id="1.2.3.9", universal_id_type="ISO")
    return House(tmp_path, defaults=Defaults(patient_issuer="HOSP"), issuer=(clinic,))


def jane(*identifiers: Identifier) -> PatientData:
    return PatientData(identifiers, who().name, "19800101", "F")


def told(house: House, peer: DicomPeer, **keys: Any) -> list[tuple[str, str]]:
    found = WorklistDesk(house.context).find(WorklistKeys(**keys), peer)
    return [(entry.patient_id, entry.patient_issuer) for entry in found]


def waiting(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    return [(r.subject, r.reason, r.details) for r in house.rows("review") if r.closed_at is None]


def test_a_device_is_told_the_number_of_the_authority_of_its_row(house: House) -> None:
    house.order(order(patient=jane(HOSPITAL, CLINIC)))
    assert (told(house, CT1), told(house, CT2)) == ([("1001", "HOSP")], [("77", "CLINIC")])


def test_a_row_may_name_its_authority_by_another_of_its_names(house: House) -> None:
    house.order(order(patient=jane(HOSPITAL, CLINIC)))
    assert told(house, DicomPeer(ae_title="CT3", patient_issuer="CLI")) == [("77", "CLINIC")]


def test_a_patient_without_a_number_of_the_devices_authority_is_told_by_the_sites(house: House) -> None:
    house.order(order(patient=jane(Identifier("5", "ELSEWHERE", "MR"), HOSPITAL)))
    assert told(house, CT2) == [("1001", "HOSP")]


def test_the_other_numbers_are_told_beside_it(house: House) -> None:
    house.order(order(patient=jane(HOSPITAL, CLINIC)))
    (entry,) = WorklistDesk(house.context).find(WorklistKeys(), CT2)
    assert [one.key for one in entry.other_patient_ids] == [HOSPITAL.key]


def test_a_query_by_the_devices_own_number_finds_the_patient(house: House) -> None:
    house.order(order(patient=jane(HOSPITAL, CLINIC)))
    assert told(house, CT2, patient_id="77") == [("77", "CLINIC")]


def test_a_query_that_names_an_authority_is_answered_in_its_numbers(house: House) -> None:
    house.order(order(patient=jane(HOSPITAL, CLINIC)))
    assert told(house, CT2, patient_id="1001", patient_issuer="HOSP") == [("1001", "HOSP")]


def test_a_number_that_a_merge_took_away_is_not_told(house: House) -> None:
    house.order(order(patient=jane(HOSPITAL)))
    house.adt("A40", HOSPITAL, prior=(CLINIC,))
    assert told(house, CT2) == [("1001", "HOSP")]


def note(house: House, peer: DicomPeer, *issuers: str) -> None:
    WorklistDesk(house.context).note_issuers(peer, frozenset(issuers))


def test_a_number_of_another_authority_is_heard_of(house: House) -> None:
    note(house, CT2, "HOSP", "CLINIC")
    assert waiting(house) == [
        ("device:CT2", "patient-id-of-another-authority", {"means": "CLINIC", "told": ["HOSP"]}),
    ]


def test_a_number_of_the_devices_own_authority_is_not_heard_of(house: House) -> None:
    note(house, CT2, "CLINIC")
    note(house, CT1, "HOSP")
    assert waiting(house) == []


def test_a_number_of_no_known_authority_is_heard_of(house: House) -> None:
    note(house, CT2, "")
    assert [details["told"] for _, _, details in waiting(house)] == [[""]]


def test_one_more_authority_joins_the_entry_of_the_device(house: House) -> None:
    note(house, CT2, "HOSP")
    note(house, CT2, "ELSEWHERE")
    assert [details["told"] for _, _, details in waiting(house)] == [["ELSEWHERE", "HOSP"]]


def test_an_entry_that_a_person_has_closed_does_not_come_again(house: House) -> None:
    note(house, CT2, "HOSP")
    (entry,) = house.rows("review")
    close_entry(house.context, entry.id, "jo", "this scanner keeps the issuer")
    note(house, CT2, "HOSP")
    assert waiting(house) == []


def test_where_no_authority_is_set_no_number_is_of_another(tmp_path: Any) -> None:
    plain = House(tmp_path)
    note(plain, CT1, "HOSP")
    assert waiting(plain) == []


def test_the_same_again_writes_nothing(house: House) -> None:
    desk = WorklistDesk(house.context)
    desk.note_issuers(CT2, frozenset({"HOSP"}))
    house.database.close()  # whatever would write, fails
    desk.note_issuers(CT2, frozenset({"HOSP"}))
