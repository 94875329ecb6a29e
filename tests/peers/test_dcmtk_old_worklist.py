"""`bridge shadow` against DCMTK's wlmscpfs as the worklist in use today."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from bridge.dicom.worklist_user import WorklistUser, flatten, question
from bridge.errors import RemoteError
from tests.peers.available import need
from tests.unit.cli.site import OnDisk, order

STEP = "ScheduledProcedureStepSequence."


def entry(number: int, *, station: str = "CT1", modality: str = "CT", name: str = "DOE^JANE") -> Dataset:
    """A worklist file of the old system."""
    found, step = Dataset(), Dataset()
    found.SpecificCharacterSet = "ISO_IR 100"
    found.AccessionNumber, found.PatientID, found.PatientName = f"A{number}", str(1000 + number), name
    found.PatientBirthDate, found.PatientSex = "19800101", "F"
    found.StudyInstanceUID, found.RequestedProcedureID = f"1.2.840.99.{number}", f"RP{number}"
    found.RequestedProcedureDescription = "CT head"
    step.ScheduledStationAETitle, step.Modality, step.ScheduledProcedureStepID = station, modality, f"S{number}"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20991126", "0930"
    step.ScheduledProcedureStepDescription = "CT head"
    found.ScheduledProcedureStepSequence = [step]
    return found


class OldWorklist:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "OLD"
        self.folder.mkdir(parents=True)
        (self.folder / "lockfile").touch()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # Types that the model requires may be missing in files of the field: it shall not hide those entries.
        command = [need("wlmscpfs"), "-s", "-dfr", "-dfp", str(folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("wlmscpfs did not start")

    def add(self, number: int, **more: Any) -> None:
        data = entry(number, **more)
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
        data.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number}")
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(self.folder / f"{number}.wl", enforce_file_format=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[OldWorklist]:
    running = OldWorklist(tmp_path / "wl")
    yield running
    running.stop()


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    return OnDisk(tmp_path / "site")


def shadow(site: OnDisk, old: OldWorklist, tmp_path: Path, *messages: bytes) -> tuple[int, dict[str, Any]]:
    capture = tmp_path / "captured.hl7"
    capture.write_bytes(b"".join(messages))
    told = site.run("shadow", capture, "--old", f"127.0.0.1:{old.port}/OLD", "--json")
    return told.exit_code, json.loads(told.stdout)["worklists"]


def test_each_station_gets_its_own_list_from_the_old_worklist(old: OldWorklist) -> None:
    old.add(1)
    old.add(2, station="MR1", modality="MR")
    user = WorklistUser("127.0.0.1", old.port, "OLD")
    for title, accession in (("CT1", "A1"), ("MR1", "A2")):
        assert [flatten(one)["AccessionNumber"] for one in user.ask(title, question(station=title))] == [accession]


def test_two_worklists_that_say_the_same_agree(old: OldWorklist, site: OnDisk, tmp_path: Path) -> None:
    old.add(1)
    status, told = shadow(site, old, tmp_path, order(1))
    assert told["CT1"]["different"] == [] and told["CT1"]["same"] == 1
    assert status == 0


def test_the_difference_is_told_entry_by_entry(old: OldWorklist, site: OnDisk, tmp_path: Path) -> None:
    old.add(1, name="ROE^JANE")
    old.add(3)
    status, told = shadow(site, old, tmp_path, order(1), order(2))
    assert status == 1
    (one,) = told["CT1"]["different"]
    assert one["attributes"] == {"PatientName": ["ROE^JANE", "DOE^JANE"]}
    assert [e["AccessionNumber"] for e in told["CT1"]["only_old"]] == ["A3"]
    assert [e["AccessionNumber"] for e in told["CT1"]["only_ours"]] == ["A2"]


def test_a_name_in_latin_1_is_no_difference(old: OldWorklist, site: OnDisk, tmp_path: Path) -> None:
    old.add(1, name="MÜLLER^JÜRGEN")
    status, _ = shadow(site, old, tmp_path, order(1, name="MÜLLER^JÜRGEN", charset="UNICODE UTF-8"))
    assert status == 0


def test_an_old_worklist_that_rejects_us_is_an_error_and_no_empty_list(old: OldWorklist) -> None:
    with pytest.raises(RemoteError):
        list(WorklistUser("127.0.0.1", old.port, "NOBODY").ask("CT1", question()))


def test_an_old_worklist_that_is_not_there_is_an_error(old: OldWorklist) -> None:
    old.stop()
    with pytest.raises(RemoteError):
        list(WorklistUser("127.0.0.1", old.port, "OLD", seconds=2).ask("CT1", question()))
