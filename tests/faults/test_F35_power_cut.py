"""F35: the power is cut at a random moment, while the bridge runs; what it acknowledged is on the disk.

Every write that nobody has synced is lost at once (`tests/faults/rig`). The ledger lies on another disk.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.app import open_database
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.dicom.files import Archive
from bridge.domain.ledger import read_ledger
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.workflow.context import Context
from bridge.workflow.verifying import Verifier
from tests.faults.disk_site import NOBODY, Peers
from tests.faults.ledger import Ledger, assert_all_zero, verdict
from tests.faults.load import Load
from tests.faults.rig.disks import PowerDisk, mounted, need_power, power_disk
from tests.results import Record

STARTED = 10
"""Each so manieth disk gets a bridge; every one is looked at."""


@contextmanager
def powered(folder: Path) -> Iterator[tuple[Hospital, PowerDisk]]:
    """A bridge, not started, on a disk whose power can be cut."""
    site = folder / "site"
    site.mkdir()
    with power_disk(folder / "disk", site / "data", 256) as disk:
        yield Hospital(site, fhir_base=NOBODY, imaging_study="off"), disk


@pytest.fixture
def after(tmp_path: Path) -> Hospital:
    """The bridge on the other machine, to which the disk is carried."""
    folder = tmp_path / "after"
    folder.mkdir()
    return Hospital(folder, fhir_base=NOBODY, imaging_study="off")


@contextmanager
def in_one_process(hospital: Hospital, module: str = "bridge.cli") -> Iterator[None]:
    """The bridge with all its roles in one process: it starts in a third of the time."""
    command = [sys.executable, "-m", module, "--config", str(hospital.config), "run", "--in-process"]
    notice = hospital.data / "run" / "all.json"
    notice.unlink(missing_ok=True)
    with hospital.log.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        assert wait_for(notice.exists, 60), hospital.log.read_text()[-2000:]
        yield
    finally:
        process.terminate()
        process.wait(40)


def cut(disk: PowerDisk, ledger: Ledger, folder: Path) -> tuple[Path, Path]:
    """The disk as it is now, and the ledger as it was just before."""
    image, owed = folder / "cut.img", folder / "owed.jsonl"
    owed.write_bytes(ledger.path.read_bytes())
    disk.cut(image)
    return image, owed


@pytest.mark.timeout(3600)
def test_F35_what_was_acknowledged_before_the_cut_is_there_after_it(
    tmp_path: Path, after: Hospital, full: bool, record: Record
) -> None:
    need_power()
    moments = random.Random(35)
    with (
        powered(tmp_path) as (before, disk),
        before,
        Ledger(tmp_path / "ledger.jsonl") as ledger,
        Load(before, ledger) as load,
    ):
        for number in range(100 if full else 3):
            had = load.acknowledged
            with load.working():
                time.sleep(moments.uniform(0.3, 1.5))
                image, owed = cut(disk, ledger, tmp_path)
            assert load.acknowledged > had
            with mounted(image, after.data):
                told = looked_at(after, owed)
                assert (told["found"], told["acknowledged"] > 0) == ([], True)
                record("F35", "acknowledged, of which lost", told["acked_lost"], 0, count=load.acknowledged - had)
                record("F35", "cuts, of which the database was not whole", told["integrity"], 0)
                if number % STARTED == 0:
                    begun = time.monotonic()
                    with in_one_process(after):
                        assert Peers(after, first=number + 1).order()
                        record(
                            "F35", "seconds from the start on that disk to the first AA", time.monotonic() - begun, 15
                        )
                        assert_all_zero(after, owed)


def looked_at(hospital: Hospital, ledger: Path) -> dict[str, Any]:
    """What `bridge verify --deep` says of a disk before anything starts on it."""
    settings = Settings.load(hospital.config)
    database = open_database(settings)
    try:
        with ledger.open() as lines:
            entries = read_ledger(lines)
        verifier = Verifier(Context(database, settings, SystemClock()), Archive(settings.archive))
        return verifier.verify(entries, deep=True).as_json()
    finally:
        database.close()


def test_F35_the_same_cut_takes_acknowledged_orders_from_a_bridge_that_does_not_sync(
    tmp_path: Path, after: Hospital
) -> None:
    """Orders alone: the sync of an image's file would carry the rows with it."""
    need_power()
    with (
        powered(tmp_path) as (before, disk),
        in_one_process(before, "tests.faults.rig.loose"),
        Ledger(tmp_path / "ledger.jsonl") as ledger,
        Load(before, ledger, images=False, pause=0) as load,
        load.working(),
    ):
        # The worker's checkpoint syncs once a second: somewhere between two of them.
        time.sleep(1.5)
        image, owed = cut(disk, ledger, tmp_path)
    with mounted(image, after.data), in_one_process(after):
        told = verdict(after, owed)
    assert 0 < told["acked_lost"] < told["acknowledged"]
