"""DCMTK's findscu as a modality at our worklist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from bridge.config import DicomPeer
from bridge.dicom.ae import DicomServer
from bridge.domain.patient import PersonName
from tests.peers.available import need
from tests.unit.dicom.support import FakeServices, entry, image, part10, serving
from tests.unit.dicom.worklist_cases import FULL, KeyCase, key_cases

pytestmark = pytest.mark.usefixtures("transport")

STEP = "ScheduledProcedureStepSequence[0]."
ENTRIES = [
    entry(step_id="S1", accession_number="A1"),
    entry(step_id="S2", accession_number="A2", start_date="20250302", start_time="0900", station_ae_titles=("MR1",)),
    entry(step_id="S3", accession_number="A3", start_date="20250302", start_time="1900", patient_id="P3",
          patient_name=PersonName("MÜLLER^JÜRGEN")),
]  # fmt: skip


@pytest.fixture
def services() -> FakeServices:
    found = FakeServices()
    found.worklist.entries = list(ENTRIES)
    return found


@pytest.fixture
def server(tmp_path: Path, services: FakeServices) -> Iterator[DicomServer]:
    with serving(tmp_path / "data", services) as started:
        yield started


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    folder = tmp_path / "answers"
    folder.mkdir()
    return folder


def findscu(server: DicomServer, answers: Path, *arguments: str | bytes, title: str = "CT1") -> list[Dataset]:
    """Run findscu; what came back, in order."""
    command = [need("findscu"), "-W", "-X", "-od", str(answers), "-aet", title, "-aec", "BRIDGE"]
    done = subprocess.run(
        [*command, *arguments, "127.0.0.1", str(server.port)], capture_output=True, timeout=30, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr.decode(errors="replace"))
    return [dcmread(path, force=True) for path in sorted(answers.glob("rsp*.dcm"))]


def keys(*given: str) -> list[str]:
    return [part for key in given for part in ("-k", key)]


def accessions(found: list[Dataset]) -> list[str]:
    return sorted(str(data.AccessionNumber) for data in found)


def test_the_list_of_a_station_for_a_day(server: DicomServer, answers: Path) -> None:
    step = (f"{STEP}ScheduledStationAETitle=CT1", f"{STEP}ScheduledProcedureStepStartDate=20250301")
    assert accessions(findscu(server, answers, *keys("AccessionNumber", *step, f"{STEP}Modality=CT"))) == ["A1"]


def test_a_name_with_a_wild_card(server: DicomServer, answers: Path) -> None:
    found = findscu(server, answers, *keys("PatientName=do?^j*", "AccessionNumber"))
    assert accessions(found) == ["A1", "A2"]


def test_a_range_of_dates(server: DicomServer, answers: Path) -> None:
    dates = f"{STEP}ScheduledProcedureStepStartDate=20250302-20250331"
    assert accessions(findscu(server, answers, *keys("AccessionNumber", dates))) == ["A2", "A3"]


def test_a_range_of_dates_and_times_is_one_interval(server: DicomServer, answers: Path) -> None:
    dates = f"{STEP}ScheduledProcedureStepStartDate=20250301-20250302"
    times = f"{STEP}ScheduledProcedureStepStartTime=1000-1200"
    assert accessions(findscu(server, answers, *keys("AccessionNumber", dates, times))) == ["A1", "A2"]


def test_an_accession_number_without_the_step_sequence(server: DicomServer, answers: Path) -> None:
    (found,) = findscu(server, answers, *keys("AccessionNumber=A2", "PatientName"))
    assert "ScheduledProcedureStepSequence" not in found


def test_a_step_sequence_with_an_empty_item_comes_whole(server: DicomServer, answers: Path) -> None:
    (found,) = findscu(server, answers, *keys("AccessionNumber=A1", "ScheduledProcedureStepSequence[0]"))
    assert found.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "S1"


def test_a_step_sequence_without_an_item_comes_whole(server: DicomServer, answers: Path) -> None:
    (found,) = findscu(server, answers, *keys("AccessionNumber=A1", "ScheduledProcedureStepSequence"))
    assert found.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID == "S1"


DATE, TIME = f"{STEP}ScheduledProcedureStepStartDate", f"{STEP}ScheduledProcedureStepStartTime"
KINDS = [
    # single values
    ("PatientID=P3", "A3"),
    ("PatientID=p3", ""),
    ("RequestedProcedureID=RP1", "A1 A2 A3"),
    (f"{STEP}ScheduledProcedureStepID=S2", "A2"),
    (f"{STEP}ScheduledProcedureStepStatus=SCHEDULED", "A1 A2 A3"),
    (f"{STEP}ScheduledStationAETitle=MR1", "A2"),
    (f"{STEP}Modality=CT", "A1 A2 A3"),
    (f"{STEP}Modality=MR", ""),
    ("PatientBirthDate=19700102", "A1 A2 A3"),
    ("PatientSex=M", ""),
    ("IssuerOfPatientID=HOSP", "A1 A2 A3"),
    # wild cards
    ("AccessionNumber=A?", "A1 A2 A3"),
    ("PatientID=?3", "A3"),
    ("PatientID=*", "A1 A2 A3"),
    ("PatientID=**", "A1 A2 A3"),
    (f"{STEP}ScheduledStationAETitle=?R*", "A2"),
    (f"{STEP}ScheduledProcedureStepDescription=HEAD*", "A1 A2 A3"),
    # names
    ("PatientName=muller*", "A3"),
    ("PatientName=DOE^*", "A1 A2"),
    ("PatientName=*^*", "A1 A2 A3"),
    ("PatientName=DOE^JANE^Q^^", "A1 A2"),
    ("PatientName==*", "A1 A2 A3"),
    ("RequestingPhysician=galen*", "A1 A2 A3"),
    (f"{STEP}ScheduledPerformingPhysicianName=GALEN*", ""),
    # ranges, and the combined one
    (f"{DATE}=20250302-", "A2 A3"),
    (f"{DATE}=-20250301", "A1"),
    (f"{DATE}=2025.03.02", "A2 A3"),
    (f"{DATE}=*", "A1 A2 A3"),
    (f"{TIME}=0900-1030", "A1 A2"),
    (f"{TIME}=1900", "A3"),
    (f"{DATE}=20250301-20250302 {TIME}=1000-0930", "A1 A2"),
    # lists of UIDs
    ("StudyInstanceUID=1.2.3.1", "A1 A2 A3"),
    ("StudyInstanceUID=1.2.9\\1.2.3.1", "A1 A2 A3"),
    ("StudyInstanceUID=1.2.9\\1.2.8", ""),
    # sequences
    ("RequestedProcedureCodeSequence", "A1 A2 A3"),
    (f"{STEP}ScheduledProtocolCodeSequence", "A1 A2 A3"),
]


@pytest.mark.parametrize(("asked", "found"), KINDS, ids=[asked.replace(STEP, "> ") for asked, _ in KINDS])
def test_a_key_of_each_kind(server: DicomServer, answers: Path, asked: str, found: str) -> None:
    names = () if "AccessionNumber" in asked else ("AccessionNumber",)
    assert accessions(findscu(server, answers, *keys(*asked.split(" "), *names))) == found.split()


TABLE = list(key_cases())


def of_each_row(*, finding: bool) -> list[KeyCase]:
    """The first real key of each row of the table that finds the full entry, or does not."""
    first: dict[tuple[int, ...], KeyCase] = {}
    for case in TABLE:
        if case.finds is finding and case.value.strip(" *^=") and case.value.isascii():
            first.setdefault(case.path, case)
    return list(first.values())


@pytest.fixture
def full(services: FakeServices) -> None:
    services.worklist.entries = [FULL]


@pytest.mark.usefixtures("full")
def test_the_keys_of_all_rows_of_the_table_hold_together(server: DicomServer, answers: Path) -> None:
    found = findscu(server, answers, *keys(*(case.findscu for case in of_each_row(finding=True))))
    assert len(found) == 1


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("case", of_each_row(finding=False), ids=lambda case: case.findscu.replace(STEP, "> "))
def test_a_key_of_each_row_of_the_table_narrows(server: DicomServer, answers: Path, case: KeyCase) -> None:
    assert findscu(server, answers, *keys(case.findscu)) == []


@pytest.mark.parametrize(
    ("asked", "tag"),
    [(f"{DATE}=-", "(0040,0002)"), (f"{TIME}=2500", "(0040,0003)"), (f"PatientID={'9' * 257}", "(0010,0020)")],
    ids=["date", "time", "length"],
)
def test_a_key_that_cannot_be_meant_is_refused_by_its_tag(server: DicomServer, asked: str, tag: str) -> None:
    command = [need("findscu"), "-d", "-W", "-aet", "CT1", "-aec", "BRIDGE", "-k", asked]
    done = subprocess.run(
        [*command, "127.0.0.1", str(server.port)], capture_output=True, timeout=30, check=False, text=True
    )
    assert re.search(r"DIMSE Status +: 0xa900", done.stdout + done.stderr)
    assert tag in done.stdout + done.stderr


def test_unknown_private_and_group_length_elements_are_ignored(
    server: DicomServer, answers: Path, tmp_path: Path
) -> None:
    dump, query = tmp_path / "query.dump", tmp_path / "query.dcm"
    dump.write_text(
        "(0008,0000) UL 10\n(0008,0005) CS\n(0008,0050) SH [A1]\n(0008,0052) CS [PATIENT]\n(0008,1030) LO [HEAD]\n"
        "(0009,0010) LO [ACME]\n(0009,1001) LO [X]\n(0010,0000) UL 4\n(0010,0010) PN [*]\n"
    )
    subprocess.run([need("dump2dcm"), "-F", str(dump), str(query)], check=True, capture_output=True, timeout=30)
    command = ["-aet", "CT1", "-aec", "BRIDGE", "-X", "-od", str(answers)]
    subprocess.run(
        [need("findscu"), "-W", *command, "127.0.0.1", str(server.port), str(query)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    (found,) = [dcmread(path, force=True) for path in answers.glob("rsp*.dcm")]
    assert sorted(element.keyword for element in found) == ["AccessionNumber", "PatientName", "SpecificCharacterSet"]


def test_a_utf_8_key_and_a_utf_8_answer(server: DicomServer, answers: Path) -> None:
    (found,) = findscu(server, answers, *keys("SpecificCharacterSet=ISO_IR 192", "PatientName=*ü*"))
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", "MÜLLER^JÜRGEN")


def test_a_latin_1_key_and_a_latin_1_answer(tmp_path: Path, services: FakeServices, answers: Path) -> None:
    latin = DicomPeer(ae_title="CT1", character_set="ISO_IR 100")
    with serving(tmp_path / "latin", services, peer=(latin,)) as server:
        name = "PatientName=M\u00dcLLER*".encode("latin-1")
        (found,) = findscu(server, answers, "-k", "SpecificCharacterSet=ISO_IR 100", "-k", name)
    assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 100", "MÜLLER^JÜRGEN")


def test_big_endian_preferred_by_the_device_is_answered(server: DicomServer, answers: Path) -> None:
    assert accessions(findscu(server, answers, "-xb", *keys("AccessionNumber=A1"))) == ["A1"]


def test_an_unknown_device_is_refused(server: DicomServer, answers: Path) -> None:
    with pytest.raises(AssertionError, match="Calling AE Title Not Recognized"):
        findscu(server, answers, *keys("PatientName"), title="STRANGER")


def test_a_query_that_is_cancelled_is_ended(server: DicomServer, services: FakeServices) -> None:
    services.worklist.entries = [entry(step_pk=n) for n in range(500)]
    command = [need("findscu"), "-v", "-W", "--cancel", "2", "-aet", "CT1", "-aec", "BRIDGE", "-k", "PatientName"]
    done = subprocess.run(
        [*command, "127.0.0.1", str(server.port)], capture_output=True, timeout=60, check=False, text=True
    )
    # A cancel may come too late, and then the end is a success: both are right (PS3.4 K.4.1.3).
    assert re.search(r"Final Find Response \((Cancel|Success)", done.stdout + done.stderr)


def test_a_file_of_images_is_no_worklist_query(server: DicomServer, tmp_path: Path) -> None:
    path = part10(tmp_path / "image.dcm", image())
    command = [need("findscu"), "-W", "-aet", "CT1", "-aec", "BRIDGE", "127.0.0.1", str(server.port), str(path)]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
