"""What the worker asks of performed steps, on both databases: by the workflow's own verbs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.domain.coding import Code
from bridge.domain.performed import ScheduledReference
from bridge.store.db import Database
from bridge.store.performed import procedures_of_study, shown_step
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.attending import Attending
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from bridge.workflow.matching import Matching
from bridge.workflow.performing import PerformedSteps
from tests.unit.workflow.house import House, made, order, shipped_mappings

JANES = {"patient_id": "1001", "patient_issuer": "HOSP", "modality": "CT"}
WRONG_ENTRY = (Code("110514", "DCM"),)


class Elsewhere(House):
    """The house, upon the database of the test."""

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder)
        self.database.close()
        self.database = database
        self.context = Context(database, self.settings, self.clock)
        self.intake, self.acquiring = Intake(self.context), Acquiring(self.context)
        self.performing = PerformedSteps(self.context, shipped_mappings().fate)
        self.matching = Matching(self.context)


@pytest.fixture
def house(tmp_path: Path, database: Database) -> House:
    folder = tmp_path / "house"
    folder.mkdir()
    return Elsewhere(folder, database)


def looked(house: House, seconds: float = 0) -> set[tuple[str, str]]:
    house.clock.advance(seconds)
    Attending(house.context).look()
    return house.reviews()


def test_images_that_are_listed_are_missed_until_they_come(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.mpps_end("1.1", **made("1.5", "1.6"))
    house.image(sop_instance_uid="1.5")
    assert looked(house, 3600) == {("images-missing", "listed-by-mpps")}
    shown = house.read(lambda c: shown_step(c, "performed:1"))
    assert shown is not None and (shown["listed"], shown["missing"]) == (2, 1)
    house.image(sop_instance_uid="1.6")
    assert looked(house) == set()


def test_exams_without_an_order_or_an_end_are_found(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.77"), **JANES)
    assert looked(house, 25 * 3600) == {("performed-unscheduled", "no-order"), ("performed-open", "silent")}
    house.order(order(uid="1.2.77"))
    house.mpps_end("1.1")
    assert looked(house) == set()


def test_an_order_finds_the_exam_that_names_it_as_planned(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.9", original_study_uid="1.2.3"), **JANES)
    house.order(order())
    assert house.status_of_step() == "STARTED"


def test_a_mistake_stands_while_its_images_are_here(house: House) -> None:
    house.order(order())
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=WRONG_ENTRY, **made("1.5"))
    house.mpps("1.2", ScheduledReference("1.2.3"), **JANES)
    assert house.read(lambda c: procedures_of_study(c, "1.2.3")) == ({2: {1}}, set())
    house.image(sop_instance_uid="1.5")
    assert house.read(lambda c: procedures_of_study(c, "1.2.3")) == ({2: {1}}, {1})
