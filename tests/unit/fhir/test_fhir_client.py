"""Every answer a FHIR server can give, and what it means (durability.md 6)."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.clock import ManualClock
from bridge.config import Ehr
from bridge.errors import RemoteError, RemoteRefused, RemoteUnavailable
from bridge.fhir import client as client_module
from bridge.fhir.answer import Absent, Asked, VersionConflict, classify
from bridge.fhir.client import FhirClient
from bridge.fhir.identity import query, token
from tests.unit.fhir.script import Script, bundle, outcome

STUDY: dict[str, Any] = {"resourceType": "ImagingStudy", "id": "7", "status": "available", "subject": {}}
BARE = {k: v for k, v in STUDY.items() if k != "id"}
GET, POST, PUT = Asked("GET", "ImagingStudy", "7"), Asked("POST", "ImagingStudy"), Asked("PUT", "ImagingStudy", "7")
IF_NONE, IF_MATCH = Asked("POST", "ImagingStudy", "", True), Asked("PUT", "ImagingStudy", "7", True)


@pytest.mark.parametrize(
    ("asked", "status", "kind", "code"),
    [
        (POST, 400, RemoteRefused, "invalid"),
        (PUT, 422, RemoteRefused, "invalid"),
        (POST, 413, RemoteRefused, "too-large"),
        (POST, 406, RemoteRefused, "remote-refused"),
        (IF_NONE, 412, RemoteRefused, "several-matches"),
        (IF_NONE, 409, VersionConflict, "version-conflict"),
        (IF_MATCH, 409, VersionConflict, "version-conflict"),
        (IF_MATCH, 412, VersionConflict, "version-conflict"),
        (GET, 404, Absent, "endpoint-paused"),
        (PUT, 410, Absent, "endpoint-paused"),
        (POST, 401, RemoteUnavailable, "endpoint-paused"),
        (POST, 403, RemoteUnavailable, "endpoint-paused"),
        (POST, 404, RemoteUnavailable, "endpoint-paused"),
        (POST, 405, RemoteUnavailable, "endpoint-paused"),
        (POST, 301, RemoteUnavailable, "endpoint-paused"),
        (POST, 408, RemoteUnavailable, "remote-unavailable"),
        (POST, 429, RemoteUnavailable, "remote-unavailable"),
        (POST, 500, RemoteUnavailable, "remote-unavailable"),
        (POST, 503, RemoteUnavailable, "remote-unavailable"),
    ],
)
def test_status_means(asked: Asked, status: int, kind: type[RemoteError], code: str) -> None:
    with pytest.raises(RemoteError) as told:
        classify(asked, status, {}, b"")
    assert (type(told.value), told.value.code, told.value.status) == (kind, code, status)


@given(st.integers(100, 999), st.binary(max_size=40), st.sampled_from([GET, POST, PUT, IF_NONE, IF_MATCH]))
def test_any_answer_is_an_answer_or_a_remote_error(status: int, body: bytes, asked: Asked) -> None:
    with contextlib.suppress(RemoteError):
        assert classify(asked, status, {}, body).reference is not None


@pytest.mark.parametrize("body", [b"<html>log in</html>", b'{"resourceType": "Imag', b"[]", b"7", b'{"a": 1}'])
def test_success_that_is_no_fhir_is_a_failure_to_retry(body: bytes) -> None:
    with pytest.raises(RemoteUnavailable) as told:
        classify(PUT, 200, {}, body)
    assert told.value.code == "not-fhir"


def test_success_with_an_error_outcome_is_a_failure_to_retry(script: Script, client: FhirClient) -> None:
    script.say(200, outcome("exception"))
    with pytest.raises(RemoteUnavailable) as told:
        client.read("ImagingStudy", "7")
    assert told.value.code == "error-in-success"


def test_a_proxy_page_404_pauses_the_endpoint_and_is_no_absent_resource(script: Script, client: FhirClient) -> None:
    script.say(404, b"<html>no such site</html>")
    with pytest.raises(RemoteUnavailable) as told:
        client.read("ImagingStudy", "7")
    assert not isinstance(told.value, Absent) and told.value.code == "endpoint-paused"


def test_exception_tells_issue_codes_and_no_word_of_the_server(script: Script, client: FhirClient) -> None:
    script.say(422, outcome("code-invalid"))
    with pytest.raises(RemoteRefused) as told:
        client.create(BARE, "")
    assert "code-invalid" in str(told.value) and "DOE" not in str(told.value) and "4711" not in str(told.value)


def test_issue_code_of_the_servers_own_making_is_not_told(script: Script, client: FhirClient) -> None:
    script.say(400, outcome("DOE^JOHN"))
    with pytest.raises(RemoteRefused) as told:
        client.create(BARE, "")
    assert "DOE" not in str(told.value)


@pytest.mark.parametrize("how", ["reset", "silent", "cut"])
def test_lost_answer_is_unavailable_and_tells_no_url(how: str, script: Script, client: FhirClient) -> None:
    script.say(200, STUDY, how)
    with pytest.raises(RemoteUnavailable) as told:
        client.search("Patient", identifier="sys|4711")
    assert "4711" not in str(told.value) and told.value.__cause__ is None and told.value.__context__ is None


def test_nobody_listening_is_unavailable(settings: Ehr) -> None:
    with pytest.raises(RemoteUnavailable):
        FhirClient(settings.model_copy(update={"fhir_base": "http://127.0.0.1:9/fhir"})).read("Patient", "1")


def test_redirect_is_not_followed_and_the_token_stays(script: Script, elsewhere: Script, client: FhirClient) -> None:
    script.say(302, Location=elsewhere.url + "/fhir/ImagingStudy/7")
    with pytest.raises(RemoteUnavailable):
        client.read("ImagingStudy", "7")
    assert elsewhere.asked == []


def test_next_page_at_another_origin_is_refused(script: Script, elsewhere: Script, client: FhirClient) -> None:
    script.say(200, bundle(next=elsewhere.url + "/fhir?page=2"))
    with pytest.raises(RemoteUnavailable):
        client.search("ImagingStudy", identifier="a")
    assert elsewhere.asked == []


def test_pages_are_followed_within_the_origin(script: Script, client: FhirClient) -> None:
    script.say(200, bundle(STUDY, next="/fhir?page=2"))
    script.say(200, bundle({**STUDY, "id": "8"}))
    assert [r["id"] for r in client.search("ImagingStudy", identifier="a")] == ["7", "8"]


def test_pages_without_end_are_given_up(script: Script, client: FhirClient) -> None:
    for _ in range(client_module.MAX_PAGES):
        script.say(200, bundle(next=script.url + "/fhir?again"))
    with pytest.raises(RemoteRefused):
        client.search("ImagingStudy", identifier="a")


def test_too_large_an_answer_is_refused(script: Script, client: FhirClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BYTES", 1000)
    script.say(200, {**STUDY, "description": "x" * 2000})
    with pytest.raises(RemoteUnavailable):
        client.read("ImagingStudy", "7")


def test_an_answer_that_trickles_is_given_up(settings: Ehr, manual: ManualClock) -> None:
    """Each byte comes within the read time limit; the whole does not."""

    class Trickle(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    manual.advance(0.4)
                    self.wfile.write(b" ")
            except OSError:
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/fhir"
    try:
        with pytest.raises(RemoteUnavailable) as told:
            FhirClient(settings.model_copy(update={"fhir_base": base}), clock=manual).read("ImagingStudy", "7")
        assert "no answer" in str(told.value)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("60", 60.0), ("99999999999", 900.0), ("Wed, 25 Nov 2026 10:01:00 GMT", 60.0), ("soon", None), ("-5", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    with pytest.raises(RemoteUnavailable) as told:
        classify(POST, 429, {"Retry-After": value, "Date": "Wed, 25 Nov 2026 10:00:00 GMT"}, b"")
    assert told.value.retry_after == seconds


def test_token_is_read_at_each_use(script: Script, client: FhirClient, settings: Ehr) -> None:
    assert settings.token_file
    script.say(200, STUDY)
    client.read("ImagingStudy", "7")
    settings.token_file.write_text("second")
    script.say(200, STUDY)
    client.read("ImagingStudy", "7")
    assert [a.headers["Authorization"] for a in script.asked] == ["Bearer s3cret", "Bearer second"]


def test_401_is_asked_again_once_when_the_token_was_renewed_meanwhile(
    script: Script, client: FhirClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter(["old", "new"])
    monkeypatch.setattr(client, "_token", lambda: next(tokens))
    script.say(401)
    script.say(200, STUDY)
    client.read("ImagingStudy", "7")
    assert script.asked[-1].headers["Authorization"] == "Bearer new"


def test_401_with_the_same_token_is_not_repeated(script: Script, client: FhirClient) -> None:
    script.say(401)
    with pytest.raises(RemoteUnavailable):
        client.read("ImagingStudy", "7")
    assert len(script.asked) == 1


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "ü"])
def test_no_usable_token_sends_nothing(text: str, script: Script, client: FhirClient, settings: Ehr) -> None:
    assert settings.token_file
    settings.token_file.write_text(text)
    with pytest.raises(RemoteUnavailable) as told:
        client.read("ImagingStudy", "7")
    assert (told.value.code, script.asked) == ("endpoint-paused", [])


def test_netrc_gives_no_password(
    script: Script, settings: Ehr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    script.say(200, STUDY)
    FhirClient(settings.model_copy(update={"token_file": None})).read("ImagingStudy", "7")
    assert "Authorization" not in script.asked[0].headers


def test_search_asks_for_fhir_json_and_encodes_its_value(script: Script, client: FhirClient) -> None:
    script.say(200, bundle())
    client.search("Patient", identifier=token("urn:oid:1.2", "a|b,c$d\\&e ü"))
    asked = script.asked[0]
    assert asked.headers["Accept"] == "application/fhir+json"
    assert asked.path == "/fhir/Patient?identifier=urn%3Aoid%3A1.2%7Ca%5C%7Cb%5C%2Cc%5C%24d%5C%5C%26e%20%C3%BC"


def test_conditional_create_sends_if_none_exist(script: Script, client: FhirClient) -> None:
    script.say(201, {**STUDY, "meta": {"versionId": "1"}}, ETag='W/"1"')
    answer = client.create(BARE, query(identifier=token("urn:dicom:uid", "urn:oid:1.2")))
    assert answer.reference and (answer.reference.id, answer.reference.version) == ("7", "1")
    assert script.asked[0].headers["If-None-Exist"] == "identifier=urn%3Adicom%3Auid%7Curn%3Aoid%3A1.2"


@pytest.mark.parametrize(
    "location",
    [
        "http://other.example:8090/base/ImagingStudy/77/_history/3",
        "ImagingStudy/77/_history/3",
        "/fhir/ImagingStudy/77/_history/3",
    ],
)
def test_location_of_any_form_names_the_created(location: str, script: Script, client: FhirClient) -> None:
    script.say(201, Location=location)
    reference = client.create(BARE, "").reference
    assert reference and (reference.id, reference.version) == ("77", "3")


def test_location_without_history(script: Script, client: FhirClient) -> None:
    script.say(201, Location="http://other.example/ImagingStudy/77", ETag='W/"abc-1"')
    reference = client.create(BARE, "").reference
    assert reference and (reference.id, reference.version) == ("77", "abc-1")


def test_created_without_an_id_anywhere_is_unknown(script: Script, client: FhirClient) -> None:
    script.say(201)
    with pytest.raises(RemoteUnavailable):
        client.create(BARE, "")


@pytest.mark.parametrize(
    ("etag", "meta", "sent"),
    [('W/"u-1"', {}, 'W/"u-1"'), ('"5"', {"versionId": "9"}, '"5"'), ("", {"versionId": "9"}, 'W/"9"'), ("", {}, "")],
)
def test_if_match_is_the_etag_unchanged_else_the_version_id(etag: str, meta: dict[str, str], sent: str) -> None:
    answer = classify(GET, 200, {"ETag": etag} if etag else {}, json.dumps({**STUDY, "meta": meta}).encode())
    assert answer.if_match == sent


def test_an_id_that_is_no_fhir_id_reaches_no_url(script: Script, client: FhirClient) -> None:
    with pytest.raises(RemoteRefused):
        client.read("ImagingStudy", "../Patient/1")
    assert script.asked == []


@pytest.fixture
def manual() -> ManualClock:
    return ManualClock(datetime(2026, 11, 25, tzinfo=UTC))
