"""F41: somebody else holds the database's one writing lock: no false answer, no crash, and at once as before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest

from bridge.sandbox.hospital import ROLES, Hospital
from tests.faults.disk_site import NOBODY, Peers, seconds_until
from tests.faults.ledger import Ledger, assert_all_zero
from tests.faults.load import Load
from tests.results import Record

NORMAL = 2.0
pytestmark = pytest.mark.timeout(300)


@contextmanager
def locked(hospital: Hospital) -> Iterator[None]:
    other = sqlite.connect(str(hospital.data / "bridge.db"), isolation_level=None, timeout=30)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_F41_while_another_holds_the_database_nobody_is_told_a_lie_and_then_all_goes_on(
    tmp_path: Path, full: bool, record: Record
) -> None:
    with (
        Hospital(tmp_path, fhir_base=NOBODY, imaging_study="off") as hospital,
        Ledger(tmp_path / "ledger.jsonl") as ledger,
        Load(hospital, ledger) as load,
        load.working(),
    ):
        assert seconds_until(lambda: load.acknowledged > 5, 30) <= 30
        # The control: without the lock, answers come in a part of the time.
        before = load.acknowledged
        assert seconds_until(lambda: load.acknowledged > before, 4.5) <= 4.5
        alive = [hospital.role_pid(role) for role in ROLES]
        with locked(hospital):
            time.sleep(0.5)  # what was committed just before may still be on its way
            before = load.acknowledged
            assert Peers(hospital).shown() > 0  # a scanner asks meanwhile, and is told
            time.sleep(30 if full else 5)
            told = load.acknowledged - before
        again = seconds_until(lambda: load.acknowledged > before, 30)
        record("F41", "acknowledged while it was locked", told, 0)
        record("F41", "seconds from the release to the next answer", again, NORMAL)
        assert (told, [hospital.role_pid(role) for role in ROLES]) == (0, alive)
        assert again <= NORMAL
        # The others, too: whoever gave up waiting has come again.
        assert Peers(hospital, first=9000).begin()
    with hospital:
        assert assert_all_zero(hospital, ledger.path)["acknowledged"] > 0
