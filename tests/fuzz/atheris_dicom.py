"""Coverage-guided fuzzing of what scanners send: objects, queries, performed steps; run as `tests.fuzz.guided` says.

The first byte of an input says what the rest is and in which transfer syntax. The promises: no exception but a
`BridgeError`, which has its status; an object that is taken can be told to a viewer; an answer can be encoded; what
the walk says lies inside the bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import atheris  # type: ignore[import-untyped]
from pydicom.dataset import Dataset

from tests.fuzz.guided import Promise, run

with atheris.instrument_imports(include=["bridge.dicom", "bridge.domain"], exclude=["bridge.store", "bridge.workflow"]):
    from bridge.dicom import status
    from bridge.dicom.document import describe
    from bridge.dicom.files import Archive
    from bridge.dicom.header import read_header
    from bridge.dicom.notes import Notes
    from bridge.dicom.performed import Steps
    from bridge.dicom.walk import syntax_of, walk
    from bridge.dicom.worklist import Finder

from bridge.config import Defaults, DicomPeer, Performed
from bridge.domain.identity import Issuers
from bridge.errors import BridgeError
from tests.unit.dicom.support import MPPS, FakeServices, encoded, entry, image, part10

SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
ISSUERS = Issuers(())
PEER = DicomPeer(ae_title="CT1", may=frozenset({"store", "worklist", "mpps"}))
LATIN = DicomPeer(ae_title="US1", may=frozenset({"worklist"}), character_set="ISO_IR 100", utf8=False)
SERVICES = FakeServices()
ODD_ONES = [entry(), entry(comments="Ünruhig\\ \x1b", station_ae_titles=(), start_time="", protocol_codes=())]
PLANTED = b"\x40\x00\x02\x00DA"
"""What the planted fault trips over: a query by date."""


class Quiet(Notes):
    """Notes without a store."""

    def __init__(self) -> None:
        pass

    def asked(self, *_: Any) -> None:
        pass

    def told(self, *_: Any) -> None:
        pass


SERVICES.worklist.entries = ODD_ONES
FINDER = Finder(SERVICES.worklist, Quiet(), ISSUERS)
STEPS = Steps(SERVICES.performing, Defaults(), ISSUERS, Performed())


class _Bytes(bytes):
    def getvalue(self) -> bytes:
        return bytes(self)


def event(data: bytes, syntax: str, abstract: str, **request: Any) -> Any:
    lists = dict.fromkeys(("Identifier", "AttributeList", "ModificationList"), _Bytes(data))
    return SimpleNamespace(
        request=SimpleNamespace(**lists, **request),
        context=SimpleNamespace(transfer_syntax=syntax, abstract_syntax=abstract),
        is_cancelled=False,
    )


def check_walk(data: bytes, syntax: str) -> None:
    for at in walk(data, 0, syntax_of(syntax)).values():
        if not at.start < at.offset <= at.end <= len(data) or at.offset + at.length > at.end:
            raise Promise("a place that is not where it was")
        if any(begin < at.offset or begin + length > at.end for begin, length in at.fragments):
            raise Promise("a fragment outside of its element")


def check_object(data: bytes, syntax: str, archive: Archive) -> None:
    read_header(data, transfer_syntax=syntax, patient_issuer="", accession_issuer="", issuers=ISSUERS)
    whole = archive.incoming / "whole.dcm"
    part10(whole, image(syntax=syntax))
    meta = whole.read_bytes()
    whole.write_bytes(meta[: 144 + int.from_bytes(meta[140:144], "little")] + data)
    header = read_header(whole, patient_issuer="", accession_issuer="", issuers=ISSUERS)
    if "\0" in header.study_instance_uid:
        raise Promise("a UID that is none")
    describe(whole)


def check_query(data: bytes, syntax: str) -> None:
    for peer in (PEER, LATIN):
        for _, answer in FINDER.answers(event(data, syntax, "1.2.840.10008.5.1.4.31"), peer, peer.ae_title):
            if isinstance(answer, Dataset):
                encoded(answer, implicit="1.2.1" not in syntax, little=syntax != SYNTAXES[2])


def check_step(data: bytes, syntax: str) -> None:
    SERVICES.performing.__init__()  # type: ignore[misc]
    STEPS.create(event(data, syntax, MPPS, AffectedSOPInstanceUID="1.2.3"), PEER)
    STEPS.change(event(data, syntax, MPPS, RequestedSOPInstanceUID="1.2.3"), PEER)


def one_input(data: bytes, archive: Archive) -> None:
    kind, syntax = data[:1] or b"\0", SYNTAXES[(data[:1] or b"\0")[0] // 4 % 3]
    body = data[1:]
    try:
        if kind[0] % 4 == 0:
            check_object(body, syntax, archive)
        elif kind[0] % 4 == 1:
            check_query(body, syntax)
        elif kind[0] % 4 == 2:
            check_step(body, syntax)
        else:
            check_walk(body, syntax)
    except BridgeError as fault:
        for told in (status.store_status, status.find_status, status.step_status):
            encoded(told(fault), implicit=True)


def seeds() -> dict[str, bytes]:
    query = Dataset()
    query.SpecificCharacterSet, query.PatientName, query.PatientID, query.AccessionNumber = "ISO_IR 100", "D*", "", "A"
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle, step.ScheduledProcedureStepStartDate = "CT", "CT1", "20250301-"
    step.ScheduledProcedureStepStartTime = "0800-1200"
    query.ScheduledProcedureStepSequence = [step]
    done = Dataset()
    one = Dataset()
    one.StudyInstanceUID, one.AccessionNumber, one.ScheduledProcedureStepID = "1.2.3.1", "ACC1", "SPS1"
    done.ScheduledStepAttributesSequence = [one]
    done.PerformedProcedureStepID, done.PerformedStationAETitle, done.Modality = "P1", "CT1", "CT"
    done.PerformedProcedureStepStartDate, done.PerformedProcedureStepStartTime = "20250301", "1030"
    done.PerformedProcedureStepStatus = "IN PROGRESS"
    listed = Dataset()
    listed.SeriesInstanceUID, listed.ProtocolName, listed.ReferencedImageSequence = "1.2.3.1.1", "HEAD", []
    done.PerformedSeriesSequence = [listed]
    found: dict[str, bytes] = {}
    for number, data in enumerate((image(RequestAttributesSequence=[one]), query, done)):
        for way in range(3):
            body = encoded(data, implicit=way == 1, little=way != 2)
            found[f"{number}-{way}"] = bytes([number + 4 * way]) + body
            found[f"walk-{number}-{way}"] = bytes([3 + 4 * way]) + body
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder) / "archive")
        run(lambda data: one_input(data, archive), seeds(), PLANTED, sys.argv[1:])


if __name__ == "__main__":
    main()
