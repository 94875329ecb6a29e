"""`bridge commitment`: what one reads at night, and what one may do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from bridge.config import Alarms, Dicom, DicomPeer
from bridge.domain.study import FileCondition
from bridge.errors import RemoteUnavailable
from bridge.store import alarms
from bridge.workflow.alarming import Alarming
from tests.unit.workflow.house import House
from tests.unit.workflow.test_committing import DEVICE, Desk

Prompt = Callable[..., Result]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    house = House(tmp_path, dicom=Dicom(peer=(DEVICE,)), alarms=Alarms(commitment_hours=2))
    yield Desk(house)
    house.database.close()


@pytest.fixture
def prompt(desk: Desk, tmp_path: Path) -> Prompt:
    config = tmp_path / "bridge.toml"
    config.write_text("data = '.'\n")
    return lambda *words: CliRunner().invoke(main, ["--config", str(config), "commitment", *words])


def away(desk: Desk) -> None:
    """One that its device was not there to hear, with one image whose file is damaged."""
    desk.conditions[desk.files["1.2.9.2"]] = FileCondition.DAMAGED
    desk.reporter.fault = RemoteUnavailable("away", where="CT1")
    desk.ask()
    desk.work()


def test_nothing_waits(prompt: Prompt) -> None:
    assert prompt().output == "Every device has our word.\n"


def test_what_a_device_has_not_heard_is_listed_with_the_last_answer(desk: Desk, prompt: Prompt) -> None:
    away(desk)
    (_, line) = prompt().output.splitlines()
    assert line.split()[:3] == ["1", "CT1", "due"]
    assert line.split()[-5:] == ["2", "1", "1", "remote-unavailable", "CT1"]


def test_what_is_delivered_is_listed_when_all_is_asked_for(desk: Desk, prompt: Prompt) -> None:
    desk.ask()
    desk.work()
    assert "our word" in prompt("list").output
    assert "delivered" in prompt("list", "--all").output


def test_a_machine_gets_counts(desk: Desk, prompt: Prompt) -> None:
    away(desk)
    (one,) = json.loads(prompt("list", "--json").output)
    assert (one["calling_ae_title"], one["instances"], one["failures"]) == ("CT1", 2, 1)


def test_one_is_shown_with_what_is_not_safe_and_why(desk: Desk, prompt: Prompt) -> None:
    away(desk)
    told = prompt("show", "1").output
    assert "commitment 1 of CT1: due" in told
    assert "1 safe, 1 not" in told
    assert "✗ 1.2.9.2  0110 its file is damaged" in told
    assert "1.2.9.1" not in told


def test_one_that_does_not_exist_is_told_so(prompt: Prompt) -> None:
    assert [prompt(*words).exit_code for words in (("show", "9"), ("retry", "9"), ("drop", "9", "--reason", "x"))] == [
        1, 1, 1
    ]  # fmt: skip


def test_one_is_told_again_at_once(desk: Desk, prompt: Prompt) -> None:
    away(desk)
    assert prompt("retry", "1").exit_code == 0
    desk.reporter.fault = None
    desk.work(desk.another())
    assert len(desk.reporter.reports) == 1


def test_one_is_given_up_and_says_nothing_more(desk: Desk, prompt: Prompt) -> None:
    away(desk)
    assert prompt("drop", "1", "--reason", "scrapped").output == "commitment 1 is given up\n"
    assert "our word" in prompt().output


@pytest.mark.parametrize(("hours", "alarmed"), [(1.9, []), (2, ["CT1"])])
def test_a_device_that_does_not_hear_us_for_long_is_an_alarm(desk: Desk, hours: float, alarmed: list[str]) -> None:
    away(desk)
    desk.house.settings.archive.mkdir(exist_ok=True)
    desk.house.clock.advance(hours * 3600)
    Alarming(desk.house.context, ()).check()
    found = desk.house.read(alarms.open_alarms)
    assert [one["subject"] for one in found if one["kind"] == "commitment-old"] == alarmed


def test_the_screen_at_night_tells_whom_we_owe_an_answer(desk: Desk, tmp_path: Path, prompt: Prompt) -> None:
    away(desk)
    told = CliRunner().invoke(main, ["--config", str(tmp_path / "bridge.toml"), "status"]).output
    assert "commitments   CT1: 1 due, oldest" in told


def test_host_and_port_belong_together() -> None:
    for one in ({"host": "10.1.2.3"}, {"port": 104}):
        with pytest.raises(ValueError, match="belong together"):
            DicomPeer(ae_title="CT1", **one)  # type: ignore[arg-type]
