"""Headers of stored objects: indexed without pixels, refused when they could not be read again."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from bridge.dicom.header import INDEX_BYTES, read_data_set, read_header, read_index
from bridge.dicom.walk import MAX_DEPTH, MESSAGE_ELEMENTS, walk
from bridge.domain.identity import Issuer, Issuers
from bridge.domain.performed import ScheduledReference
from bridge.domain.study import InstanceHeader
from bridge.errors import BadInput, BadValue, MissingField, NotReadable, Unsupported
from tests.unit.dicom.support import CT, encoded, image, part10

ISSUERS = Issuers([Issuer("hospital", "HOSP", "1.2.3.4", "ISO"), Issuer("clinic", "CLIN")])
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def header(source: Path | bytes, **changes: Any) -> InstanceHeader:
    given: dict[str, Any] = {
        "transfer_syntax": EXPLICIT,
        "sop_class": CT,
        "sop_instance": "1.2.3.1.1.1",
        "patient_issuer": "HOSP",
        "accession_issuer": "HOSP",
        "issuers": ISSUERS,
    }
    return read_header(source, **(given | changes))


def nested(depth: int, *, undefined: bool = True) -> bytes:
    """`depth` sequences inside one another, explicit VR, each (0040,A730) with one item."""
    inner = b""
    for _ in range(depth):
        if undefined:
            item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0\0\0\0\0"
            inner = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
        else:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inner)) + inner
            inner = b"\x40\x00\x30\xa7SQ\0\0" + struct.pack("<I", len(item)) + item
    return inner


def test_the_index_values_of_an_image(tmp_path: Path) -> None:
    found = header(part10(tmp_path / "a", image(SeriesNumber="3", Laterality="L")))
    assert (found.study_instance_uid, found.series_instance_uid) == ("1.2.3.1", "1.2.3.1.1")
    assert (found.patient_id, found.accession_number, found.modality) == ("P100", "ACC1", "CT")
    assert (found.rows, found.columns, found.number_of_frames, found.series_number) == (4, 4, 1, "3")


def test_the_issuers_default_to_those_of_the_sender() -> None:
    found = header(encoded(image()))
    assert (found.patient_issuer, found.accession_issuer) == ("hospital", "hospital")


def test_the_objects_own_issuer_beats_the_senders_default() -> None:
    assert header(encoded(image(IssuerOfPatientID="CLIN"))).patient_issuer == "clinic"


def test_the_issuer_of_an_accession_number_is_read_by_its_universal_id() -> None:
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = "1.2.3.4", "ISO"
    data = image(IssuerOfAccessionNumberSequence=[item])
    assert header(encoded(data), accession_issuer="CLIN").accession_issuer == "hospital"


def test_without_an_accession_number_there_is_no_issuer_of_it() -> None:
    assert header(encoded(image(AccessionNumber=""))).accession_issuer == ""


def test_request_attributes_are_read_item_by_item() -> None:
    items = []
    for number in ("1", "2"):
        item = Dataset()
        item.RequestedProcedureID, item.ScheduledProcedureStepID = f"R{number}", f"S{number}"
        item.AccessionNumber = f"A{number}"
        items.append(item)
    found = header(encoded(image(RequestAttributesSequence=items)))
    assert found.requests == (
        ScheduledReference("", "A1", "hospital", "R1", "S1"),
        ScheduledReference("", "A2", "hospital", "R2", "S2"),
    )


def test_the_requests_of_a_report_are_read_with_the_studies_that_were_planned() -> None:
    """Of a group case (PS3.3 C.17.2.1): a report has Referenced Requests (0040,A370)."""
    planned, item = Dataset(), Dataset()
    planned.ReferencedSOPClassUID, planned.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", "1.2.3.9"
    item.StudyInstanceUID, item.AccessionNumber, item.RequestedProcedureID = "1.2.3.1", "A1", "R1"
    item.ReferencedStudySequence = [planned]
    found = header(encoded(image(Modality="SR", ReferencedRequestSequence=[item])))
    assert found.requests == (ScheduledReference("1.2.3.1", "A1", "hospital", "R1", "", "1.2.3.9"),)


def test_the_performed_step_is_the_referenced_mpps() -> None:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.3", "1.2.9"
    assert header(encoded(image(ReferencedPerformedProcedureStepSequence=[item]))).performed_step_uid == "1.2.9"


def test_names_are_read_by_the_objects_own_character_set() -> None:
    data = image(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")
    assert header(encoded(data)).patient_name.ideographic == "山田^太郎"


def test_a_value_that_is_no_number_reads_as_none() -> None:
    data = encoded(image())
    assert header(data + b"\xe0\x7f\x12\x00IS\x02\x00XX").number_of_frames == 1


@pytest.mark.parametrize(("syntax", "implicit", "little"), [(IMPLICIT, True, True), (BIG, False, False)])
def test_implicit_and_big_endian_objects_are_read(syntax: str, implicit: bool, little: bool) -> None:
    raw = encoded(image(), implicit=implicit, little=little)
    assert header(raw, transfer_syntax=syntax).patient_id == "P100"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_an_object_without_a_uid_is_refused(keyword: str) -> None:
    with pytest.raises(MissingField):
        header(encoded(image(**dict[str, Any]({keyword: None}))))


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.03", "1", "1..2", "1.2.3/4", "1.2.a", "1." + "2" * 64])
def test_a_study_uid_that_is_none_is_refused(uid: str) -> None:
    with pytest.raises(BadValue):
        header(encoded(image(StudyInstanceUID=uid)))


def test_an_object_of_another_class_than_the_command_is_refused() -> None:
    with pytest.raises(BadValue):
        header(encoded(image()), sop_class="1.2.840.10008.5.1.4.1.1.4")


def test_an_object_of_another_uid_than_the_command_is_refused() -> None:
    with pytest.raises(BadValue):
        header(encoded(image()), sop_instance="1.2.3.9")


def test_a_deflated_object_is_not_taken() -> None:
    with pytest.raises(Unsupported):
        header(b"\x78\x9c" * 100, transfer_syntax=DEFLATED)


@pytest.mark.parametrize("undefined", [True, False])
def test_64_nested_sequences_are_kept(undefined: bool) -> None:
    raw = encoded(image(PixelData=None))
    raw = raw + nested(64, undefined=undefined)
    assert header(raw).patient_id == "P100"


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [65, 200, 10_000])
def test_deeper_sequences_are_refused(depth: int, undefined: bool) -> None:
    with pytest.raises(NotReadable):
        header(encoded(image(PixelData=None)) + nested(depth, undefined=undefined))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_an_object_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(BadInput):
        header(encoded(image())[:-cut])


@pytest.mark.parametrize("raw", [b"%PDF-1.7 hello world", b"MZ" + bytes(64), b"\xff" * 64])
def test_what_is_not_dicom_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput):
        header(raw)


WHOLE = encoded(image())


@given(st.binary(max_size=200), st.integers(0, len(WHOLE)))
def test_any_bytes_are_read_or_refused_and_never_crash(noise: bytes, at: int) -> None:
    for raw in (noise, WHOLE[:at] + noise, WHOLE[:at] + noise + WHOLE[at:]):
        for syntax in (EXPLICIT, IMPLICIT, BIG):
            try:
                header(raw, transfer_syntax=syntax)
            except BadInput:
                continue


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_flipped_byte_is_read_or_refused_and_never_crashes(at: int, value: int) -> None:
    raw = WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    try:
        header(raw)
    except BadInput:
        return


def test_pixels_are_not_decoded() -> None:
    assert "PixelData" not in read_data_set(WHOLE, ExplicitVRLittleEndian)


def crowd(count: int, *, undefined: bool = True) -> bytes:
    """A sequence of empty items, eight bytes each: (0040,A730)."""
    inner = b"\xfe\xff\x00\xe0\0\0\0\0" * count
    if undefined:
        return b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + inner + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return b"\x40\x00\x30\xa7SQ\0\0" + struct.pack("<I", len(inner)) + inner


@pytest.mark.parametrize("undefined", [True, False])
def test_a_message_of_more_items_than_can_be_held_is_refused(undefined: bool) -> None:
    with pytest.raises(NotReadable, match="too many"):
        read_data_set(crowd(MESSAGE_ELEMENTS, undefined=undefined), EXPLICIT)


def test_a_message_of_more_elements_than_can_be_held_is_refused() -> None:
    elements = b"".join(struct.pack("<HH2sH", 9, 0x1000 + n, b"LO", 0) for n in range(100))
    with pytest.raises(NotReadable, match="too many"):
        read_data_set(elements, EXPLICIT, most=99)


def test_an_object_of_more_items_than_can_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "__defaults__", (MAX_DEPTH, 1000))
    with pytest.raises(NotReadable, match="too many"):
        header(encoded(image(PixelData=None)) + crowd(1000))


def test_a_step_of_ten_thousand_images_is_read() -> None:
    images = []
    for n in range(10_000):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, f"1.2.3.{n}"
        images.append(item)
    step = Dataset()
    step.ReferencedImageSequence = images
    assert len(read_data_set(encoded(step), EXPLICIT).ReferencedImageSequence) == 10_000


@pytest.mark.parametrize("undefined", [True, False])
def test_the_header_is_parsed_without_what_does_not_index(tmp_path: Path, undefined: bool) -> None:
    path = part10(tmp_path / "a", image(PixelData=None, SpecificCharacterSet="ISO_IR 100"))
    path.write_bytes(path.read_bytes() + crowd(1000, undefined=undefined))
    data, _ = read_index(path, "")
    assert 0x0040A730 not in data and data.PatientID == "P100" and data.SpecificCharacterSet == "ISO_IR 100"


def test_an_element_too_long_to_index_anything_is_left_out() -> None:
    raw = encoded(image(PixelData=None, RequestAttributesSequence=[]))
    long = crowd(INDEX_BYTES // 8).replace(b"\x40\x00\x30\xa7", b"\x40\x00\x75\x02")
    assert header(raw + long).requests == ()


@pytest.mark.parametrize("undefined", [True, False])
def test_the_place_of_an_element_is_the_whole_of_it(undefined: bool) -> None:
    whole = encoded(image())
    raw = whole[: whole.index(b"\xe0\x7f\x10\x00")] + crowd(3, undefined=undefined)
    at = walk(raw, 0, ExplicitVRLittleEndian)[0x0040A730]
    assert raw[at.start : at.end] == crowd(3, undefined=undefined)


def test_the_places_lie_one_after_another() -> None:
    places = sorted(walk(WHOLE, 0, ExplicitVRLittleEndian).values(), key=lambda place: place.start)
    assert b"".join(WHOLE[at.start : at.end] for at in places) == WHOLE
