"""F50: SIGTERM of the whole service under load: it takes nothing new, ends what it has in hand, and loses nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bridge.sandbox.hospital import Hospital, wait_for
from tests.faults.disk_site import NOBODY
from tests.faults.ledger import Ledger, assert_all_zero
from tests.faults.load import Load
from tests.faults.test_kill import alive, held, pids_of
from tests.results import Record

ENDED = 30.0
pytestmark = pytest.mark.timeout(600)


def test_F50_sigterm_under_load_ends_in_time_and_loses_nothing(tmp_path: Path, full: bool, record: Record) -> None:
    with (
        Hospital(tmp_path, fhir_base=NOBODY, imaging_study="off") as hospital,
        Ledger(tmp_path / "ledger.jsonl") as ledger,
        Load(hospital, ledger, pause=0.0) as load,
    ):
        for _ in range(10 if full else 1):
            before, pids = load.acknowledged, pids_of(hospital)
            with load.working():
                assert wait_for(lambda had=before: load.acknowledged > had + 10, 30)
                begun = time.monotonic()
                status = hospital.stop()
            seconds = time.monotonic() - begun
            record("F50", "seconds from SIGTERM to the end", seconds, ENDED)
            assert (status, alive(pids), held(hospital.ports)) == (0, [], [])
            assert seconds <= ENDED
            hospital.start()
        told = assert_all_zero(hospital, ledger.path)
        record("F50", "acknowledged, of which lost", told["acked_lost"], 0, count=told["acknowledged"])
        assert (told["in_hand"], told["acknowledged"] > 10) == (0, True)
