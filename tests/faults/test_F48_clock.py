"""F48: the clock of the machine is moved while the bridge runs: nothing waits for ever, and nothing comes early.

libfaketime moves the wall clock of the hl7, web and worker roles. The dicom role keeps the right time, for pynetdicom
sleeps by `time.sleep`, which libfaketime 0.9.10 breaks: so the roles disagree about the hour besides. The rules
themselves, and the dicom role's part in them, are in tests/unit/workflow/test_clock_moved.py.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from bridge.sandbox import ris as messages
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import ROLES, Hospital
from tests.e2e.story import Site, pictures, until
from tests.faults.disk_site import Peers, seconds_until
from tests.faults.stories import make_order
from tests.peers.available import missing
from tests.results import Record

QUIET = 8
LIMIT = 30.0
JUMPS = {"+1 h": "+1h", "-1 h": "-1h", "+10 y": "+3650d"}
MOVED = ("hl7", "web", "worker")
Mover = Callable[[str], None]
pytestmark = pytest.mark.timeout(240)


def preload() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("MISSING PEER faketime: F48 did not run. Provide it with: tests/peers/install.sh")
    return str(found[0])


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Mover]:
    """The environment of a process whose wall clock can be moved, and what moves it."""
    file = tmp_path_factory.mktemp("clock") / "offset"

    def move(offset: str) -> None:
        new = file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(file)

    move("+0")
    return {
        "LD_PRELOAD": preload(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }, move


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mover: tuple[dict[str, str], Mover]) -> Iterator[Site]:
    with PretendEhr() as ehr:
        hospital = Hospital(tmp_path_factory.mktemp("moved"), fhir_base=ehr.fhir_base, quiet_seconds=QUIET)
        moved = [word for role in MOVED for word in ("--role", role)]
        with running(hospital, dict(os.environ), "--role", "dicom"):
            assert until(lambda: hospital.role_pid("dicom"), 60)  # one of the two makes the database
            with running(hospital, {**os.environ, **mover[0]}, *moved):
                assert until(lambda: all(map(hospital.role_pid, ROLES)), 60), hospital.log.read_text()[-2000:]
                yield Site(hospital, ehr.fhir_base, ehr)


@contextmanager
def running(hospital: Hospital, environment: dict[str, str], *roles: str) -> Iterator[None]:
    with hospital.log.open("ab") as log:
        process = subprocess.Popen(hospital.command("run", *roles), stdout=log, stderr=log, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(45)


@pytest.mark.parametrize("jump", JUMPS)
def test_F48_a_moved_clock_makes_nothing_stuck_and_nothing_early(
    site: Site, mover: tuple[dict[str, str], Mover], record: Record, jump: str
) -> None:
    number = list(JUMPS).index(jump)
    waiting, quiet = (make_order(n, datetime.now(), run=f"C{number}") for n in (1, 2))
    scanner, peers = site.hospital.scanner("CT1"), Peers(site.hospital, first=1000 * (number + 1))
    for order in (waiting, quiet):
        site.ris.send(messages.omi_o23, order)
    item, other = (scanner.worklist(AccessionNumber=order.accession)[0] for order in (waiting, quiet))
    step = scanner.start(item)
    images = pictures(item, 1, step)
    scanner.send(images)
    scanner.complete(step, images)
    assert until(lambda: site.rows("SELECT 1 FROM publication WHERE state = 'waiting'"), 20)
    mover[1](JUMPS[jump])
    try:
        begun = time.monotonic()
        scanner.send(pictures(other, 1))  # without MPPS: the quiet time alone ends it
        assert peers.order() is not None
        assert peers.ready() == 200
        site.records.put_patient(waiting.patient)
        site.records.put_patient(quiet.patient)
        site.published(waiting.study_uid, LIMIT)
        record("F48", "seconds until a publication that waited is done", time.monotonic() - begun, LIMIT)
        assert site.studies(quiet.study_uid) == [] or time.monotonic() - begun >= QUIET
        site.published(quiet.study_uid, LIMIT)
        quieted = time.monotonic() - begun
        record("F48", "seconds until a study is quiet, at most", quieted, QUIET + LIMIT)
        record("F48", "seconds by which a study was quiet too early", max(QUIET - quieted, 0.0), 0)
        assert quieted >= QUIET
        told = {(one["kind"], one["ended_at"]) for one in site.rows("SELECT kind, ended_at FROM alarm")}
        assert ("clock-moved", None) in told
        assert peers.ready() == 200
    finally:
        mover[1]("+0")
    ended = "SELECT 1 FROM alarm WHERE kind = 'clock-moved' AND ended_at IS NULL"
    assert seconds_until(lambda: not site.rows(ended), 20) <= 20
    peers.assert_nothing_lost()
