"""`bridge verify` at the prompt: what one reads, what a machine reads, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.dicom.files import Archive
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.context import Context
from tests.unit.cli.site import OnDisk, order
from tests.unit.dicom.support import image, part10
from tests.unit.workflow.house import image_header


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    made = OnDisk(tmp_path)
    made.store(order())
    return made


def keep(site: OnDisk, number: int) -> Path:
    """An image as a C-STORE leaves it; its file."""
    from bridge import app
    from bridge.clock import SystemClock

    archive = Archive(site.settings.archive)
    file = archive.commit(part10(archive.temporary(), image(f"1.2.9.{number}")))
    database = app.open_database(site.settings)
    acquiring = Acquiring(Context(database, site.settings, SystemClock()))
    acquiring.take_instance(image_header(sop_instance_uid=f"1.2.9.{number}"), file, "CT1")
    database.close()
    return archive.path(file.name)


def test_a_sound_store_is_told_in_a_line_each(site: OnDisk) -> None:
    keep(site, 1)
    result = site.run("verify")
    assert (result.exit_code, [line[:11].strip() for line in result.output.splitlines()]) == (
        0,
        ["✓ database", "✓ images", "✓ archive", "✓ work"],
    )


def test_a_lost_image_is_told_with_what_to_do_and_without_its_patient(site: OnDisk) -> None:
    keep(site, 1).unlink()
    result = site.run("verify")
    assert result.exit_code == 1
    assert "✗ images    1 images whose file is gone" in result.output
    assert "restore a backup, or have their devices send them again" in result.output
    assert "instance:1" in result.output
    assert not [word for word in ("DOE", "JANE", "1001", "19800101") if word in result.output]


def test_a_ledger_is_compared(site: OnDisk, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text('{"kind": "hl7", "id": "C1", "answer": "AA"}\n{"kind": "hl7", "id": "C2", "answer": "AA"}\n')
    told = json.loads(site.run("verify", "--ledger", ledger, "--json").output)
    assert {name: told[name] for name in ("acked_lost", "double_effect", "orphans", "stuck")} == {
        "acked_lost": 1,
        "double_effect": 0,
        "orphans": 0,
        "stuck": 0,
    }
    assert told["found"] == [{"kind": "acked-lost", "subject": "hl7 C2", "why": "no message"}]


def test_a_ledger_that_is_none_is_told_with_its_line(site: OnDisk, tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("no\n")
    result = site.run("verify", "--ledger", tmp_path / "ledger")
    assert (result.exit_code, "line 1" in result.output) == (1, True)


def test_of_many_findings_the_first_are_shown(site: OnDisk) -> None:
    for number in range(23):
        keep(site, number).unlink()
    output = site.run("verify").output
    assert (output.count("instance:"), "and 3 more" in output) == (20, True)


def test_before_the_first_run_there_is_nothing_to_verify(tmp_path: Path) -> None:
    result = OnDisk(tmp_path).run("verify")
    assert (result.exit_code, "no database yet" in result.output) == (1, True)
