"""WADO-RS: framing, media types and links (PS3.18 8.6, 8.7.3, 10.4)."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dicomweb.answer import Answer
from bridge.dicomweb.body import BLOCK, Slice, read
from bridge.dicomweb.gate import Request, admit, answer
from bridge.dicomweb.wado import media_type
from bridge.errors import NotAllowed, NotFound, StoreError, Unsupported
from tests.unit.dicomweb.pretend_images import A2, A, PretendImages, session_of, two_patients

SESSION = session_of(A, A2)
I = f"studies/{A}/series/{A}.1/instances/{A}.1.1"  # noqa: E741
ANY = "multipart/related; type=application/octet-stream; transfer-syntax=*"
JPEG = "1.2.840.10008.1.2.4.50"


@pytest.fixture
def images(tmp_path: Path) -> PretendImages:
    return two_patients(tmp_path)


def _get(images: PretendImages, path: str, accept: str = "", encoding: str = "") -> Answer:
    request = Request("GET", path, accept=accept, accept_encoding=encoding)
    return answer(images, request, *admit(request, SESSION), "/dicom-web")


def _body(found: Answer) -> bytes:
    content = b"".join(read(found.body))
    assert found.length in (None, len(content))
    return content


def _parts(found: Answer) -> list[Message]:
    head = f"Content-Type: {found.headers['Content-Type']}\r\n\r\n".encode()
    whole = message_from_bytes(head + _body(found))
    assert whole.get_content_type() == "multipart/related"
    parts = whole.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]


def _contents(found: Answer) -> list[bytes]:
    return [part.get_payload(decode=True) for part in _parts(found)]  # type: ignore[misc]


def _stored_as(images: PretendImages, transfer_syntax_uid: str, **changes: object) -> None:
    row, file = images.tree[A][f"{A}.1"][1][f"{A}.1.1"]
    changed = replace(file, transfer_syntax_uid=transfer_syntax_uid, **changes)  # type: ignore[arg-type]
    images.tree[A][f"{A}.1"][1][f"{A}.1.1"] = (replace(row, transfer_syntax_uid=transfer_syntax_uid), changed)


def test_a_frame_is_exactly_its_bytes(images: PretendImages) -> None:
    assert _contents(_get(images, f"{I}/frames/2", ANY)) == [b"PIXELS" * 2]


def test_frames_come_in_the_order_they_were_asked(images: PretendImages) -> None:
    _stored_as(images, JPEG, frames=(((0, 4),), ((4, 6), (28, 4))))
    assert _contents(_get(images, f"{I}/frames/2,1", ANY)) == [b"PIXELSTAIL", b"HEAD"]


def test_a_part_says_its_type_and_transfer_syntax(images: PretendImages) -> None:
    _stored_as(images, JPEG)
    found = _get(images, f"{I}/frames/1", ANY)
    assert _parts(found)[0]["Content-Type"] == f"image/jpeg; transfer-syntax={JPEG}"
    assert found.headers["Content-Type"].startswith('multipart/related; type="image/jpeg"; boundary=')


@pytest.mark.parametrize("accept", ["application/octet-stream", "multipart/related; type=application/octet-stream"])
def test_a_compressed_frame_is_not_passed_off_as_raw(images: PretendImages, accept: str) -> None:
    _stored_as(images, JPEG)
    with pytest.raises(Unsupported):
        _get(images, f"{I}/frames/1", accept)


def test_one_frame_can_be_had_without_multipart(images: PretendImages) -> None:
    found = _get(images, f"{I}/frames/1", "application/octet-stream")
    assert (_body(found), found.length) == (b"PIXELS" * 2, 12)


def test_two_frames_cannot(images: PretendImages) -> None:
    with pytest.raises(Unsupported):
        _get(images, f"{I}/frames/1,2", "application/octet-stream")


@pytest.mark.parametrize("number", ["3", "1,3"])
def test_a_frame_past_the_last_is_not_found(images: PretendImages, number: str) -> None:
    with pytest.raises(NotFound):
        _get(images, f"{I}/frames/{number}", ANY)


def test_an_object_without_pixels_has_no_frames(images: PretendImages) -> None:
    with pytest.raises(NotFound):
        _get(images, f"studies/{A}/series/{A}.2/instances/{A}.2.1/frames/1", ANY)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_frames_of_big_endian_and_deflated_objects_are_refused(images: PretendImages, syntax: str) -> None:
    _stored_as(images, syntax)
    with pytest.raises(Unsupported):
        _get(images, f"{I}/frames/1", ANY)


def test_such_objects_are_sent_as_they_are(images: PretendImages) -> None:
    _stored_as(images, "1.2.840.10008.1.2.2")
    assert _body(_get(images, I, "application/dicom")) == b"HEAD" + b"PIXELS" * 4 + b"TAIL"


def test_an_object_is_not_transcoded(images: PretendImages) -> None:
    _stored_as(images, JPEG)
    with pytest.raises(Unsupported):
        _get(images, I, 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1')


def test_a_study_is_a_part_a_file(images: PretendImages) -> None:
    found = _get(images, f"studies/{A}", 'multipart/related; type="application/dicom"')
    assert len(_contents(found)) == 3
    assert {part["Content-Type"] for part in _parts(_get(images, f"studies/{A}"))} == {
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    }


def test_a_study_is_looked_up_while_it_is_sent(images: PretendImages) -> None:
    found = _get(images, f"studies/{A}")
    images.tree[A].clear()
    with pytest.raises(NotFound):
        _body(found)


def test_bulk_pixel_data_of_a_native_object_is_one_part(images: PretendImages) -> None:
    found = _get(images, f"{I}/bulkdata/7FE00010", 'multipart/related; type="application/octet-stream"')
    assert _contents(found) == [b"PIXELS" * 4]


def test_bulk_pixel_data_of_a_compressed_object_is_a_part_a_frame(images: PretendImages) -> None:
    _stored_as(images, JPEG)
    assert len(_contents(_get(images, f"{I}/bulkdata/7FE00010", 'multipart/related; type="*/*"'))) == 2


def test_other_bulk_data_come_as_octets(images: PretendImages) -> None:
    assert _body(_get(images, f"{I}/bulkdata/00420011", "application/octet-stream")) == b"PIXELS"


def test_links_in_metadata_become_paths_of_this_service(images: PretendImages) -> None:
    document = json.loads(_body(_get(images, f"{I}/metadata")))[0]
    assert document["7FE00010"]["BulkDataURI"] == f"/dicom-web/{I}/bulkdata/7FE00010"


@given(st.text())
def test_a_value_that_looks_like_a_link_stays_as_it_is(text: str) -> None:
    images = PretendImages()
    odd = {"00104000": {"vr": "LT", "Value": [f'"BulkDataURI":"{text}', text, 'BulkDataURI":"', "BulkDataURI"]}}
    _with_document(images, json.dumps(odd, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
    expected = json.loads(images.documents[f"{A}.1.1"])
    assert json.loads(_body(_get(images, f"{I}/metadata"))) == [expected]


def _with_document(images: PretendImages, document: bytes) -> None:
    from bridge.domain.viewing import InstanceFile, InstanceRow, SeriesRow, StudyRow

    row = InstanceRow(f"{A}.1", "1.2.840.10008.5.1.4.1.1.2", f"{A}.1.1")
    images.add(StudyRow(A), SeriesRow(f"{A}.1"), row, InstanceFile(Path("none"), 0, "", ""), document)


def test_large_metadata_are_compressed_for_who_takes_it(images: PretendImages) -> None:
    images.documents[f"{A}.1.1"] = b'{"00104000":{"vr":"LT","Value":["' + b"x" * 20_000 + b'"]}}'
    found = _get(images, f"{I}/metadata", encoding="gzip, br")
    assert found.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(_body(found)))[0]["00104000"]["Value"][0]) == 20_000


def test_metadata_are_not_compressed_for_who_does_not(images: PretendImages) -> None:
    assert "Content-Encoding" not in _get(images, f"{I}/metadata", encoding="gzip;q=0").headers


def test_metadata_in_xml_are_not_offered(images: PretendImages) -> None:
    with pytest.raises(Unsupported):
        _get(images, f"{I}/metadata", 'multipart/related; type="application/dicom+xml"')


def test_rendered_images_are_not_offered(images: PretendImages) -> None:
    with pytest.raises(Unsupported):
        _get(images, f"{I}/rendered", "image/jpeg")


def test_a_served_study_is_noted_for_the_audit(images: PretendImages) -> None:
    _get(images, f"{I}/frames/1", ANY)
    assert images.noted == [A]


def test_what_was_refused_is_not(images: PretendImages) -> None:
    with pytest.raises(NotAllowed):
        _get(images, "studies/1.2.840.2/metadata")
    assert images.noted == []


@pytest.mark.parametrize(
    ("syntax", "media"),
    [
        ("1.2.840.10008.1.2", ("application/octet-stream", "1.2.840.10008.1.2.1")),
        ("1.2.840.10008.1.2.1.98", ("application/octet-stream", "1.2.840.10008.1.2.1")),
        ("1.2.840.10008.1.2.4.70", ("image/jpeg", "1.2.840.10008.1.2.4.70")),
        ("1.2.840.10008.1.2.4.81", ("image/jls", "1.2.840.10008.1.2.4.81")),
        ("1.2.840.10008.1.2.4.90", ("image/jp2", "1.2.840.10008.1.2.4.90")),
        ("1.2.840.10008.1.2.4.202", ("image/jphc", "1.2.840.10008.1.2.4.202")),
        ("1.2.840.10008.1.2.5", ("image/dicom-rle", "1.2.840.10008.1.2.5")),
        ("1.2.840.10008.1.2.4.102.1", ("video/mp4", "1.2.840.10008.1.2.4.102.1")),
        ("1.2.3.4", ("application/octet-stream", "1.2.3.4")),
    ],
)
def test_media_type_of_a_transfer_syntax(syntax: str, media: tuple[str, str]) -> None:
    assert media_type(syntax) == media


def test_a_file_shorter_than_its_index_breaks_the_body_off(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    with pytest.raises(StoreError):
        list(read([Slice(tmp_path / "x", 0, 6)]))


def test_a_file_that_is_gone_is_our_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        list(read([Slice(tmp_path / "x", 0, 6)]))


def test_slices_of_several_files_come_each_from_its_own(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcd")
    (tmp_path / "y").write_bytes(b"1234")
    pieces = [Slice(tmp_path / "x", 0, 1), Slice(tmp_path / "x", 2, 2), Slice(tmp_path / "y", 1, 2)]
    assert b"".join(read(pieces)) == b"acd23"


def test_large_slices_are_read_in_blocks(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"." * (BLOCK + 10))
    assert [len(b) for b in read([b"head", Slice(tmp_path / "x", 5, BLOCK + 5)])] == [4, BLOCK, 5]
