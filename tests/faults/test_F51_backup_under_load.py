"""F51, F32: `bridge backup` while everybody works, restored elsewhere: whole, and what comes again is known."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.hl7.client import MllpClient
from bridge.sandbox import ris as messages
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital, wait_for
from tests.e2e.story import Site
from tests.faults.busy import Busy, note_publications, wait_published
from tests.faults.ledger import Ledger, assert_all_zero, verdict
from tests.faults.stories import make_order
from tests.results import Record

pytestmark = pytest.mark.timeout(600)
EXAMS = 2


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "here"
    folder.mkdir()
    with PretendEhr() as ehr, Hospital(folder, fhir_base=ehr.fhir_base, quiet_seconds=2) as hospital:
        yield Site(hospital, ehr.fhir_base, ehr)


def elsewhere(site: Site, folder: Path) -> Hospital:
    """A machine that has the site's settings and nothing else; not started."""
    folder.mkdir()
    made = Hospital(folder, fhir_base=site.fhir_base, quiet_seconds=2)
    shutil.rmtree(made.data, ignore_errors=True)
    return made


def copied(site: Site, folder: Path) -> Hospital:
    """What is no backup: the open files as they lie there. The newest pages are in the write-ahead log."""
    made = elsewhere(site, folder)
    made.data.mkdir()
    shutil.copyfile(site.hospital.data / "bridge.db", made.data / "bridge.db")
    shutil.copytree(site.hospital.data / "archive", made.data / "archive", dirs_exist_ok=True, copy_function=_copy)
    return made


def _copy(source: str, target: str) -> None:
    with suppress(FileNotFoundError):
        shutil.copyfile(source, target)


def test_F51_F32_a_backup_under_load_is_whole_elsewhere_and_a_resend_is_known_there(
    site: Site, tmp_path: Path, full: bool, record: Record
) -> None:
    order, control_id = make_order(1, datetime.now(), run="R"), "BEFORE-THE-BACKUP"
    raw = messages.omi_o23(order, datetime.now(UTC), control_id)
    with Ledger(tmp_path / "ledger.jsonl") as ledger, Busy(site, ledger, run="B") as load:
        with MllpClient("127.0.0.1", site.hospital.ports.hl7, 20) as client:
            ledger.sent("hl7", control_id, order=order.placer)
            first = client.send(raw)
            ledger.answered("hl7", control_id, "AA")
        for number in range(10 if full else 1):
            exams = len(load.studies)
            with load.working():
                assert wait_for(lambda had=exams: len(load.studies) >= had + EXAMS, 90)
                owed = tmp_path / f"owed{number}.jsonl"
                naive = copied(site, tmp_path / f"copied{number}")
                owed.write_bytes(ledger.path.read_bytes())  # acknowledged before it began: in it
                made = site.hospital.run("backup", str(tmp_path / f"backup{number}"))
                assert made.returncode == 0, made.stderr
                worked = load.acknowledged
                assert wait_for(lambda had=worked: load.acknowledged > had, 30)  # nobody was held up
            other = elsewhere(site, tmp_path / f"there{number}")
            restored = other.run("restore", str(tmp_path / f"backup{number}"))
            assert restored.returncode == 0, restored.stdout + restored.stderr
            told = verdict(other, owed)
            record("F51", "backups, rows without their file", told["rows_without_file"], 0)
            assert (told["found"], told["rows"] >= EXAMS * 3) == ([], True)
            assert verdict(naive, owed, deep=False)["acked_lost"] > 0  # the control
        load.finish()
        note_publications(site, ledger, load.studies)
        assert_all_zero(site.hospital, ledger.path)
    site.hospital.stop()  # one bridge for one EHR
    with other:
        with MllpClient("127.0.0.1", other.ports.hl7, 20) as client:
            assert client.send(raw) == first
        again = Site(other, site.fhir_base, site.ehr)
        studies = [one["study_instance_uid"] for one in again.rows("SELECT study_instance_uid FROM study")]
        wait_published(again)
        assert [len(site.studies(uid)) for uid in studies] == [1] * len(studies)
        assert verdict(other, owed)["found"] == []
