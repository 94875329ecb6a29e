"""What a client accepts against what is held (RFC 9110 12.5.1, PS3.18 8.7.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dicomweb.accept import MULTIPART, Offer, choose, read_accept, takes_gzip

JPEG = "1.2.840.10008.1.2.4.50"
IMAGE = Offer(MULTIPART, "image/jpeg", JPEG)
BYTES = Offer(MULTIPART, "application/octet-stream", JPEG, explicit=True)


def _choose(header: str, *offers: Offer) -> Offer | None:
    return choose(read_accept(header), offers)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "*/*",
        "multipart/*",
        "multipart/related",
        'multipart/related; type="image/jpeg"',
        "multipart/related; type=image/jpeg; transfer-syntax=*",
        f'multipart/related;type="image/jpeg";transfer-syntax="{JPEG}"',
        'MULTIPART/RELATED; TYPE="image/*"',
        'text/html;q=0.1, multipart/related; type="*/*";q=0.3',
    ],
)
def test_a_jpeg_frame_is_taken_by(header: str) -> None:
    assert _choose(header, IMAGE, BYTES) == IMAGE


def test_octet_stream_with_any_transfer_syntax_takes_a_compressed_frame() -> None:
    assert _choose("multipart/related; type=application/octet-stream; transfer-syntax=*", IMAGE, BYTES) == BYTES


@pytest.mark.parametrize(
    "header",
    [
        "text/html",
        'multipart/related; type="application/octet-stream"',
        "multipart/related; type=image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.90",
        "multipart/related; type=image/jpeg; q=0",
        "multipart/related; type=image/jpeg; q=much",
        "image/jpeg",
        "nonsense",
        ",;=,",
    ],
)
def test_a_jpeg_frame_is_not_taken_by(header: str) -> None:
    assert _choose(header, IMAGE, BYTES) is None


def test_the_higher_quality_wins() -> None:
    one, two = Offer("application/dicom+json"), Offer("application/json")
    assert _choose("application/dicom+json;q=0.5, application/json", one, two) == two


def test_of_equals_ours_comes_first() -> None:
    one, two = Offer("application/dicom+json"), Offer("application/json")
    assert _choose("application/json, application/dicom+json", one, two) == one


def test_the_more_specific_range_rules() -> None:
    assert _choose("*/*, application/json;q=0", Offer("application/json")) is None


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.00", False),
        ("", False),
        ("identity", False),
        ("xgzip", False),
    ],
)
def test_gzip(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


@given(st.text(max_size=300))
def test_any_header_is_read_without_a_fault(header: str) -> None:
    choose(read_accept(header), (IMAGE, BYTES))
    takes_gzip(header)


def test_a_header_of_quotation_marks_is_read_in_bounded_steps() -> None:
    assert read_accept('"' * 100_000) == ()
