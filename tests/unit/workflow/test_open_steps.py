"""Exams that a device began and did not end (F67): seen, alarmed, and ended by a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from bridge.config import Alarms
from bridge.domain.coding import Code
from bridge.domain.order import OrderStatus
from bridge.domain.performed import PerformedStatus, PerformedStep, ScheduledReference
from bridge.errors import NotFound, StateConflict
from bridge.store import alarms
from bridge.store.performed import open_steps
from bridge.workflow.alarming import Alarming
from bridge.workflow.attending import Attending
from tests.unit.workflow.house import House, made, order

JANES = {"patient_id": "1001", "patient_issuer": "HOSP"}
FROM_LIST = ScheduledReference("1.2.3", "A1", "RIS", "A1", "A1-1")
HOUR = 3600.0


def alarmed(house: House) -> list[str]:
    house.settings.archive.mkdir(exist_ok=True)
    Alarming(house.context, ()).check()
    found = house.read(alarms.open_alarms)
    return [one["subject"] for one in found if one["kind"] == "performed-open"]


def test_an_exam_that_is_open_for_a_day_is_an_alarm_of_its_device(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.clock.advance(24 * HOUR - 1)
    assert alarmed(house) == []
    house.clock.advance(1)
    assert alarmed(house) == ["CT1"]


def test_the_site_says_how_long_an_exam_may_be_open(build: Callable[..., House]) -> None:
    house = build(alarms=Alarms(performed_hours=2))
    house.mpps("1.1", FROM_LIST, **JANES)
    house.clock.advance(2 * HOUR)
    assert alarmed(house) == ["CT1"]


def test_no_limit_is_no_alarm(build: Callable[..., House]) -> None:
    house = build(alarms=Alarms(performed_hours=0))
    house.mpps("1.1", FROM_LIST, **JANES)
    house.clock.advance(1000 * HOUR)
    assert alarmed(house) == []


def test_every_word_of_the_device_counts_an_image_too(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.clock.advance(20 * HOUR)
    house.image()
    house.clock.advance(20 * HOUR)
    assert alarmed(house) == []
    house.mpps_end("1.1", "")
    house.clock.advance(20 * HOUR)
    assert alarmed(house) == []
    house.clock.advance(4 * HOUR)
    assert alarmed(house) == ["CT1"]


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_the_alarm_ends_with_the_exam(house: House, status: str) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.clock.advance(30 * HOUR)
    assert alarmed(house) == ["CT1"]
    house.mpps_end("1.1", status)
    assert alarmed(house) == []


def test_the_one_that_was_silent_longest_comes_first(house: House) -> None:
    house.mpps("1.1", ScheduledReference("1.2.3"), **JANES)
    house.clock.advance(60)
    house.mpps("1.2", ScheduledReference("1.2.4"), ScheduledReference("1.2.5"), **JANES)
    house.clock.advance(60)
    house.mpps_end("1.1", "")
    assert [step.sop_instance_uid for step in house.read(open_steps)] == ["1.2", "1.1"]


# -- ended by a person --------------------------------------------------------------------------------------------


def test_a_person_ends_an_exam_and_its_order_follows(house: House) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.performing.finish("1.1", PerformedStatus.COMPLETED, "cli:anna", "the scanner crashed after the last series")
    assert (house.status_of_step(), house.order_row().status) == ("COMPLETED", OrderStatus.CM)
    assert house.audited("mpps-finished") == 1


def test_a_device_changes_nothing_that_a_person_has_ended(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.performing.finish("1.1", PerformedStatus.DISCONTINUED, "cli:anna", "never done")
    with pytest.raises(StateConflict):
        house.mpps_end("1.1")


def test_what_has_ended_is_not_ended_again(house: House) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1")
    with pytest.raises(StateConflict):
        house.performing.finish("1.1", PerformedStatus.DISCONTINUED, "cli:anna", "never done")


def test_what_nobody_began_is_not_found(house: House) -> None:
    with pytest.raises(NotFound):
        house.performing.finish("1.1", PerformedStatus.COMPLETED, "cli:anna", "done")


# -- read again (F.8) ---------------------------------------------------------------------------------------------


def test_what_a_device_told_is_found_with_how_it_stands(house: House) -> None:
    told = {"00400253": {"vr": "SH", "Value": ["PPS1"]}}
    house.performing.take_create(PerformedStep("1.1", PerformedStatus.IN_PROGRESS, (FROM_LIST,)), told, "CT1")
    assert house.performing.find("1.1") == (PerformedStatus.IN_PROGRESS, told)
    house.performing.finish("1.1", PerformedStatus.DISCONTINUED, "cli:anna", "never done")
    assert house.performing.find("1.1") == (PerformedStatus.DISCONTINUED, told)


def test_what_no_device_told_is_not_found_again(house: House) -> None:
    with pytest.raises(NotFound):
        house.performing.find("1.1")


# -- at the prompt ------------------------------------------------------------------------------------------------


@pytest.fixture
def prompt(house: House, tmp_path: Path) -> Callable[..., Result]:
    config = tmp_path / "bridge.toml"
    config.write_text("data = '.'\n")
    return lambda *arguments: CliRunner().invoke(main, ["--config", str(config), *arguments])


def test_open_exams_are_listed_without_a_patient(house: House, prompt: Callable[..., Result]) -> None:
    house.mpps("1.1", FROM_LIST, modality="CT", **JANES)
    told = prompt("performed").output
    assert "CT1" in told and "1.1" in told and "1001" not in told
    (one,) = json.loads(prompt("performed", "--json").output)
    assert (one["calling_ae_title"], one["modality"]) == ("CT1", "CT")


def test_nothing_open_says_so(prompt: Callable[..., Result]) -> None:
    assert prompt("performed").output == "No device has an exam in progress.\n"


def test_an_exam_is_ended_at_the_prompt(house: House, prompt: Callable[..., Result]) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    assert prompt("performed", "finish", "1.1", "--status", "COMPLETED", "--reason", "done").exit_code == 0
    assert house.status_of_step() == "COMPLETED"
    assert house.read(open_steps) == []


def test_one_exam_is_shown_with_its_order_and_what_is_missing(house: House, prompt: Callable[..., Result]) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, modality="CT", station_ae_title="CT2", **JANES)
    house.mpps_end("1.1", "", station_ae_title="CT2", **made("1.5", "1.6"))
    house.image(sop_instance_uid="1.5")
    for named in ("1.1", "performed:1", "1"):
        told = prompt("performed", "show", named).output
        assert "images: 2 listed, 1 of them not here" in told
        # It was done elsewhere.
        assert f"order:{house.order_row().id} step:{house.steps()[0].id} STARTED, planned for CT1" in told
        assert "1001" not in told


def test_an_exam_of_no_known_order_says_so(house: House, prompt: Callable[..., Result]) -> None:
    house.mpps("1.1", ScheduledReference("1.2.77"), **JANES)
    assert "for study 1.2.77\n    no order known" in prompt("performed", "show", "1.1").output


def test_an_exam_that_was_broken_off_says_why_and_what_became_of_its_entry(
    house: House, prompt: Callable[..., Result]
) -> None:
    house.order(order())
    house.mpps("1.1", FROM_LIST, **JANES)
    house.mpps_end("1.1", "DISCONTINUED", discontinuation=(Code("110504", "DCM", "Patient died"),))
    told = prompt("performed", "show", "1.1").output
    assert "DISCONTINUED, because: 110504 DCM Patient died\n  the entry is done with; is the order" in told


def test_what_waits_for_a_person_is_told_with_the_exam(house: House, prompt: Callable[..., Result]) -> None:
    house.mpps("1.1", FROM_LIST, **JANES)
    house.clock.advance(25 * HOUR)
    Attending(house.context).look()
    told = prompt("performed", "show", "1.1").output
    assert "performed-open: a device began an exam, and neither ended it nor was heard of in it" in told


def test_what_a_device_told_of_the_patient_is_shown_only_when_asked_for(
    house: House, prompt: Callable[..., Result]
) -> None:
    told = {"00100020": {"vr": "LO", "Value": ["1001"]}}
    house.performing.take_create(PerformedStep("1.1", PerformedStatus.IN_PROGRESS, (FROM_LIST,), **JANES), told, "CT1")
    assert "1001" not in prompt("performed", "show", "1.1").output
    assert "1001" in prompt("performed", "show", "1.1", "--attributes").output


def test_an_exam_that_nobody_began_is_not_shown(prompt: Callable[..., Result]) -> None:
    assert prompt("performed", "show", "1.1").exit_code == 1
