"""SMART App Launch 2.2 against the pretend EHR, by a plain HTTP client."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import KeySet

from bridge.sandbox.ehr import PretendEhr

REDIRECT = "http://127.0.0.1:9/smart/callback"
SCOPE = "launch openid fhirUser patient/ImagingStudy.rs"
VERIFIER = secrets.token_urlsafe(48)


def challenge(verifier: str = VERIFIER) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorize(ehr: PretendEhr, launch: str | None, **changed: str | None) -> requests.Response:
    asked: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "imaging-bridge",
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "state": "s" * 24,
        "aud": ehr.fhir_base,
        "launch": launch,
        "nonce": secrets.token_urlsafe(16),
        "code_challenge": challenge(),
        "code_challenge_method": "S256",
        **changed,
    }
    params = {k: v for k, v in asked.items() if v is not None}
    return requests.get(f"{ehr.issuer}/authorize", params=params, allow_redirects=False, timeout=10)


def returned(answer: requests.Response) -> dict[str, str]:
    """The parameters that went back to the app's redirect URI."""
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(REDIRECT + "?")
    return {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def redeem(ehr: PretendEhr, code: str, **changed: str) -> requests.Response:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "client_id": "imaging-bridge",
        "code_verifier": VERIFIER,
        **changed,
    }
    return requests.post(f"{ehr.issuer}/token", data=form, timeout=10)


def a_token(ehr: PretendEhr, patient_id: str, study_id: str | None = None, **changed: str) -> dict[str, Any]:
    code = returned(authorize(ehr, ehr.new_launch(patient_id, study_id), **changed))["code"]
    answer = redeem(ehr, code)
    assert answer.status_code == 200, answer.text
    token: dict[str, Any] = answer.json()
    return token


def a_study(ehr: PretendEhr, patient_id: str) -> str:
    resource = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": f"Patient/{patient_id}"},
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.4711"}],
    }
    answer = requests.post(f"{ehr.fhir_base}/ImagingStudy", json=resource, timeout=10)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def test_discovery_lies_below_the_fhir_base_and_allows_s256_alone(ehr: PretendEhr) -> None:
    found = requests.get(f"{ehr.fhir_base}/.well-known/smart-configuration", timeout=10).json()
    assert found["issuer"] == ehr.issuer
    assert found["authorization_endpoint"] == f"{ehr.issuer}/authorize"
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert {"launch-ehr", "sso-openid-connect", "client-public"} <= set(found["capabilities"])


def test_state_comes_back_unchanged(ehr: PretendEhr, patient_id: str) -> None:
    assert returned(authorize(ehr, ehr.new_launch(patient_id)))["state"] == "s" * 24


def test_token_answer_names_the_patient_and_the_study_of_the_launch(ehr: PretendEhr, patient_id: str) -> None:
    study = a_study(ehr, patient_id)
    token = a_token(ehr, patient_id, study)
    assert token["patient"] == patient_id
    assert token["fhirContext"] == [{"reference": f"ImagingStudy/{study}"}]
    assert token["need_patient_banner"] is True
    assert token["token_type"] == "Bearer"
    assert token["scope"] == SCOPE


def test_patient_launch_has_no_imaging_context(ehr: PretendEhr, patient_id: str) -> None:
    assert "fhirContext" not in a_token(ehr, patient_id)


def test_token_answer_is_never_stored(ehr: PretendEhr, patient_id: str) -> None:
    code = returned(authorize(ehr, ehr.new_launch(patient_id)))["code"]
    assert redeem(ehr, code).headers["Cache-Control"] == "no-store"


def test_id_token_is_signed_by_the_published_key_for_this_app_and_nonce(ehr: PretendEhr, patient_id: str) -> None:
    token = a_token(ehr, patient_id, nonce="n-0S6_WzA2Mj")
    keys = KeySet.import_key_set(requests.get(f"{ehr.issuer}/jwks", timeout=10).json())
    claims: Mapping[str, Any] = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
    assert claims["iss"] == ehr.issuer
    assert claims["aud"] == "imaging-bridge"
    assert claims["nonce"] == "n-0S6_WzA2Mj"
    assert claims["exp"] > claims["iat"]
    assert claims["preferred_username"] == "dr-demo"
    assert requests.get(claims["fhirUser"], timeout=10).json()["name"] == [{"text": "Dr Demo"}]


def test_published_key_has_no_private_part(ehr: PretendEhr) -> None:
    (key,) = requests.get(f"{ehr.issuer}/jwks", timeout=10).json()["keys"]
    assert set(key) & {"d", "p", "q", "dp", "dq", "qi"} == set()


def test_nonce_is_taken_once(ehr: PretendEhr, patient_id: str) -> None:
    a_token(ehr, patient_id, nonce="again")
    assert returned(authorize(ehr, ehr.new_launch(patient_id), nonce="again"))["error"] == "invalid_request"


def test_wrong_verifier_is_refused_and_burns_the_code(ehr: PretendEhr, patient_id: str) -> None:
    code = returned(authorize(ehr, ehr.new_launch(patient_id)))["code"]
    assert redeem(ehr, code, code_verifier=secrets.token_urlsafe(48)).json()["error"] == "invalid_grant"
    assert redeem(ehr, code).json()["error"] == "invalid_grant"


def test_code_is_taken_once(ehr: PretendEhr, patient_id: str) -> None:
    code = returned(authorize(ehr, ehr.new_launch(patient_id)))["code"]
    assert redeem(ehr, code).status_code == 200
    assert redeem(ehr, code).status_code == 400


def test_launch_handle_is_taken_once(ehr: PretendEhr, patient_id: str) -> None:
    handle = ehr.new_launch(patient_id)
    assert "code" in returned(authorize(ehr, handle))
    assert returned(authorize(ehr, handle))["error"] == "invalid_request"


def test_refused_request_leaves_the_launch_handle_alive(ehr: PretendEhr, patient_id: str) -> None:
    handle = ehr.new_launch(patient_id)
    assert "error" in returned(authorize(ehr, handle, aud="http://elsewhere/fhir"))
    assert "code" in returned(authorize(ehr, handle))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"aud": "http://localhost:1/fhir"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"launch": "made-up"}, "invalid_request"),
        ({"launch": None}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"code_challenge": VERIFIER, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "openid patient/Patient.r", "launch": None}, "invalid_scope"),
        ({"scope": "system/*.cruds"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ],
)
def test_bad_request_is_refused_at_the_redirect_uri(
    ehr: PretendEhr, patient_id: str, changed: dict[str, str | None], error: str
) -> None:
    launch = {"launch": ehr.new_launch(patient_id), **changed}
    assert returned(authorize(ehr, launch.pop("launch") or "", **launch))["error"] == error


@pytest.mark.parametrize(
    "changed", [{"client_id": "someone"}, {"redirect_uri": REDIRECT + "/"}, {"redirect_uri": None}]
)
def test_unknown_app_or_redirect_uri_is_never_redirected_to(
    ehr: PretendEhr, patient_id: str, changed: dict[str, str | None]
) -> None:
    answer = authorize(ehr, ehr.new_launch(patient_id), **changed)
    assert answer.status_code in (400, 401)
    assert "Location" not in answer.headers


def test_scopes_beyond_the_allowed_are_left_out(ehr: PretendEhr, patient_id: str) -> None:
    assert a_token(ehr, patient_id, scope=SCOPE + " system/*.cruds")["scope"] == SCOPE


def sign_in(ehr: PretendEhr, **changed: str | None) -> requests.Response:
    return redeem(ehr, returned(authorize(ehr, None, **{"scope": "openid fhirUser", **changed}))["code"])


def test_standalone_launch_tells_who_signed_in(ehr: PretendEhr) -> None:
    token = sign_in(ehr, nonce="standalone").json()
    keys = KeySet.import_key_set(requests.get(f"{ehr.issuer}/jwks", timeout=10).json())
    claims: Mapping[str, Any] = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
    assert claims["nonce"] == "standalone"
    assert claims["fhirUser"].endswith("/Practitioner/dr-demo")


def test_standalone_launch_chooses_no_patient(ehr: PretendEhr) -> None:
    assert {"patient", "fhirContext"}.isdisjoint(sign_in(ehr).json())


def test_introspection_of_a_sign_in_names_no_patient(ehr: PretendEhr) -> None:
    answer = requests.post(
        f"{ehr.issuer}/introspect",
        data={"token": sign_in(ehr).json()["access_token"]},
        auth=("imaging-bridge", ehr.introspection_secret),
        timeout=10,
    ).json()
    assert answer["active"] is True
    assert "patient" not in answer


def test_introspection_tells_the_launch_context_of_a_live_token(ehr: PretendEhr, patient_id: str) -> None:
    token = a_token(ehr, patient_id)
    answer = requests.post(
        f"{ehr.issuer}/introspect",
        data={"token": token["access_token"]},
        auth=("imaging-bridge", ehr.introspection_secret),
        timeout=10,
    ).json()
    assert (answer["active"], answer["patient"], answer["scope"]) == (True, patient_id, SCOPE)


def test_introspection_of_an_unknown_token_says_inactive_and_no_more(ehr: PretendEhr) -> None:
    answer = requests.post(
        f"{ehr.issuer}/introspect",
        data={"token": "none"},
        auth=("imaging-bridge", ehr.introspection_secret),
        timeout=10,
    )
    assert answer.json() == {"active": False}


def test_introspection_needs_its_secret(ehr: PretendEhr) -> None:
    answer = requests.post(f"{ehr.issuer}/introspect", data={"token": "x"}, auth=("imaging-bridge", ""), timeout=10)
    assert answer.status_code == 401


def test_fhir_refuses_an_unknown_bearer_token(ehr: PretendEhr, patient_id: str) -> None:
    headers = {"Authorization": "Bearer made-up"}
    answer = requests.get(f"{ehr.fhir_base}/Patient/{patient_id}", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_fhir_takes_the_token_of_a_launch(ehr: PretendEhr, patient_id: str) -> None:
    headers = {"Authorization": f"Bearer {a_token(ehr, patient_id)['access_token']}"}
    answer = requests.get(f"{ehr.fhir_base}/Patient/{patient_id}", headers=headers, timeout=10)
    assert answer.json()["id"] == patient_id
