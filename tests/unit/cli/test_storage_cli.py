"""What a person types about rejected images, retention and holds, and what they read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from bridge.cli_storage import render_plan
from bridge.config import Dicom, DicomPeer, Retention, RetentionRule
from bridge.domain.coding import Code
from bridge.domain.rejection import Hidden, RejectedInstance, RejectionNote
from bridge.domain.retention import Kept, Planned
from bridge.store import audit
from tests.unit.workflow.conftest import build
from tests.unit.workflow.house import NOON, House, order

__all__ = ["build"]
PACS = Dicom(peer=(DicomPeer(ae_title="CT1", may=frozenset({"store", "reject"})),))
CONFIG = """
data = "."
[[retention.rule]]
modalities = ["CT"]
keep_days = 1
after = "complete"
"""
Prompt = Callable[..., Result]


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    made = build(dicom=PACS)
    made.order(order())
    made.image(sop_instance_uid="1.5")
    made.image(sop_instance_uid="1.6")
    made.complete()
    return made


@pytest.fixture
def prompt(house: House, tmp_path: Path) -> Prompt:
    config = tmp_path / "bridge.toml"
    config.write_text(CONFIG)
    return lambda *arguments: CliRunner().invoke(main, ["--config", str(config), *arguments])


def reject(house: House) -> None:
    named = (RejectedInstance("1.2.3", "1.2.3.1", "1.5"), RejectedInstance("1.2.3", "1.2.3.1", "1.9"))
    note = RejectionNote(Hidden.QUALITY, named, Code("111207", "DCM", "Image artifact(s)"))
    house.image(sop_instance_uid="1.7", series_instance_uid="1.7.0", modality="KO", rejection=note)


def test_the_list_says_what_was_rejected_by_whom_and_what_of_it_has_not_come(house: House, prompt: Prompt) -> None:
    assert prompt("rejections").output == "Nothing was rejected.\n"
    reject(house)
    line = prompt("rejections", "list").output.splitlines()[1]
    assert line.split()[:4] == ["1", "quality", "113001", "CT1"]
    assert line.endswith("2, 1 of them not here yet")


def test_one_note_is_told_with_its_reason_and_its_studies(house: House, prompt: Prompt) -> None:
    reject(house)
    told = prompt("rejections", "show", "1").output
    assert "rejected for quality reasons (113001), from CT1" in told
    assert "reason: Image artifact(s) (111207, DCM)" in told
    assert "study:1      1.2.3: 2, 1 of them not here yet" in told
    assert json.loads(prompt("rejections", "show", "1", "--json").output)["studies"][0]["applied"] == 1


def test_a_note_is_taken_back_and_the_trail_says_why(house: House, prompt: Prompt) -> None:
    reject(house)
    assert prompt("rejections", "lift", "1", "--reason", "wrong series").output == (
        "rejection 1 is taken back: 1 object shown again\n"
    )
    (act,) = house.read(lambda c: audit.find_audit(c, "study:1", action="rejection-lifted"))
    assert act["details"]["reason"] == "wrong series"
    assert "taken back" in prompt("rejections", "show", "1").output


def test_what_does_not_exist_is_said_in_one_line(prompt: Prompt) -> None:
    done = prompt("rejections", "show", "7")
    assert (done.exit_code, done.stderr) == (1, "not-found: no such rejection (rejection 7)\n")


def test_the_plan_changes_nothing_and_says_what_would_go(house: House, prompt: Prompt) -> None:
    plan = prompt("retention", "plan", "--within", "9000d")
    assert "1. CT: 1 days after complete" in plan.output
    assert "1 study, 2 objects, 20 B" in plan.output
    (one,) = json.loads(prompt("retention", "plan", "--within", "9000d", "--json").output)
    assert (one["rule"], one["kept"]) == ("CT: 1 days after complete", [])
    assert house.rows("retirement") == []


def test_a_hold_is_made_listed_and_ended(house: House, prompt: Prompt) -> None:
    assert prompt("hold", "1.2.3", "--reason", "court").exit_code == 0
    assert "court" in prompt("retention", "holds").output
    assert prompt("unhold", "1").output == "study 1 is on hold no more\n"
    assert prompt("retention", "holds").output == "No study is on hold.\n"
    assert (house.audited("study-held"), house.audited("study-unheld")) == (1, 1)


def test_what_stays_is_told_by_why_with_the_studies() -> None:
    day = timedelta(days=1)
    found = [
        Planned(1, 0, NOON - day, 10, 1_500_000),
        Planned(2, 0, NOON + day, 5, 100),
        Planned(3, 0, NOON - day, 7, 2_000_000_000, (Kept.HOLD,)),
        Planned(4, 0, NOON - 2 * day, 1, 10, (Kept.HOLD, Kept.REVIEW)),
    ]
    told = render_plan(found, Retention(rule=(RetentionRule(keep_days=9),)), NOON).splitlines()
    assert told[2] == "       now   1 study, 10 objects, 1.5 MB, due 2026-11-24"
    assert told[3] == "       later 1 study, 5 objects, 100 B, due 2026-11-26"
    assert told[-3:] == [
        "Their time is over, and they stay: 2 studies, 8 objects, 2.0 GB, due 2026-11-23 to 2026-11-24",
        "  on hold: study:3 study:4",
        "  waits for a person (bridge review): study:4",
    ]


def test_a_site_without_rules_is_told_so() -> None:
    assert "none: no study is deleted" in render_plan([], Retention(), NOON)
