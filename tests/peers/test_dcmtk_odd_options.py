"""DCMTK's senders with the options that real devices are set up with, and those nobody should use: nobody is harmed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bridge.dicom.ae import DicomServer
from tests.peers.available import need
from tests.peers.test_dcmtk_storage import picture, run
from tests.unit.dicom.support import FakeServices, files_under, serving


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def server(tmp_path: Path, services: FakeServices) -> Iterator[DicomServer]:
    """After whatever a test does, an honest peer is served."""
    with serving(tmp_path / "data", services) as started:
        yield started
        assert run("echoscu", "-aec", "BRIDGE", "127.0.0.1", str(started.port)).returncode == 0


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    (tmp_path / "in").mkdir()
    return [str(picture(tmp_path / "in" / f"{n}.dcm", f"1.2.3.1.1.{n}")) for n in range(1, 4)]


def sent(
    tool: str,
    server: DicomServer,
    *arguments: str,
    files: Sequence[str] = (),
    title: str = "CT1",
    called: str = "BRIDGE",
) -> subprocess.CompletedProcess[str]:
    return run(tool, "-v", "-aet", title, "-aec", called, *arguments, "127.0.0.1", str(server.port), *files)


@pytest.mark.parametrize(
    "options",
    [
        ["-xd"],  # deflated is refused, the uncompressed context beside it is not
        ["-xb"],
        ["+C"],
        ["-R"],
        ["-R", "+C"],
        ["-xv"],
        ["-pdu", "4096"],
        ["-pdu", "131072"],
        ["--max-send-pdu", "4096"],
        ["--max-send-pdu", "131072"],
        ["-usr", "somebody", "-pwd", "wrong"],
        ["--abort"],
    ],
    ids=" ".join,
)
def test_storescu_stores_with(
    server: DicomServer, services: FakeServices, pictures: list[str], options: list[str]
) -> None:
    done = sent("storescu", server, *options, files=pictures)
    assert done.returncode == 0, done.stderr
    assert sorted(services.acquiring.stored) == [f"1.2.3.1.1.{n}" for n in range(1, 4)]
    assert len(files_under(server)) == 3


def test_a_sender_that_demands_an_answer_to_its_identity_is_told_none(
    server: DicomServer, services: FakeServices, pictures: list[str]
) -> None:
    """We know devices by title, address and certificate, and never claim to have checked a password."""
    assert sent("storescu", server, "-usr", "somebody", "-pwd", "x", "-rsp", files=pictures).returncode != 0
    assert services.acquiring.stored == {}


def test_an_object_sent_ten_times_over_is_kept_once(
    server: DicomServer, services: FakeServices, pictures: list[str]
) -> None:
    assert sent("storescu", server, "--repeat", "10", files=pictures[:1]).returncode == 0
    assert len(services.acquiring.stored) == len(files_under(server)) == 1


def test_objects_under_invented_uids_are_each_kept(
    server: DicomServer, services: FakeServices, pictures: list[str]
) -> None:
    assert sent("storescu", server, "+II", "--repeat", "5", files=pictures[:1]).returncode == 0
    assert len(services.acquiring.stored) == 5


@pytest.mark.parametrize("association", ["+ma", "-ma"])
def test_dcmsend_stores_in_several_associations_or_one(
    server: DicomServer, services: FakeServices, pictures: list[str], association: str
) -> None:
    assert sent("dcmsend", server, association, files=pictures).returncode == 0
    assert len(services.acquiring.stored) == 3


def test_dcmsend_of_a_stranger_is_refused(server: DicomServer, pictures: list[str]) -> None:
    done = sent("dcmsend", server, files=pictures, title="STRANGER")
    assert "Association Rejected" in done.stdout + done.stderr
    assert files_under(server) == []


def test_dcmsend_sends_compressed_and_uncompressed_together(
    server: DicomServer, services: FakeServices, pictures: list[str], tmp_path: Path
) -> None:
    packed = tmp_path / "packed.dcm"
    assert run("dcmcrle", pictures[0], str(packed)).returncode == 0
    assert sent("dcmsend", server, "-dn", files=[str(packed), *pictures[1:]]).returncode == 0
    syntaxes = {uid: header.transfer_syntax_uid for uid, (header, _) in services.acquiring.stored.items()}
    assert syntaxes["1.2.3.1.1.1"] == "1.2.840.10008.1.2.5" and len(syntaxes) == 3


@pytest.mark.parametrize("title", ["BRIDG", "BRIDGE2", "bridge"])
def test_a_called_title_that_is_not_ours_is_refused(server: DicomServer, pictures: list[str], title: str) -> None:
    done = sent("storescu", server, files=pictures, called=title)
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr
    assert files_under(server) == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("findscu", ["-P", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=*"]),
        ("findscu", ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="]),
        ("findscu", ["-O", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=*"]),
        ("movescu", ["-S", "-aem", "CT1", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.1"]),
        ("movescu", ["-P", "-aem", "ELSEWHERE", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=P100"]),
        ("getscu", ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.1"]),
        ("getscu", ["-P", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=P100"]),
    ],
)
def test_query_and_retrieve_are_not_offered(
    server: DicomServer, services: FakeServices, pictures: list[str], tool: str, arguments: list[str]
) -> None:
    sent("storescu", server, files=pictures)
    done = sent(tool, server, *arguments)
    assert re.search("no (adequate|acceptable)? ?presentation context", done.stdout + done.stderr, re.IGNORECASE)
    assert len(services.acquiring.stored) == 3


def test_a_query_in_the_middle_of_a_sending_is_served(server: DicomServer, pictures: list[str], tmp_path: Path) -> None:
    command = [need("storescu"), "-aet", "CT1", "-aec", "BRIDGE", "--repeat", "100", "127.0.0.1", str(server.port)]
    with subprocess.Popen([*command, *pictures], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sender:
        found = sent("findscu", server, "-W", "-k", "PatientID=", "-k", "(0040,0100)[0].Modality=CT")
        sender.wait(60)
    assert found.returncode == 0 and "P100" in found.stdout + found.stderr
