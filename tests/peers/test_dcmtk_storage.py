"""DCMTK's storescu and echoscu at our receiver."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from bridge.dicom.ae import DicomServer
from bridge.dicom.document import describe
from tests.peers.available import need
from tests.unit.dicom.support import FakeServices, files_under, image, part10, serving

pytestmark = pytest.mark.usefixtures("transport")


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def server(tmp_path: Path, services: FakeServices) -> Iterator[DicomServer]:
    with serving(tmp_path / "data", services) as started:
        yield started


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([need(name), *arguments], capture_output=True, text=True, timeout=60, check=False)


def storescu(server: DicomServer, *arguments: str, title: str = "CT1") -> subprocess.CompletedProcess[str]:
    return run("storescu", "-v", "-aet", title, "-aec", "BRIDGE", "127.0.0.1", str(server.port), *arguments)


def picture(path: Path, uid: str = "1.2.3.1.1.1") -> Path:
    pixels = numpy.arange(64 * 64, dtype=numpy.uint16).tobytes()
    return part10(path, image(uid, Rows=64, Columns=64, PixelData=pixels))


def test_an_echo_is_answered(server: DicomServer) -> None:
    assert run("echoscu", "-aec", "BRIDGE", "127.0.0.1", str(server.port)).returncode == 0


def test_an_echo_to_another_title_is_refused(server: DicomServer) -> None:
    done = run("echoscu", "-aec", "ELSEWHERE", "127.0.0.1", str(server.port))
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr


def test_an_image_is_stored(server: DicomServer, services: FakeServices, tmp_path: Path) -> None:
    assert storescu(server, str(picture(tmp_path / "a.dcm"))).returncode == 0
    assert services.acquiring.stored["1.2.3.1.1.1"][0].rows == 64


@pytest.mark.parametrize(
    ("tool", "options", "propose", "syntax"),
    [
        ("dcmcjpeg", ["+e1"], "-xs", "1.2.840.10008.1.2.4.70"),
        ("dcmcjpls", [], "-xt", "1.2.840.10008.1.2.4.80"),
        ("dcmcrle", [], "-xr", "1.2.840.10008.1.2.5"),
    ],
)
def test_a_compressed_image_is_kept_as_it_came(
    server: DicomServer,
    services: FakeServices,
    tmp_path: Path,
    tool: str,
    options: list[str],
    propose: str,
    syntax: str,
) -> None:
    packed = tmp_path / "packed.dcm"
    assert run(tool, *options, str(picture(tmp_path / "a.dcm")), str(packed)).returncode == 0
    assert storescu(server, propose, str(packed)).returncode == 0
    ((header, file),) = services.acquiring.stored.values()
    stored = server.archive.path(file.name)
    assert header.transfer_syntax_uid == syntax
    assert dcmread(stored).PixelData == dcmread(packed).PixelData
    assert len(describe(stored).frames) == 1


@pytest.mark.parametrize(
    ("propose", "syntax"),
    [("-xi", "1.2.840.10008.1.2"), ("-xe", "1.2.840.10008.1.2.1")],
)
def test_little_endian_is_taken_implicit_and_explicit(
    server: DicomServer, services: FakeServices, tmp_path: Path, propose: str, syntax: str
) -> None:
    assert storescu(server, propose, str(picture(tmp_path / "a.dcm"))).returncode == 0
    ((header, _),) = services.acquiring.stored.values()
    assert (header.transfer_syntax_uid, header.patient_id) == (syntax, "P100")


def test_several_images_in_one_association(server: DicomServer, services: FakeServices, tmp_path: Path) -> None:
    paths = [str(picture(tmp_path / f"{n}.dcm", f"1.2.3.1.1.{n}")) for n in range(1, 6)]
    assert storescu(server, *paths).returncode == 0
    assert len(services.acquiring.stored) == 5 == len(files_under(server))


def test_a_file_that_is_not_dicom_is_not_stored(server: DicomServer, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7 no DICOM here" * 50)
    storescu(server, str(path))
    assert files_under(server) == []


def test_an_unknown_device_may_not_store(server: DicomServer, tmp_path: Path) -> None:
    done = storescu(server, str(picture(tmp_path / "a.dcm")), title="STRANGER")
    assert "Calling AE Title Not Recognized" in done.stdout + done.stderr
    assert files_under(server) == []


def test_a_stored_file_is_read_by_dcmtk(server: DicomServer, services: FakeServices, tmp_path: Path) -> None:
    storescu(server, str(picture(tmp_path / "a.dcm")))
    ((_, file),) = services.acquiring.stored.values()
    done = run("dcmdump", "+P", "TransferSyntaxUID", str(server.archive.path(file.name)))
    assert done.returncode == 0 and "LittleEndianExplicit" in done.stdout
    assert dcmread(server.archive.path(file.name)).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
