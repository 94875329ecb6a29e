"""F67: the last MPPS of an exam is lost, and its device is silent for 24 hours: an alarm, and one entry for a person.

The roles as they run, over the wire, by a clock that the test moves. (faketime 0.9.10 breaks Python's `time.sleep`.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bridge.app import DicomRole, Hl7Role, Process, WorkerRole
from bridge.cli import main
from bridge.clock import ManualClock
from bridge.config import Alarms, Defaults, Dicom, DicomPeer, Feed, Hl7, IssuerSetting, Settings, Station, Storage
from bridge.run.role import Ending
from bridge.sandbox.hospital import wait_for
from bridge.sandbox.modality import Scanner
from bridge.store.migrate import migrate
from tests.faults.feed_site import Sender, codes, orm
from tests.unit.workflow.house import NOON

HOUR = 3600.0


class Running:
    """A bridge with all its doors but the web's; nothing is done by hand but the passing of time."""

    def __init__(self, folder: Path) -> None:
        issuers = (IssuerSetting(name="HOSP", namespace="HOSP"), IssuerSetting(name="RIS", namespace="RIS"))
        settings = Settings(
            data=folder,
            issuer=issuers,
            defaults=Defaults(patient_issuer="HOSP", accession_issuer="RIS"),
            station=(Station(ae_titles=("CT1",), modality="CT"),),
            hl7=Hl7(feed=(Feed(name="ris", port=0),)),
            dicom=Dicom(port=0, peer=(DicomPeer(ae_title="CT1"),)),
            storage=Storage(min_free_bytes=0),
            alarms=Alarms(check_seconds=0.1, silent_minutes=0, disk_free_bytes=0),
        )
        self.clock = ManualClock(NOON)
        self._process = Process(settings, Ending(), self.clock)
        migrate(self._process.database)
        self._roles = [role(self._process) for role in (Hl7Role, DicomRole, WorkerRole)]
        ports: dict[str, int] = {}
        for role in self._roles:
            ports |= role.start()
        self.scanner = Scanner("CT1", "127.0.0.1", ports["dicom"], clock=self.clock)
        self._feed, self._config = ports["hl7.ris"], folder / "bridge.toml"
        self._config.write_text("data = '.'\n")

    def begin(self) -> str:
        """An exam from the worklist is begun; its end never reaches us."""
        sender = Sender(self._feed)
        assert codes(sender.say(orm())) == ["AA"]
        sender.close()
        (item,) = self.scanner.worklist()
        return self.scanner.start(item)

    def told(self, *command: str) -> list[dict[str, Any]]:
        """What a command at the prompt tells."""
        done = CliRunner().invoke(main, ["--config", str(self._config), *command, "--json"])
        assert done.exit_code in (0, 1), done.output  # 1: there are alarms
        found: list[dict[str, Any]] = json.loads(done.output)
        return found

    def alarms(self) -> list[tuple[str, str]]:
        return [(a["kind"], a["subject"]) for a in self.told("alarms") if a["kind"] == "performed-open"]

    def entries(self) -> list[tuple[str, str]]:
        return [(one["kind"], one["reason"]) for one in self.told("review")]

    def finish(self, uid: str) -> int:
        command = ["performed", "finish", uid, "--status", "COMPLETED", "--reason", "seen in the PACS"]
        return CliRunner().invoke(main, ["--config", str(self._config), *command]).exit_code

    def close(self) -> None:
        for role in self._roles:
            role.stop()
        self._process.database.close()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr("bridge.app.ATTENDING_SECONDS", 0.1)
    site = Running(tmp_path)
    yield site
    site.close()


def test_an_exam_whose_end_was_lost_is_an_alarm_and_one_entry_until_a_person_ends_it(running: Running) -> None:
    uid = running.begin()
    running.clock.advance(24 * HOUR - 1)
    assert not wait_for(lambda: running.alarms() or running.entries(), 1), "it is no silence yet"
    running.clock.advance(1)
    assert wait_for(lambda: running.alarms() and running.entries(), 10)
    assert running.alarms() == [("performed-open", "CT1")]
    assert running.entries() == [("performed-open", "silent")]
    assert [one["sop_instance_uid"] for one in running.told("performed")] == [uid]
    assert running.finish(uid) == 0
    assert (running.told("performed"), running.entries(), running.scanner.worklist()) == ([], [], [])
    assert wait_for(lambda: not running.alarms(), 10)


def test_an_exam_whose_end_came_is_none(running: Running) -> None:
    """The control: the same day, and nothing lost."""
    uid = running.begin()
    running.scanner.complete(uid, [])
    running.clock.advance(48 * HOUR)
    assert not wait_for(lambda: running.alarms() or running.entries(), 1)
