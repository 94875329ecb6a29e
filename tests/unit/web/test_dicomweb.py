"""The DICOMweb gate as an HTTP service: who may ask, how, and what every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.domain.access import Session
from bridge.errors import StoreUnavailable
from bridge.web.dicomweb import dicomweb_blueprint
from tests.unit.dicomweb.pretend_images import A2, A, B, PretendImages, session_of, two_patients

I = f"/dicom-web/studies/{A}/series/{A}.1/instances/{A}.1.1"  # noqa: E741
PATHS = [
    "studies",
    f"studies/{A}",
    f"studies/{A}/series",
    f"studies/{A}/metadata",
    f"studies/{B}/metadata",
    "nothing/here",
    "studies/%2E%2E",
]


@pytest.fixture
def images(tmp_path: Path) -> PretendImages:
    return two_patients(tmp_path)


def _client(images: PretendImages, session: Callable[[], Session | None] | None = None) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(dicomweb_blueprint(images, session or (lambda: session_of(A, A2))))
    return app.test_client()


@pytest.mark.parametrize("path", PATHS)
def test_without_a_session_every_path_is_401(images: PretendImages, path: str) -> None:
    response = _client(images, lambda: None).get(f"/dicom-web/{path}")
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["studies", f"studies/{A}"])
def test_nothing_is_stored_or_changed(images: PretendImages, method: str, path: str) -> None:
    response = _client(images).open(f"/dicom-web/{path}", method=method, data=b"DICM")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_storing_without_a_session_is_401(images: PretendImages) -> None:
    assert _client(images, lambda: None).post("/dicom-web/studies").status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dicom-web/studies/1.2.", 400),
        (f"/dicom-web/studies/{B}", 403),
        (f"/dicom-web/studies/{A}/series/{B}.1", 404),
        (f"{I}/frames/9", 404),
        (f"{I}/frames/0", 400),
        (f"{I}/rendered", 406),
        ("/dicom-web//studies", 404),
        ("/dicom-web/studies/", 404),
    ],
)
def test_status_of(images: PretendImages, path: str, status: int) -> None:
    assert _client(images).get(path).status_code == status


@pytest.mark.parametrize("path", ["studies", f"studies/{A}/metadata", f"studies/{A}", "studies/1.2.", f"studies/{B}"])
def test_every_answer_forbids_caching_sniffing_and_other_origins(images: PretendImages, path: str) -> None:
    headers = _client(images).get(f"/dicom-web/{path}").headers
    assert headers["Cache-Control"] == "private, no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/dicom-web/studies", I, f"{I}/frames/1", f"{I}/metadata"])
def test_head_tells_the_length_and_sends_nothing(images: PretendImages, path: str) -> None:
    client = _client(images)
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.content_length == get.content_length == len(get.data)


def test_an_empty_search_is_an_empty_list(images: PretendImages) -> None:
    response = _client(images).get("/dicom-web/studies?PatientID=NOBODY")
    assert (response.status_code, response.data) == (200, b"[]")
    assert response.content_type == "application/dicom+json"


def test_what_a_search_did_not_do_is_a_warning(images: PretendImages) -> None:
    warning = _client(images).get("/dicom-web/studies?fuzzymatching=true&limit=1").headers["Warning"]
    assert warning.startswith('299 /dicom-web "The fuzzymatching parameter is not supported.')
    assert "There are 1 additional results" in warning


def test_a_plain_search_has_no_warning(images: PretendImages) -> None:
    assert "Warning" not in _client(images).get("/dicom-web/studies?fuzzymatching=false").headers


def test_the_accept_parameter_beats_the_header(images: PretendImages) -> None:
    response = _client(images).get(f"{I}?accept=application/dicom", headers={"Accept": "text/html"})
    assert response.content_type.startswith("application/dicom;")


def test_a_store_that_is_busy_asks_to_come_again(images: PretendImages) -> None:
    def busy() -> Session | None:
        raise StoreUnavailable("locked")

    response = _client(images, busy).get("/dicom-web/studies")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")


def test_a_file_that_is_gone_is_a_500_that_says_nothing(images: PretendImages, tmp_path: Path) -> None:
    (tmp_path / f"{A}.1.1.dcm").unlink()
    response = _client(images).get(I)
    assert response.status_code == 500
    assert "detail" not in response.get_json(force=True)


def test_a_refusal_does_not_echo_what_was_sent(images: PretendImages) -> None:
    response = _client(images).get("/dicom-web/studies?PatientBirthDate=<script>SECRET")
    assert response.status_code == 400
    assert b"SECRET" not in response.data


def test_when_the_session_is_taken_away_the_next_request_is_refused(images: PretendImages) -> None:
    sessions: list[Session | None] = [session_of(A), session_of(A2), None]
    client = _client(images, lambda: sessions.pop(0))
    assert [client.get(f"{I}/metadata").status_code for _ in range(3)] == [200, 403, 401]


def test_a_request_is_one_log_line_without_patient_data(
    images: PretendImages, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bridge"):
        _client(images).get("/dicom-web/studies?PatientName=DOE*&PatientID=MRN1")
    (record,) = caplog.records
    fields = record.__dict__["fields"]
    assert (fields["target"], fields["status"], fields["session_id"]) == ("search-studies", 200, 7)
    assert "DOE" not in str(fields) and "MRN1" not in str(fields)
