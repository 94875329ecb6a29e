"""private_key_jwt at the pretend EHR (SMART App Launch 2.2, asymmetric client authentication; RFC 7523 3)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from joserfc import jwt

from bridge.clock import Clock, ManualClock, SystemClock
from bridge.sandbox.ehr import PretendEhr
from bridge.smart.client_key import ALGORITHM, ASSERTION_TYPE, assertion, new_key, public_set, read_key
from tests.unit.sandbox.test_pretend_ehr_smart_launch import authorize, redeem, returned

CLIENT = "imaging-bridge"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key.jwk"
    file.write_text(new_key())
    return file


@pytest.fixture
def registered(ehr: PretendEhr, key: Path) -> Iterator[PretendEhr]:
    """The EHR, once the app's public keys are registered; a public client again afterwards."""
    ehr.client_jwks = public_set([key])
    yield ehr
    ehr.client_jwks = None


def token(ehr: PretendEhr, patient_id: str, signed: str) -> requests.Response:
    code = returned(authorize(ehr, ehr.new_launch(patient_id)))["code"]
    return redeem(ehr, code, client_assertion_type=ASSERTION_TYPE, client_assertion=signed)


def signed(key: Path, ehr: PretendEhr, clock: Clock | None = None) -> str:
    return assertion(key, CLIENT, f"{ehr.issuer}/token", clock or SystemClock())


def with_claims(file: Path, ehr: PretendEhr, **changed: object) -> str:
    """An assertion with other claims; one set to None is left out."""
    now, key = int(SystemClock().now().timestamp()), read_key(file)
    whole: dict[str, Any] = {
        "iss": CLIENT,
        "sub": CLIENT,
        "aud": f"{ehr.issuer}/token",
        "exp": now + 240,
        "jti": secrets.token_urlsafe(16),
        **changed,
    }
    claims = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key, algorithms=[ALGORITHM])


def test_the_bridges_own_assertion_is_accepted(registered: PretendEhr, patient_id: str, key: Path) -> None:
    answer = token(registered, patient_id, signed(key, registered))
    assert (answer.status_code, answer.json()["patient"]) == (200, patient_id)


def test_an_assertion_is_accepted_once(registered: PretendEhr, patient_id: str, key: Path) -> None:
    same = signed(key, registered)
    assert token(registered, patient_id, same).status_code == 200
    assert token(registered, patient_id, same).json()["error"] == "invalid_client"


def test_a_key_that_is_not_registered_is_refused(registered: PretendEhr, patient_id: str, tmp_path: Path) -> None:
    other = tmp_path / "other.jwk"
    other.write_text(new_key())
    assert token(registered, patient_id, signed(other, registered)).json()["error"] == "invalid_client"


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "jti"])
def test_every_claim_is_required(registered: PretendEhr, patient_id: str, key: Path, claim: str) -> None:
    answer = token(registered, patient_id, with_claims(key, registered, **{claim: None}))
    assert answer.json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("claim", "value"), [("iss", "someone"), ("sub", "someone"), ("aud", "http://elsewhere/token"), ("jti", [])]
)
def test_a_wrong_claim_is_refused(
    registered: PretendEhr, patient_id: str, key: Path, claim: str, value: object
) -> None:
    answer = token(registered, patient_id, with_claims(key, registered, **{claim: value}))
    assert answer.json()["error"] == "invalid_client"


@pytest.mark.parametrize("shift", [-400, 120])
def test_an_assertion_is_over_or_lives_too_long(registered: PretendEhr, patient_id: str, key: Path, shift: int) -> None:
    clock = ManualClock(SystemClock().now() + timedelta(seconds=shift))
    assert token(registered, patient_id, signed(key, registered, clock)).json()["error"] == "invalid_client"


def test_a_registered_app_must_authenticate(registered: PretendEhr, patient_id: str) -> None:
    code = returned(authorize(registered, registered.new_launch(patient_id)))["code"]
    assert redeem(registered, code).json()["error"] == "invalid_client"


def test_an_app_without_registered_keys_is_public(ehr: PretendEhr, patient_id: str, key: Path) -> None:
    assert token(ehr, patient_id, signed(key, ehr)).status_code == 200


def discovered(ehr: PretendEhr) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{ehr.fhir_base}/.well-known/smart-configuration", timeout=10).json()
    return found


def test_discovery_tells_how_the_registered_app_authenticates(registered: PretendEhr) -> None:
    found = discovered(registered)
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert found["token_endpoint_auth_signing_alg_values_supported"] == ["ES384"]
    assert "client-confidential-asymmetric" in found["capabilities"]


def test_discovery_tells_that_an_app_without_keys_is_public(ehr: PretendEhr) -> None:
    assert discovered(ehr)["token_endpoint_auth_methods_supported"] == ["none"]
