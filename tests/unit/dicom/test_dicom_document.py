"""DICOM JSON and frame places of stored files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import JPEGBaseline8Bit

from bridge.dicom.document import bulkdata, describe
from bridge.errors import BadInput, NotFound
from tests.unit.dicom.support import image, part10

BASE = "1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1/bulkdata"
JPEG = [b"\xff\xd8\xff\xe0" + bytes([n]) * 20 + b"\xff\xd9" for n in range(3)]


def document(path: Path) -> dict[str, Any]:
    return dict(json.loads(describe(path).json))


def frames(path: Path) -> list[bytes]:
    raw = path.read_bytes()
    return [b"".join(raw[at : at + size] for at, size in frame) for frame in describe(path).frames]


def jpeg(path: Path, pixels: bytes, count: int = 3, **changes: Any) -> Path:
    data = image(syntax=JPEGBaseline8Bit, NumberOfFrames=str(count), BitsAllocated=8, **changes)
    data.PixelData = pixels
    data["PixelData"].is_undefined_length = True
    return part10(path, data)


def test_values_stand_under_their_tags(tmp_path: Path) -> None:
    found = document(part10(tmp_path / "a", image()))
    assert found["00100020"] == {"vr": "LO", "Value": ["P100"]}
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]}
    assert found["00280010"] == {"vr": "US", "Value": [4]}


def test_pixel_data_are_a_link(tmp_path: Path) -> None:
    found = document(part10(tmp_path / "a", image()))
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{BASE}/7FE00010"}


def test_small_binary_values_stand_inline_and_large_ones_are_links(tmp_path: Path) -> None:
    data = image()
    data.add_new(0x00091001, "OB", bytes(1024))
    data.add_new(0x00091002, "OB", bytes(1026))
    found = document(part10(tmp_path / "a", data))
    assert "InlineBinary" in found["00091001"]
    assert found["00091002"] == {"vr": "OB", "BulkDataURI": f"{BASE}/00091002"}


def test_a_link_inside_a_sequence_leads_to_its_bytes(tmp_path: Path) -> None:
    item = Dataset()
    item.add_new(0x00091002, "OB", bytes(range(256)) * 8)
    path = part10(tmp_path / "a", image(RequestAttributesSequence=[Dataset(), item]))
    uri = document(path)["00400275"]["Value"][1]["00091002"]["BulkDataURI"]
    assert bulkdata(path, uri.rpartition("/")[2]) == bytes(range(256)) * 8


def test_text_is_told_in_utf_8(tmp_path: Path) -> None:
    data = image(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    found = document(part10(tmp_path / "a", data))
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert found["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]


def test_an_odd_number_is_left_out_and_the_rest_told(tmp_path: Path) -> None:
    path = part10(tmp_path / "a", image(SliceThickness="1.25"))
    path.write_bytes(path.read_bytes().replace(b"1.25", b"thin"))
    found = document(path)
    assert "00180050" not in found and found["00100020"]["Value"] == ["P100"]


def test_a_value_that_depends_on_the_pixel_representation_is_a_number(tmp_path: Path) -> None:
    data = image(syntax="1.2.840.10008.1.2", SmallestImagePixelValue=7)
    assert document(part10(tmp_path / "a", data))["00280106"] == {"vr": "US", "Value": [7]}


def test_a_native_image_is_one_frame(tmp_path: Path) -> None:
    assert frames(part10(tmp_path / "a", image())) == [bytes(range(32))]


def test_native_frames_follow_one_another(tmp_path: Path) -> None:
    path = part10(tmp_path / "a", image(NumberOfFrames="3", PixelData=b"a" * 32 + b"b" * 32 + b"c" * 32))
    assert frames(path) == [b"a" * 32, b"b" * 32, b"c" * 32]


def test_one_bit_frames_that_share_a_byte_have_no_places(tmp_path: Path) -> None:
    data = image(BitsAllocated=1, Rows=3, Columns=3, NumberOfFrames="2", PixelData=bytes(4))
    assert frames(part10(tmp_path / "a", data)) == []


def test_native_pixel_data_that_are_too_short_have_no_places(tmp_path: Path) -> None:
    assert frames(part10(tmp_path / "a", image(NumberOfFrames="9"))) == []


@pytest.mark.parametrize("has_table", [True, False])
def test_a_fragment_a_frame(tmp_path: Path, has_table: bool) -> None:
    assert frames(jpeg(tmp_path / "a", encapsulate(JPEG, has_bot=has_table))) == JPEG


@pytest.mark.parametrize("has_table", [True, False])
def test_a_frame_of_several_fragments(tmp_path: Path, has_table: bool) -> None:
    path = jpeg(tmp_path / "a", encapsulate(JPEG, fragments_per_frame=2, has_bot=has_table))
    assert frames(path) == JPEG


def test_frames_by_the_extended_offset_table(tmp_path: Path) -> None:
    pixels, offsets, lengths = encapsulate_extended(JPEG)
    path = jpeg(tmp_path / "a", pixels, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths)
    assert frames(path) == JPEG


def test_one_frame_takes_all_fragments(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "a", encapsulate(JPEG[:1], fragments_per_frame=3), count=1)
    assert frames(path) == JPEG[:1]


def test_fragments_that_fit_no_number_of_frames_have_no_places(tmp_path: Path) -> None:
    assert frames(jpeg(tmp_path / "a", encapsulate([b"x" * 20] * 3, has_bot=False), count=2)) == []


def test_the_pixel_data_of_a_native_image_as_bulk_data(tmp_path: Path) -> None:
    assert bulkdata(part10(tmp_path / "a", image()), "7FE00010") == bytes(range(32))


@pytest.mark.parametrize("place", ["", "zz", "00100010", "00091001", "7FE00010.0.00100010", "../7FE00010", "1.2.3.4.5"])
def test_a_place_without_bulk_data_is_not_found(tmp_path: Path, place: str) -> None:
    path = part10(tmp_path / "a", image())
    with pytest.raises(NotFound):
        bulkdata(path, place)


@settings(max_examples=150)
@given(at=st.integers(144, 700), noise=st.binary(min_size=1, max_size=6))
def test_a_damaged_file_is_told_or_refused_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    path = part10(tmp_path_factory.getbasetemp() / "damaged", image(RequestAttributesSequence=[Dataset()]))
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + noise + raw[at + len(noise) :])
    try:
        json.loads(describe(path).json)
    except BadInput:
        return
