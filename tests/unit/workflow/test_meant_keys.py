"""What a query's keys mean to the site: whose number a barcode is, and how names are compared, by the device's view."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import Defaults, DicomPeer, Worklist, WorklistView
from bridge.domain.identity import Identifier
from bridge.domain.patient import PatientData
from bridge.domain.worklist import WorklistKeys
from bridge.domain.worklist_view import Reason
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House, order, who

HOSPITAL, CLINIC = Identifier("1001", "HOSP", "MR"), Identifier("77", "CLINIC", "PI")
CT1, CT2 = DicomPeer(ae_title="CT1"), DicomPeer(ae_title="CT2", patient_issuer="CLINIC")


def house_of(folder: Any, **view: Any) -> House:
    """A house with a patient of two numbers, whose devices have this view."""
    rules = Worklist(view=(WorklistView(peers=("*",), **view),))
    folder.mkdir(exist_ok=True)
    house = House(folder, defaults=Defaults(patient_issuer="HOSP"), worklist=rules)
    house.order(order(patient=PatientData((HOSPITAL, CLINIC), who().name, "19800101", "F")))
    return house


def told(house: House, peer: DicomPeer, **keys: Any) -> list[str]:
    return [entry.patient_id for entry in WorklistDesk(house.context).find(WorklistKeys(**keys), peer)]


@pytest.mark.parametrize(
    ("rule", "number", "found"),
    [
        ("told", "1001", ["1001"]),
        ("told", "77", []),
        ("own", "1001", ["1001"]),
        ("own", "77", []),
        ("any", "1001", ["1001"]),
        ("any", "77", ["77"]),
        ("any", "78", []),
    ],
)
def test_a_number_that_names_no_issuer(tmp_path: Any, rule: str, number: str, found: list[str]) -> None:
    assert told(house_of(tmp_path, issuer_of_key=rule), CT1, patient_id=number) == found


@pytest.mark.parametrize("rule", ["told", "own", "any"])
def test_a_number_that_names_its_issuer_is_that_ones_whatever_the_rule(tmp_path: Any, rule: str) -> None:
    house = house_of(tmp_path, issuer_of_key=rule)
    assert told(house, CT1, patient_id="77", patient_issuer="CLINIC") == ["77"]
    assert told(house, CT1, patient_id="77", patient_issuer="HOSP") == []


def test_another_authoritys_equal_number_is_not_the_devices_own(tmp_path: Any) -> None:
    """A patient without a number of the device's authority is told by another one's: a barcode is none of those."""
    house = house_of(tmp_path / "own", issuer_of_key="own")
    elsewhere = Identifier("4711", "ELSEWHERE", "MR")
    of = PatientData((elsewhere,), who().name, "19700101", "M")
    house.order(order(placer="P2", accession="A2", uid="1.2.4", patient=of))
    assert told(house, CT2, patient_id="4711") == []
    as_told = house_of(tmp_path / "told", issuer_of_key="told")
    as_told.order(order(placer="P2", accession="A2", uid="1.2.4", patient=of))
    assert told(as_told, CT2, patient_id="4711") == ["4711"]


@pytest.mark.parametrize("rule", ["told", "own", "any"])
def test_a_number_that_a_merge_retired_finds_nothing(tmp_path: Any, rule: str) -> None:
    house = house_of(tmp_path, issuer_of_key=rule)
    house.adt("A40", Identifier("2002", "HOSP", "MR"), prior=(HOSPITAL,), name=who().name)
    assert told(house, CT1, patient_id="1001") == []
    assert told(house, CT1, patient_id="2002") == ["2002"]


def test_other_patient_ids_find_by_any_number_with_its_issuer(tmp_path: Any) -> None:
    house = house_of(tmp_path)
    key = (("patient_id", "77"), ("issuer", "CLINIC"))
    assert told(house, CT1, other_patient_ids=key) == ["1001"]
    assert told(house, CT1, other_patient_ids=(("patient_id", "1001"), ("issuer", "HOSP"))) == ["1001"]
    assert told(house, CT1, other_patient_ids=(("patient_id", "77"), ("issuer", "HOSP"))) == []


def test_a_universal_number_asks_for_nobodys(tmp_path: Any) -> None:
    house = house_of(tmp_path, issuer_of_key="own")
    assert told(house, CT1, patient_id="*") == ["1001"]


@pytest.mark.parametrize(
    ("rule", "agreed", "found"),
    [
        ("never", True, 0),
        ("never", False, 0),
        ("negotiated", True, 1),
        ("negotiated", False, 0),
        ("always", True, 1),
        ("always", False, 1),
    ],
)
def test_names_that_resemble(tmp_path: Any, rule: str, agreed: bool, found: int) -> None:
    house = house_of(tmp_path, fuzzy=rule)
    name = " ".join(reversed(who().name.alphabetic.split("^")))  # type: ignore[union-attr]
    assert len(told(house, CT1, patient_name=name, fuzzy=agreed)) == found


@pytest.mark.parametrize("rule", ["told", "own", "any"])
def test_why_says_what_the_list_does(tmp_path: Any, rule: str) -> None:
    house = house_of(tmp_path, issuer_of_key=rule)
    (explained,) = WorklistDesk(house.context).explain("A1", WorklistKeys(patient_id="77"), CT1)
    assert (explained.reasons == ()) is bool(told(house, CT1, patient_id="77"))
    assert explained.reasons == () or Reason("key", "patient_id") in explained.reasons
