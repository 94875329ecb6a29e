"""A device that is to see its own steps sees no others, whatever it asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.config import DicomPeer
from bridge.domain.worklist import WorklistKeys
from bridge.workflow.worklist import WorklistDesk
from tests.unit.workflow.house import House, ct_step, order

CT1, MR1 = (DicomPeer(ae_title=title, own_worklist_only=True) for title in ("CT1", "MR1"))


@pytest.fixture
def desk(house: House) -> WorklistDesk:
    """A step of the CT's and one of the MR's."""
    house.order(order(placer="P1", accession="A1", uid="1.2.3"))
    mr = replace(ct_step(), modality="MR", modality_sent="MR")
    house.order(order(placer="P2", accession="A2", uid="1.2.4", steps=(mr,)))
    return WorklistDesk(house.context)


def shown(desk: WorklistDesk, peer: DicomPeer, station: str) -> list[str]:
    return [entry.accession_number for entry in desk.find(WorklistKeys(station_ae_title=station), peer)]


@pytest.mark.parametrize("key", ["", "*", "**", "?*", "*1", "C*", "???", "CT1", " CT1 "])
def test_a_key_that_fits_its_own_title_shows_its_own_steps(desk: WorklistDesk, key: str) -> None:
    assert shown(desk, CT1, key) == ["A1"]


@pytest.mark.parametrize("key", ["MR1", "M*", "MR?", "?R1", "MR1*"])
def test_a_key_of_another_station_shows_nothing(desk: WorklistDesk, key: str) -> None:
    assert shown(desk, CT1, key) == []


def test_each_device_has_its_own(desk: WorklistDesk) -> None:
    assert shown(desk, MR1, "*") == ["A2"]


def test_a_key_of_a_patient_or_an_order_shows_no_other_stations_step(desk: WorklistDesk) -> None:
    assert desk.find(WorklistKeys(accession_number="A2"), CT1) == []
    assert desk.find(WorklistKeys(study_instance_uids=("1.2.4",)), CT1) == []


def test_a_device_without_the_rule_may_ask_for_any_station(desk: WorklistDesk) -> None:
    assert shown(desk, DicomPeer(ae_title="CT1"), "MR1") == ["A2"]


def test_a_device_that_is_scheduled_under_another_title_has_that_ones_worklist(desk: WorklistDesk) -> None:
    scu = DicomPeer(ae_title="CT1_SCU", own_worklist_only=True, stations=("CT1",))
    assert (shown(desk, scu, ""), shown(desk, scu, "CT1"), shown(desk, scu, "MR1")) == (["A1"], ["A1"], [])


def test_a_pool_of_scanners_sees_the_work_of_all(desk: WorklistDesk) -> None:
    pool = DicomPeer(ae_title="CT9", own_worklist_only=True, stations=("CT1", "CT9", "MR1"))
    assert shown(desk, pool, "*") == ["A1", "A2"]
    assert shown(desk, pool, "C*") == ["A1"]


def test_stations_without_the_rule_that_they_serve_are_a_fault() -> None:
    with pytest.raises(ValueError, match="own_worklist_only"):
        DicomPeer(ae_title="CT1", stations=("CT1",))
