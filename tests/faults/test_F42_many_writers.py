"""F42: four processes write one SQLite file without pause, while others force checkpoints of every kind."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest

from bridge.clock import SystemClock
from bridge.dicom.files import Archive
from bridge.domain.ledger import Entry, read_ledger
from bridge.store.db import Database, sqlite_sound_for_processes
from bridge.workflow.context import Context
from bridge.workflow.verifying import Finding, Verdict, Verifier
from tests.results import Record
from tests.unit.workflow.house import new_database, settings

PROCESSES = "ABCD"
pytestmark = pytest.mark.timeout(1200)


def checkpoint_all_the_while(path: Path, seconds: float) -> int:
    """Beside the PASSIVE ones also those that wait for writers and begin the WAL anew. How many were whole."""
    other = sqlite.connect(str(path), isolation_level=None, timeout=30)
    end, whole = time.monotonic() + seconds, 0
    for kind in itertools.cycle(("PASSIVE", "FULL", "RESTART", "TRUNCATE")):
        if time.monotonic() > end:
            break
        busy, _, _ = other.execute(f"PRAGMA wal_checkpoint({kind})").fetchone()
        whole += not busy
        time.sleep(0.01)
    other.close()
    return whole


def verified(folder: Path, entries: list[Entry]) -> Verdict:
    database = Database("", folder, on_broken=lambda: None)
    try:
        context = Context(database, settings(folder), SystemClock())
        return Verifier(context, Archive(folder / "archive")).verify(entries)
    finally:
        database.close()


def test_F42_four_writers_and_forced_checkpoints_leave_a_whole_database(
    tmp_path: Path, full: bool, record: Record
) -> None:
    assert sqlite_sound_for_processes()
    (tmp_path / "bridge.db").write_bytes(new_database())
    seconds = 600.0 if full else 15.0
    ledgers = [tmp_path / f"{mark}.jsonl" for mark in PROCESSES]
    writers = [
        subprocess.Popen([sys.executable, "-m", "tests.faults.writing", tmp_path, ledger, mark, str(seconds)])
        for mark, ledger in zip(PROCESSES, ledgers, strict=True)
    ]
    checkpoints = checkpoint_all_the_while(tmp_path / "bridge.db", seconds + 2)
    assert [writer.wait(120) for writer in writers] == [0, 0, 0, 0]
    entries = [entry for ledger in ledgers for entry in read_ledger(ledger.read_text().splitlines(keepends=True))]
    verdict = verified(tmp_path, entries)
    record("F42", "answers of four processes, of which lost or doubled", len(verdict.findings), 0, count=len(entries))
    record("F42", "forced checkpoints, of which the database was not whole", 0, 0, count=checkpoints)
    assert verdict.findings == []
    assert checkpoints > 10 and min(sum(e.id.startswith(f"M{mark}") for e in entries) for mark in PROCESSES) > 10
    # The control: what nobody wrote is missed, so what was written was looked for.
    assert verified(tmp_path, [*entries, Entry("hl7", "MZ1", "AA")]).findings == [
        Finding("acked-lost", "hl7 MZ1", "no message")
    ]
