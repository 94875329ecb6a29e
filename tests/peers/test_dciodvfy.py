"""What scanners copy from our answers, and what we keep of what they send, judged by dicom3tools' dciodvfy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from bridge.dicom.ae import DicomServer
from bridge.dicom.model import STEP_SEQUENCE, TOP
from bridge.domain.patient import PersonName
from bridge.domain.worklist import WorklistEntry
from bridge.sandbox.images import ct_phantom
from tests.peers.available import need
from tests.unit.dicom.support import FakeServices, entry, serving

ENTRIES = {
    "plain": entry(),
    "three groups": entry(patient_name=PersonName("YAMADA^TARO", "山田^太郎", "やまだ^たろう")),
    "nothing but what must be": entry(
        sex="", birth_date="", accession_number="", referring_physician=PersonName(), reason="", comments="",
        requested_procedure_code=None, protocol_codes=(), station_name="", admission_id="",
    ),
    "longer than a VR": entry(
        requested_procedure_description="CT OF " + "HEAD AND NECK " * 12, step_description="X" * 90,
        step_location="L" * 40, station_name="S" * 40, comments="C" * 12_000,
    ),
    "odd letters": entry(requested_procedure_description="TAB\tHERE\\THERE", patient_name=PersonName("O'NEIL^ZOË^^")),
}  # fmt: skip


def errors(path: Path) -> list[str]:
    done = subprocess.run([need("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False)
    assert "CTImage" in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.fixture
def server(tmp_path: Path, services: FakeServices) -> Iterator[DicomServer]:
    with serving(tmp_path / "data", services) as started:
        yield started


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


def every_key() -> list[str]:
    return [arg for tag in TOP for arg in ("-k", f"{tag >> 16:04X},{tag & 0xFFFF:04X}")] + [
        "-k",
        f"{STEP_SEQUENCE >> 16:04X},{STEP_SEQUENCE & 0xFFFF:04X}",
    ]


def asked(server: DicomServer, folder: Path) -> Path:
    """The answer to a query for everything, as findscu writes it down."""
    command = [need("findscu"), "-W", "-X", "-od", str(folder), "-aet", "CT1", "-aec", "BRIDGE", *every_key()]
    subprocess.run([*command, "127.0.0.1", str(server.port)], check=True, capture_output=True, timeout=30)
    (answer,) = folder.glob("rsp*.dcm")
    return answer


@pytest.mark.parametrize("of", ENTRIES)
def test_an_image_with_the_values_of_our_answer_has_no_error(
    server: DicomServer, services: FakeServices, tmp_path: Path, of: str
) -> None:
    found: WorklistEntry = ENTRIES[of]
    services.worklist.entries = [found]
    (image,) = ct_phantom(dcmread(asked(server, tmp_path), force=True), 1, size=64)
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    assert errors(tmp_path / "image.dcm") == []


def test_what_we_keep_of_an_image_has_no_error(server: DicomServer, services: FakeServices, tmp_path: Path) -> None:
    (image,) = ct_phantom(dcmread(asked(server, tmp_path), force=True), 1, size=64)
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    command = [need("storescu"), "-aet", "CT1", "-aec", "BRIDGE", "127.0.0.1", str(server.port)]
    subprocess.run([*command, str(tmp_path / "image.dcm")], check=True, capture_output=True, timeout=30)
    ((_, kept),) = services.acquiring.stored.values()
    assert errors(server.archive.path(kept.name)) == []


def test_an_image_that_is_wrong_has_one(server: DicomServer, tmp_path: Path) -> None:
    (image,) = ct_phantom(dcmread(asked(server, tmp_path), force=True), 1, size=64)
    del image.ImageType
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    assert errors(tmp_path / "image.dcm") != []
