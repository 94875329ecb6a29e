"""F47: a worker is stopped past its lease, amid its deliveries, and goes on: nothing is told or scheduled twice.

On PostgreSQL a second node takes over meanwhile; on SQLite nobody can, and the worker itself begins anew.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from bridge.run.role import read_notice
from bridge.sandbox import ris as messages
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital, wait_for
from bridge.sandbox.ris import PLACER, DemoOrder
from bridge.store.db import Database
from tests.e2e.story import Site, pictures
from tests.faults.short_lease import SECONDS
from tests.faults.stories import make_order
from tests.results import Record
from tests.unit.store.postgres import cluster

STUDIES = 8
pytestmark = pytest.mark.timeout(240)


@contextmanager
def roles(hospital: Hospital, notice: str, *arguments: str) -> Iterator[int]:
    """Some roles of a bridge, with short leases; the pid of the process that says `notice`."""
    command = [sys.executable, "-m", "tests.faults.short_lease", "--config", str(hospital.config), "run", *arguments]
    with hospital.log.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    file = hospital.data / "run" / f"{notice}.json"
    try:
        assert wait_for(lambda: read_notice(file), 60), hospital.log.read_text()[-2000:]
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(45)


@contextmanager
def postgresql() -> Iterator[str]:
    with cluster() as host:
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE bridge")
        yield f"postgresql+psycopg://postgres@/bridge?host={host}"


class Pair:
    """A node with every door, its worker in a process of its own, and perhaps another node's worker."""

    def __init__(self, folder: Path, ehr: PretendEhr, url: str, stack: ExitStack) -> None:
        first, second = folder / "first", folder / "second"
        first.mkdir()
        hospital = Hospital(first, fhir_base=ehr.fhir_base, quiet_seconds=2, database_url=url)
        self.site = Site(hospital, ehr.fhir_base, ehr)
        self.database = Database(url, hospital.data, on_broken=lambda: None)
        stack.callback(self.database.close)
        stack.enter_context(roles(hospital, "dicom", "--role", "hl7", "--role", "dicom"))
        self.worker = stack.enter_context(roles(hospital, "all", "--role", "worker", "--in-process"))
        if url:
            second.mkdir()
            other = Hospital(second, fhir_base=ehr.fhir_base, quiet_seconds=2, database_url=url)
            shutil.rmtree(other.data / "archive")
            (other.data / "archive").symlink_to(hospital.data / "archive")
            stack.enter_context(roles(other, "all", "--role", "worker", "--in-process"))

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def delivers(self) -> bool:
        """Whether the worker that will be stopped has something in hand."""
        claimed = self.rows("SELECT lease_owner FROM publication WHERE state = 'claimed'")
        return any(str(owner).endswith(f":{self.worker}") for (owner,) in claimed)


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        ehr = stack.enter_context(PretendEhr())
        url = stack.enter_context(postgresql()) if request.param == "postgresql" else ""
        yield Pair(tmp_path, ehr, url, stack)


def examined(pair: Pair, run: str) -> list[DemoOrder]:
    """Orders whose studies are complete and wait for their patients, so that all go at once."""
    hospital, orders = pair.site.hospital, [make_order(n, datetime.now(), run=run) for n in range(STUDIES)]
    scanner, ris = hospital.scanner("CT1"), hospital.ris()
    for order in orders:
        ris.send(messages.omi_o23, order)
        item = scanner.worklist(AccessionNumber=order.accession)[0]
        step = scanner.start(item)
        images = pictures(item, 1, step)
        scanner.send(images)
        scanner.complete(step, images)
    ris.close()
    return orders


def test_F47_a_worker_that_was_stopped_past_its_lease_tells_nobody_twice(
    pair: Pair, full: bool, record: Record
) -> None:
    told: Counter[str] = Counter()
    for number in range(6 if full else 1):
        orders = examined(pair, "ABCDEF"[number])
        for order in orders:
            pair.site.records.put_patient(order.patient)
        assert wait_for(pair.delivers, 30, every=0.01)
        os.kill(pair.worker, signal.SIGSTOP)
        try:
            time.sleep(SECONDS + 1)
        finally:
            os.kill(pair.worker, signal.SIGCONT)
        for order in orders:
            pair.site.published(order.study_uid, 40)
        assert wait_for(lambda: not pair.rows("SELECT 1 FROM publication WHERE state != 'done'"), 30)
        for order in orders:
            told[f"{len(pair.site.studies(order.study_uid))} ImagingStudy"] += 1
            asked = pair.site.search("ServiceRequest", identifier=f"{PLACER.system}|{order.placer}")
            told[f"{len(asked)} ServiceRequest"] += 1
        record("F47", "studies told, of which twice", 0, 0, count=len(orders))
    versions = Counter(pair.rows("SELECT subject, details FROM audit WHERE action = 'published'"))
    assert set(versions.values()) == {1}
    assert set(told) == {"1 ImagingStudy", "1 ServiceRequest"}
    assert len(pair.site.search("Endpoint")) == 1
