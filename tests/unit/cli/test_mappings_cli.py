"""`bridge mappings` and what `bridge explain` tells of the outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.site import OnDisk, order

MR_FOR_CT = "codes/modality:\n  codes: {CT: MR}\n"


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    return OnDisk(tmp_path / "site")


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    path = tmp_path / "new.yaml"
    path.write_text(MR_FOR_CT)
    return path


# -- check -----------------------------------------------------------------------------------------------------------
def test_check_says_what_was_loaded(site: OnDisk) -> None:
    told = site.run("mappings", "check")
    assert told.exit_code == 0
    assert "mappings/hl7/order.yaml" in told.output and "code tables" in told.output


def test_check_tells_every_fault_with_file_and_line(site: OnDisk, overlay: Path) -> None:
    overlay.write_text(
        "hl7/order:\n  step:\n    moddality: {from: [IPC-5]}\n    location: {from: [IPC_8], as: textt}\n"
    )
    told = site.run("mappings", "check", "--overlay", overlay)
    assert told.exit_code == 2
    faults = told.output.splitlines()
    assert [line.split(": ")[0] for line in faults] == [f"{overlay}:3", f"{overlay}:4", f"{overlay}:4"]


def test_check_needs_no_site(tmp_path: Path, overlay: Path, site: OnDisk) -> None:
    site.config.unlink()
    assert site.run("mappings", "check", "--overlay", overlay).exit_code == 0


# -- diff ------------------------------------------------------------------------------------------------------------
def test_diff_tells_the_field_that_would_change_with_its_lines(site: OnDisk, overlay: Path) -> None:
    site.store(order())
    told = site.run("mappings", "diff", "--overlay", overlay)
    assert told.exit_code == 1
    assert "placer P1 (EHR), accession A1" in told.output
    assert "modality               CT -> MR" in told.output
    assert "mappings/codes/modality.yaml:" in told.output and "mappings/sites/new.yaml:2" in told.output
    assert "1 messages: 0 the same, 1 would come out otherwise (1 orders)" in told.output


def test_diff_counts_what_stays_the_same(site: OnDisk, overlay: Path) -> None:
    site.store(order(1, modality="US"), order(2), order(3, modality="US"))
    told = json.loads(site.run("mappings", "diff", "--overlay", overlay, "--json").output)
    assert told["counts"] == {"the same": 2, "changed": 1, "orders": 1}
    assert told["fields"] == {"scheduled step.modality": 1}
    (message,) = told["messages"]
    assert message["control_id"] == "C2"
    assert [(c["name"], c["old"], c["new"]) for c in message["changes"]] == [("modality", "CT", "MR")]


def test_diff_without_a_difference_is_status_0(site: OnDisk, overlay: Path) -> None:
    overlay.write_text("{}\n")
    site.store(order())
    told = site.run("mappings", "diff", "--overlay", overlay)
    assert (told.exit_code, "1 the same" in told.output) == (0, True)


def test_diff_reads_only_messages_since(site: OnDisk, overlay: Path) -> None:
    site.store(order())
    assert "0 messages" in site.run("mappings", "diff", "--overlay", overlay, "--since", "0d").output


def test_diff_changes_nothing(site: OnDisk, overlay: Path) -> None:
    site.store(order())
    before = site.run("messages", "list", "--json").output
    site.run("mappings", "diff", "--overlay", overlay)
    assert site.run("messages", "list", "--json").output == before


def test_diff_of_an_unknown_feed_says_which_there_are(site: OnDisk, overlay: Path) -> None:
    told = site.run("mappings", "diff", "--overlay", overlay, "--feed", "nope")
    assert told.exit_code == 1 and "there are ris" in told.output


# -- explain ---------------------------------------------------------------------------------------------------------
def explained(site: OnDisk, tmp_path: Path, raw: bytes) -> dict[str, Any]:
    file = tmp_path / "message.hl7"
    file.write_bytes(raw)
    found: dict[str, Any] = json.loads(site.run("explain", file, "--json").output)["preview"]
    return found


def test_explain_tells_what_the_scanner_would_be_told(site: OnDisk, tmp_path: Path) -> None:
    told = explained(site, tmp_path, order())
    (device,) = told["devices"]
    assert (told["fate"], device["ae_title"], device["may_ask"]) == ("applied", "CT1", True)
    assert device["entries"][0]["attributes"]["AccessionNumber"] == "A1"


def test_explain_tells_why_an_order_would_be_parked(site: OnDisk, tmp_path: Path) -> None:
    told = explained(site, tmp_path, order(modality="RAD"))
    assert told["fate"] == "parked" and told["devices"] == []
    (parked,) = told["parked"]
    assert (parked["reason"], parked["details"]["modality_sent"]) == ("modality-unknown", "RAD")


def test_explain_tells_what_a_scanners_character_set_cannot_carry(site: OnDisk, tmp_path: Path) -> None:
    raw = order(name="Yamada^Tarou=山田^太郎", charset="UNICODE UTF-8")
    told = explained(site, tmp_path, raw)
    (entry,) = told["devices"][0]["entries"]
    assert entry["attributes"]["PatientName"] == "Yamada^Tarou"
    assert entry["lost"] == {"PatientName": "Yamada^Tarou=山田^太郎"}


def test_explain_says_when_no_peer_may_ask(site: OnDisk, tmp_path: Path) -> None:
    site.config.write_text(site.config.read_text().replace('ae_title = "CT1"', 'ae_title = "CT9"'))
    file = tmp_path / "message.hl7"
    file.write_bytes(order())
    assert "no [[dicom.peer]] lets it ask" in site.run("explain", file).output


def test_explain_leaves_no_store_behind(site: OnDisk, tmp_path: Path) -> None:
    explained(site, tmp_path, order())
    assert list(site.settings.data.iterdir()) == []


def test_explain_says_when_a_scanner_could_not_read_the_entry_at_all(site: OnDisk, tmp_path: Path) -> None:
    site.config.write_text(site.config.read_text().replace('"ISO_IR 100"', '"ISO_IR 100"\nutf8 = false'))
    told = explained(site, tmp_path, order(name="山田^太郎", charset="UNICODE UTF-8"))
    (entry,) = told["devices"][0]["entries"]
    assert "(0010,0010)" in entry["withheld"] and entry["attributes"] == {}
