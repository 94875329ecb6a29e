"""F49: 512 MiB for the role that takes images, and fifty devices that send 200 MiB each: they wait, none is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]

from bridge.sandbox.hospital import ROLES, Hospital, wait_for
from bridge.uids import new_uid
from tests.faults.disk_site import NOBODY, Peers
from tests.faults.ledger import assert_all_zero
from tests.faults.rig.memory import Group, limited
from tests.results import Record

LIMIT = 512
pytestmark = pytest.mark.timeout(900)


@contextmanager
def running(hospital: Hospital, group: Group) -> Iterator[None]:
    """The dicom role in the group, the others outside: four interpreters at rest take 490 MiB, whoever sends."""
    others = [word for role in ROLES if role != "dicom" for word in ("--role", role)]
    with hospital.log.open("ab") as log:
        limited_one = group.popen(hospital.command("run", "--role", "dicom"), stdout=log, stderr=log)
        try:
            assert wait_for(lambda: hospital.role_pid("dicom"), 90), hospital.log.read_text()[-2000:]
            rest = subprocess.Popen(hospital.command("run", *others), stdout=log, stderr=log)
            try:
                assert wait_for(lambda: all(map(hospital.role_pid, ROLES)), 90), hospital.log.read_text()[-2000:]
                yield
            finally:
                rest.terminate()
                rest.wait(45)
        finally:
            limited_one.terminate()
            limited_one.wait(45)


def large(path: Path, mebibytes: int) -> Path:
    """An image of zeros that takes no room: a file with a hole."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = new_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = new_uid(), new_uid()
    image.PatientID, image.PatientName, image.Modality = "F49", "Large^Test", "CT"
    image.PixelData = b""
    image["PixelData"].VR = "OW"
    dcmwrite(path, image, enforce_file_format=True)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write((mebibytes * 1024**2).to_bytes(4, "little"))
        file.truncate(file.tell() + mebibytes * 1024**2)
    return path


def store(hospital: Hospital, path: Path, answers: list[int]) -> None:
    """As a device does: again until it is taken, for a refused association or object may be taken later."""
    ae, until = AE("CT1"), time.monotonic() + 600
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 300
    while time.monotonic() < until:
        peer = ae.associate("127.0.0.1", hospital.ports.dicom, ae_title="BRIDGE")
        if peer.is_established:
            try:
                status = peer.send_c_store(path).get("Status")
            except RuntimeError:
                status = None
            peer.release()
            if status == 0x0000:
                answers.append(status)
                return
        time.sleep(0.5)


def test_F49_fifty_large_objects_at_once_end_on_the_disk_and_no_process_is_killed(
    tmp_path: Path, full: bool, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    devices, mebibytes = (50, 200) if full else (10, 30)
    with limited(LIMIT) as group:
        hospital = Hospital(tmp_path, fhir_base=NOBODY, imaging_study="off")
        files = [large(tmp_path / f"{n}.dcm", mebibytes) for n in range(devices)]
        answers, highest = list[int](), 0
        with running(hospital, group):
            pids = [hospital.role_pid(role) for role in ROLES]
            senders = [threading.Thread(target=store, args=(hospital, file, answers)) for file in files]
            for sender in senders:
                sender.start()
            while any(sender.is_alive() for sender in senders):
                highest = max(highest, group.anonymous)
                time.sleep(0.2)
            assert answers == [0x0000] * devices
            assert group.killed == 0
            assert [hospital.role_pid(role) for role in ROLES] == pids
            assert Peers(hospital).order() is not None
            record("F49", f"MiB of all processes while {devices} devices sent {mebibytes} MiB each", highest, LIMIT)
            assert_all_zero(hospital)


def test_F49_the_same_limit_kills_a_process_that_takes_what_it_is_given() -> None:
    with limited(LIMIT) as group:
        greedy = group.popen([sys.executable, "-c", f"held = bytearray({LIMIT + 64} << 20)"], stderr=subprocess.DEVNULL)
        assert (greedy.wait(60), group.killed) == (-9, 1)
