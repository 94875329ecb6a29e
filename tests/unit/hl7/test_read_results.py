"""ORU^R01 to reports with the shipped mappings (HL7 v2.5.1 7.3.1; v2-to-FHIR DiagnosticReport)."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.message import Reading
from bridge.domain.patient import PersonName
from bridge.domain.report import ReportRequest
from bridge.errors import BadInput
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from bridge.mapping import MappingContext, Mappings, default_directory

CORPUS = Path(__file__).parents[2] / "corpus" / "hl7"
ISSUERS = Issuers([Issuer("hospital", "ADT1", "1.2.3.4", "ISO")])
CONTEXT = MappingContext(ZoneInfo("Europe/Berlin"), ISSUERS, default_filler_issuer="FIL")
MAPPINGS = Mappings.load(default_directory(), None, CONTEXT)
MSH = r"MSH|^~\&|RIS|HOSP|BRIDGE|HOSP|20260301120000||ORU^R01|1|P|2.5.1"
PID = "PID|||P-1^^^ADT1^MR||Doe^Jane"
OBR = "OBR|1||F1|CT^CT head^L|||||||||||||||||||||F"


def read(*lines: str) -> Reading:
    return read_message(Message.read("\r".join(lines).encode()), MAPPINGS)


def report(*observations: str, obr: str = OBR) -> ReportRequest:
    (found,) = read(MSH, PID, obr, *observations).reports
    return found


def refusal(*lines: str) -> BadInput:
    found = read(*lines)
    assert found.refusal is not None and not found.reports
    return found.refusal


def whole() -> ReportRequest:
    (found,) = read_message(Message.read((CORPUS / "oru_r01_text_and_pdf.hl7").read_bytes()), MAPPINGS).reports
    return found


def test_a_report_names_its_order_its_study_and_its_reader() -> None:
    found = whole()
    assert (found.placer, found.filler) == (Identifier("PL-1", "PLC"), Identifier("FL-1", "FIL"))
    assert found.accession == Identifier("ACC-1")
    assert found.study_instance_uid == "1.2.826.0.1.3680043.8.498.1"
    assert (found.interpreter, found.code) == (PersonName("Hopper^Grace"), Code("CTHEAD", "L", "CT head"))
    assert (found.status, found.issued) == ("F", datetime(2026, 3, 1, 10, 55, tzinfo=UTC))


def test_lines_of_one_observation_are_one_paragraph_and_formatting_becomes_line_ends() -> None:
    first, second, third = whole().text.split("\n\n")
    assert first == "CT of the head.\nVentricles & sulci ^ normal, 5 & 7 mm, A^B.\nNo bleeding."
    assert (second, third) == ("Normal head.", "Dose length product: 812 mGy.cm")


def test_the_impression_is_told_by_its_suffix_and_stays_in_the_text() -> None:
    assert whole().impression == "Normal head."


def test_an_embedded_pdf_is_decoded_across_its_line_ends() -> None:
    assert (whole().document, whole().document_type) == (b"%PDF-1.4\n%%EOF\n", "application/pdf")


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        ("AT&T <b> 5 < 6", "AT&T <b> 5 < 6"),
        ("a^b&c", "a^b&c"),
        ("one~two", "one\ntwo"),
        (r"a\F\b\E\c", r"a|b\c"),
        ('""', ""),
        ("  indented", "  indented"),
    ],
)
def test_no_character_of_a_text_is_lost(sent: str, read_as: str) -> None:
    assert report(f"OBX|1|TX|R^Report||{sent}").text == read_as


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='|^~\\&"\ufeff\ufffd'), min_size=1))
def test_any_text_comes_through_as_it_was_written(text: str) -> None:
    line = f"OBX|1|TX|R^Report||x{text}x"
    (found,) = read(MSH.replace("2.5.1", "2.5.1||||||UNICODE UTF-8"), PID, OBR, line).reports
    assert found.text == f"x{text}x"


def test_two_results_of_one_number_are_one_report() -> None:
    found = report("OBX|1|TX|A^Findings||first", OBR, "OBX|1|TX|B^More||second")
    assert found.text == "first\n\nsecond"


def test_two_results_of_two_numbers_are_two_reports() -> None:
    reports = read(MSH, PID, OBR, "OBX|1|TX|A||first", OBR.replace("F1", "F2"), "OBX|1|TX|A||second").reports
    assert [(r.number.value, r.text) for r in reports] == [("F1", "first"), ("F2", "second")]


def test_lines_that_were_taken_back_are_left_out() -> None:
    assert report("OBX|1|TX|A||wrong||||||W", "OBX|2|TX|A||right||||||F").text == "right"


def test_a_status_that_only_the_lines_tell_is_taken_from_them() -> None:
    assert report("OBX|1|TX|A||text||||||P", obr="OBR|1||F1|CT").status == "P"


def test_a_laboratory_result_is_no_report_of_images() -> None:
    found = read(MSH, PID, "OBR|1||F1|GLU" + "|" * 20 + "LAB|F", "OBX|1|NM|GLU||5")
    assert (found.reports, found.refusal) == ((), None)
    assert found.warnings == ("result 1 is no imaging report (OBR-24): nothing is kept",)


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ((PID,), "OBR"),
        ((PID, "OBR|1|||CT|||||||||||||||||||||F"), "OBR-3"),
        ((PID, "OBR|1||F1|CT"), "OBR-25"),
        ((PID, "OBR|1||F1|CT|||||||||||||||||||||Y"), "OBR-25"),
        ((OBR,), "PID-3"),
        ((PID, OBR, "OBX|1|ED|PDF||^AP^PDF^Base64^%%%"), "OBX-5.5"),
        ((PID, OBR, "OBX|1|ED|PDF||^AP^PDF^Rot13^abc"), "OBX-5.4"),
        ((PID, OBR, "OBX|1|ED|PDF||^AP^PDF^^%%%"), "OBX-5.4"),
        ((PID, OBR, "OBX|1|ED|PDF||^AP^JPEG^A^%%%"), "OBX-5.4"),
        ((PID, OBR, "OBX|1|ED|PDF||^AP^PDF^^dGV4dA=="), "OBX-5.5"),
        ((PID, OBR, "OBX|1|ED|PDF||^AP^PDF^Base64^dGV4dA=="), "OBX-5.5"),
    ],
)
def test_what_makes_no_report_is_refused_at_its_field(lines: tuple[str, ...], where: str) -> None:
    assert refusal(MSH, *lines).where == where


def test_of_several_documents_the_pdf_is_kept_and_the_rest_is_told() -> None:
    picture, paper = (base64.b64encode(b).decode() for b in (b"jpeg", b"%PDF-"))
    sent = (("JPEG", picture), ("PDF", paper), ("JPEG", picture))
    lines = [f"OBX|{n}|ED|D||^AP^{kind}^Base64^{data}" for n, (kind, data) in enumerate(sent, 1)]
    found = read(MSH, PID, OBR, *lines)
    assert found.reports[0].document == b"%PDF-"
    assert found.warnings == ("the report holds several documents: one is kept (OBX-5)",)


@pytest.mark.parametrize("encoding", ["", "A"])
def test_a_pdf_whose_encoding_is_not_named_is_read_from_its_base64(encoding: str) -> None:
    paper = base64.b64encode(b"%PDF-1.7 ...").decode()
    found = report(f"OBX|1|ED|PDF||^AP^PDF^{encoding}^{paper}")
    assert (found.document, found.document_type) == (b"%PDF-1.7 ...", "application/pdf")


def test_a_text_whose_encoding_is_not_named_is_text() -> None:
    assert report("OBX|1|ED|T||^TEXT^PLAIN^^abcd").document == b"abcd"


def test_a_document_that_is_only_pointed_at_is_told() -> None:
    found = read(MSH, PID, OBR, "OBX|1|RP|PDF||http://pacs/report^AP^PDF")
    assert found.warnings == ("a document that is only pointed at is not fetched (OBX-5)",)


def test_a_study_uid_that_is_none_is_no_study() -> None:
    assert report("OBX|1|ST|113014^DICOM Study^DCM||unknown").study_instance_uid == ""


# Whose report it is


@pytest.mark.parametrize(
    ("lines", "imaging"),
    [
        ((OBR, "OBX|1|NM|GLU^Glucose||92|mg/dL"), False),
        ((OBR, "OBX|1|NM|GLU^Glucose||92|mg/dL", "NTE|1||fasting"), False),
        ((OBR, "OBX|1|TX|IMP^Impression||Normal."), True),
        ((OBR, "OBX|1|NM|DLP^Dose||812|mGy.cm", "ZDS|1.2.3"), True),
        (("OBR|1||F1|CT^CT head^L||||||||||||||||||||CT|F", "OBX|1|NM|DLP^Dose||812|mGy.cm"), True),
    ],
    ids=["measures", "measures with a note", "text", "a study", "a modality"],
)
def test_a_report_shows_whether_it_is_of_imaging(lines: tuple[str, ...], imaging: bool) -> None:
    (found,) = read(MSH, PID, *lines).reports
    assert found.of_imaging is imaging


def test_on_a_mixed_feed_text_alone_is_no_sign_of_imaging() -> None:
    raw = "\r".join((MSH, PID, OBR, "OBX|1|TX|MIC^Microscopy||No growth.")).encode()
    (found,) = read_message(Message.read(raw), MAPPINGS, mixed=True).reports
    assert not found.of_imaging
