"""`bridge worklist`: what a scanner would get, and why an order is not on its list."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bridge import app, cli_worklist
from bridge.cli_worklist import WORDS
from bridge.clock import SystemClock
from bridge.domain import worklist_view
from bridge.domain.order import OrderStatus
from bridge.domain.worklist import WorklistKeys
from bridge.store.schema import imaging_order, scheduled_procedure_step
from bridge.workflow.context import Context
from bridge.workflow.worklist import WorklistDesk
from tests.unit.cli.site import CONFIG, OnDisk, order

DAY = "20991126"
LIMIT = "[[worklist.view]]\npeers = ['*']\nlimit = 1\n"


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    made = OnDisk(tmp_path)
    made.store(order(1), order(2), order(3, modality="MR"))
    return made


def configured(site: OnDisk, text: str) -> OnDisk:
    site.config.write_text(CONFIG + text)
    return site


def listed(site: OnDisk, *arguments: str) -> dict[str, Any]:
    found = site.run("worklist", "--json", *arguments)
    assert found.exit_code == 0, found.output
    result: dict[str, Any] = json.loads(found.output)
    return result


def accessions(site: OnDisk, *arguments: str) -> list[str]:
    return [row["accession_number"] for row in listed(site, *arguments)["entries"]]


def why(site: OnDisk, accession: str, *arguments: str) -> list[tuple[str, str]]:
    found = site.run("worklist", "why", accession, "--json", *arguments)
    assert found.exit_code == 0, found.output
    return [(one["rule"], one["found"]) for step in json.loads(found.output) for one in step["reasons"]]


def change(site: OnDisk, table: Any, **values: Any) -> None:
    database = app.open_database(site.settings)
    database.write(lambda c: c.execute(update(table).values(**values)))
    database.close()


# -- what it shows ------------------------------------------------------------------------------------------------


def test_a_scanner_asks_for_its_own_station_on_the_day(site: OnDisk) -> None:
    assert accessions(site, "--as", "CT1", "--date", DAY) == ["A1", "A2"]
    assert accessions(site, "--as", "MR1", "--date", DAY) == ["A3"]


def test_it_asks_for_today_unless_told_otherwise(site: OnDisk) -> None:
    assert accessions(site, "--as", "CT1") == []


def asks(site: OnDisk, **keys: str) -> None:
    """The scanner asks by itself, as it does all day."""
    database = app.open_database(site.settings)
    WorklistDesk(Context(database, site.settings, SystemClock())).note_asked("CT1", WorklistKeys(**keys))
    database.close()


def test_it_asks_as_the_scanner_itself_last_did(site: OnDisk) -> None:
    asks(site, modality="MR")
    assert accessions(site, "--as", "CT1") == ["A3"]
    assert "CT1 (ISO_IR 100) asks, as it does itself, for (0008,0060) MR" in site.run("worklist", "--as", "CT1").output


def test_what_is_told_otherwise_takes_the_place_of_what_it_asked(site: OnDisk) -> None:
    asks(site, modality="MR", start_date="20200101")
    assert accessions(site, "--as", "CT1", "--date", DAY) == ["A3"]
    assert accessions(site, "--as", "CT1", "--date", DAY, "--modality", "CT") == ["A1", "A2"]
    assert "as it does itself" not in site.run("worklist", "--as", "CT1", "--date", DAY).output


def test_a_scanner_that_never_asked_is_said_to(site: OnDisk) -> None:
    assert "it has never asked" in site.run("worklist", "--as", "CT1").output


def test_why_names_the_keys_that_the_scanner_itself_asks_by(site: OnDisk) -> None:
    asks(site, modality="MR", step_location="ROOM 9")
    assert why(site, "A1", "--as", "CT1") == [("key", "(0008,0060)"), ("key", "(0040,0011)")]


def test_any_station_and_any_day(site: OnDisk) -> None:
    assert accessions(site, "--as", "CT1", "--station", "", "--date", "") == ["A1", "A2", "A3"]


def test_a_modality_and_another_key(site: OnDisk) -> None:
    arguments = ("--as", "CT1", "--date", "", "--station", "")
    assert accessions(site, *arguments, "--modality", "MR") == ["A3"]
    assert accessions(site, *arguments, "-k", "PatientID=1002") == ["A2"]
    assert accessions(site, *arguments, "-k", "ScheduledProcedureStepStatus=STARTED") == []


def test_the_list_in_lines_names_no_patient(site: OnDisk) -> None:
    shown = site.run("worklist", "--as", "CT1", "--date", DAY).output
    assert "A1" in shown and "093000" in shown and "2 shown" in shown and "DOE" not in shown
    assert "(0040,0001) CT1" in shown


def test_names_are_printed_when_asked_for(site: OnDisk) -> None:
    assert "DOE^JANE" in site.run("worklist", "--as", "CT1", "--date", DAY, "--names").output


def test_the_keys_that_say_who_a_patient_is_are_not_printed(site: OnDisk) -> None:
    shown = site.run("worklist", "--as", "CT1", "--date", DAY, "-k", "PatientName=DOE*").output
    assert "DOE" not in shown and "(0010,0010) ..." in shown


def test_a_device_that_may_not_ask_is_said_to_get_nothing(site: OnDisk) -> None:
    assert "gets nothing" in site.run("worklist", "--as", "STRANGER", "--station", "", "--date", "").output
    assert listed(site, "--as", "STRANGER")["may_ask"] is False


def test_a_list_over_the_limit_is_refused_whole(site: OnDisk) -> None:
    configured(site, LIMIT)
    assert listed(site, "--as", "CT1", "--date", DAY)["over_limit"] is True
    assert "A700" in site.run("worklist", "--as", "CT1", "--date", DAY).output


def test_a_list_that_is_cut_says_so(site: OnDisk) -> None:
    configured(site, LIMIT + "over_limit = 'cut'\n")
    assert accessions(site, "--as", "CT1", "--date", DAY) == ["A1"]
    assert "the nearest to now, then A700" in site.run("worklist", "--as", "CT1", "--date", DAY).output


def test_the_rules_that_are_not_as_shipped_are_printed(site: OnDisk) -> None:
    assert "[[worklist.view]] as shipped" in site.run("worklist", "--as", "CT1").output
    configured(site, LIMIT + "stations = ['@']\n")
    assert '[[worklist.view]] stations ["@"], limit 1' in site.run("worklist", "--as", "CT1").output


def test_an_entry_that_the_device_cannot_be_told_is_withheld(site: OnDisk) -> None:
    configured(site, "utf8 = false\n[dicom]\ncharacter_set = 'ISO_IR 6'\n")
    site.store(order(4, modality="MR", name="山田^太郎", charset="UNICODE UTF-8"))
    found = listed(site, "--as", "MR1", "--date", DAY)
    assert [row["accession_number"] for row in found["withheld"]] == ["A4"]


def test_a_scanner_must_be_named(site: OnDisk) -> None:
    assert site.run("worklist").exit_code == 2
    assert site.run("worklist", "why", "A1").exit_code == 2


@pytest.mark.parametrize("key", ["Rows=4", "StudyDescription=HEAD", "Nonsense=1"])
def test_a_key_that_no_worklist_is_asked_by_is_told(site: OnDisk, key: str) -> None:
    found = site.run("worklist", "--as", "CT1", "-k", key)
    assert (found.exit_code, "no key of a worklist" in found.output) == (1, True)


def test_a_query_that_would_be_refused_is_told(site: OnDisk) -> None:
    found = site.run("worklist", "--as", "CT1", "--date", "tomorrow")
    assert (found.exit_code, "(0040,0002)" in found.output) == (1, True)


# -- why ----------------------------------------------------------------------------------------------------------


def test_an_order_that_is_shown_has_no_reason(site: OnDisk) -> None:
    assert why(site, "A1", "--as", "CT1", "--date", DAY) == []
    assert "shown" in site.run("worklist", "why", "A1", "--as", "CT1", "--date", DAY).output


def test_the_keys_that_do_not_match_are_named_with_what_the_order_has(site: OnDisk) -> None:
    assert why(site, "A3", "--as", "CT1", "--date", "20991127") == [("key", "(0040,0001)"), ("key", "(0040,0002)")]
    shown = site.run("worklist", "why", "A3", "--as", "CT1", "--date", "20991127").output
    assert "(0040,0002) ScheduledProcedureStepStartDate: asked 20991127, the order has 20991126 093000" in shown
    assert "key (0040,0001) ScheduledStationAETitle: asked CT1, the order has MR1" in shown


def test_a_key_that_says_who_a_patient_is_is_named_without_its_value(site: OnDisk) -> None:
    shown = site.run("worklist", "why", "A1", "--as", "CT1", "--date", DAY, "-k", "PatientName=ROE*").output
    assert "key (0010,0010) PatientName: the order has another" in shown and "ROE" not in shown and "DOE" not in shown


def test_an_unknown_accession_number_is_told(site: OnDisk) -> None:
    found = site.run("worklist", "why", "NONE", "--as", "CT1")
    assert (found.exit_code, "no order has this accession number" in found.output) == (1, True)


def test_a_rule_is_told_in_words(site: OnDisk) -> None:
    change(site, imaging_order, status=OrderStatus.CA)
    change(site, scheduled_procedure_step, parked="no-station")
    shown = site.run("worklist", "why", "A1", "--as", "CT1", "--date", DAY).output
    assert f"order-status CA: {WORDS['order-status']}" in shown
    assert f"parked no-station: {WORDS['parked']}" in shown


def test_a_device_that_may_not_ask_comes_first(site: OnDisk) -> None:
    assert why(site, "A1", "--as", "STRANGER", "--date", "")[0] == ("no-permission", "")


def test_a_limit_hides_every_entry(site: OnDisk) -> None:
    configured(site, LIMIT)
    assert why(site, "A1", "--as", "CT1", "--date", DAY) == [("limit", "")]


def test_a_list_that_is_cut_hides_those_that_are_left_out(site: OnDisk) -> None:
    configured(site, LIMIT + "over_limit = 'cut'\n")
    assert [why(site, one, "--as", "CT1", "--date", DAY) for one in ("A1", "A2")] == [[], [("limit", "")]]


def test_a_rule_of_the_view_is_named(site: OnDisk) -> None:
    configured(site, "[[worklist.view]]\npeers = ['*']\nstations = ['@']\nmodalities = ['MR']\nlocations = ['X']\n")
    found = why(site, "A1", "--as", "MR1", "--date", DAY, "--station", "")
    assert found == [("station", "CT1"), ("modality", "CT"), ("location", "")]


def test_what_cannot_be_told_names_its_tag(site: OnDisk) -> None:
    configured(site, "utf8 = false\n[dicom]\ncharacter_set = 'ISO_IR 6'\n")
    site.store(order(4, modality="MR", name="山田^太郎", charset="UNICODE UTF-8"))
    ((rule, found),) = why(site, "A4", "--as", "MR1", "--date", DAY)
    assert rule == "not-readable" and "(0010,0010)" in found


def test_nothing_is_written(site: OnDisk) -> None:
    before = (site.settings.data / "bridge.db").read_bytes()
    site.run("worklist", "--as", "CT1", "--date", DAY)
    site.run("worklist", "why", "A1", "--as", "CT1")
    assert (site.settings.data / "bridge.db").read_bytes() == before


def test_every_rule_that_hides_has_its_words_here_and_in_the_documents() -> None:
    rules = {
        node.args[0].value
        for module in (worklist_view, cli_worklist)
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Reason"
        and isinstance(node.args[0], ast.Constant)
    }
    text = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()
    table = text[text.index("## Why a patient is not") : text.index("## What a sender is told")]
    assert rules == WORDS.keys() == {name for name in WORDS if f"`{name}`" in table}
