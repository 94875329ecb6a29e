"""What `bridge verify` reads is the same on both databases."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bridge.clock import ManualClock
from bridge.dicom.files import Archive
from bridge.domain.ledger import Entry
from bridge.domain.performed import PerformedStatus, PerformedStep
from bridge.domain.study import StoredFile
from bridge.store import audit, studies, verify
from bridge.store.db import Database
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.context import Context
from bridge.workflow.performing import PerformedSteps
from bridge.workflow.verifying import Verifier
from tests.unit.workflow.house import NOON, image_header, settings


@pytest.fixture
def context(database: Database, tmp_path: Path) -> Context:
    return Context(database, settings(tmp_path / "data"), ManualClock(NOON))


def test_every_look_runs_and_finds_what_is_planted(context: Context) -> None:
    archive = Archive(context.settings.archive)
    name = "ab/c/" + "0" * 32 + ".dcm"
    Acquiring(context).take_instance(image_header(), StoredFile(name, 10, "s"), "CT1")
    context.clock.advance(3600)  # type: ignore[attr-defined]
    context.database.write(lambda c: audit.note_activity(c, "role", "worker", context.clock.now()))
    ledger = [Entry(kind, "1.2.99", "0000") for kind in ("store", "n-create", "n-set")]
    ledger += [Entry("hl7", "M99", "AA", order="P99"), Entry("publish", "1.2.99", "200", resources=("a",))]
    found = Verifier(context, archive).verify(ledger, deep=True, stuck_after=timedelta(minutes=1)).findings
    assert [(one.kind, one.subject) for one in found] == [
        ("row-without-file", "instance:1"),
        ("stuck", "study:1"),
        ("acked-lost", "hl7 M99"),
        ("acked-lost", "store 1.2.99"),
        ("acked-lost", "n-create 1.2.99"),
        ("acked-lost", "n-set 1.2.99"),
        ("acked-lost", "publish 1.2.99"),
    ]


def test_rows_come_page_by_page_each_once(
    database: Database, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PAGE", 2)
    acquiring = Acquiring(context)
    for number in range(5):
        file = StoredFile(f"f{number}", 10, f"s{number}")
        acquiring.take_instance(image_header(sop_instance_uid=f"1.2.9.{number}"), file, "CT1")
    pages = [[row.file for row in page] for page in verify.owners(context.database.read, "instance")]
    assert pages == [["f0", "f1"], ["f2", "f3"], ["f4"]]


def test_the_names_that_a_row_owns(database: Database, context: Context) -> None:
    Acquiring(context).take_instance(image_header(), StoredFile("f1", 10, "s"), "CT1")
    with database.read() as connection:
        assert studies.known_files(connection, ["f1", "f2"]) == {"f1"}


def test_a_sound_database_has_no_faults_of_its_own(database: Database) -> None:
    with database.read() as connection:
        assert verify.integrity_faults(connection) == []


def test_the_status_of_a_performed_step(database: Database, context: Context) -> None:
    PerformedSteps(context).take_create(PerformedStep("1.2.7", PerformedStatus.IN_PROGRESS, ()), {}, "CT1")
    with database.read() as connection:
        assert verify.performed_statuses(connection, ["1.2.7", "1.2.8"]) == {"1.2.7": "IN PROGRESS"}
