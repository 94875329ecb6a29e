"""The bridge's own key: private_key_jwt (SMART App Launch 2.2, asymmetric client authentication)."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from bridge.clock import ManualClock
from bridge.config import SmartIssuer
from bridge.domain.identity import Issuers
from bridge.errors import ConfigurationError
from bridge.initialise import initialise, write_private
from bridge.smart.client import SmartClient
from bridge.smart.client_key import assertion, new_key, public_set
from tests.fakes.smart_ehr import CLIENT, SmartEhr

CLOCK = ManualClock(datetime(2026, 11, 25, 9, tzinfo=UTC))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key.jwk"
    write_private(file, new_key())
    return file


def test_the_assertion_is_verified_by_the_published_set(key: Path) -> None:
    token = jwt.decode(
        assertion(key, "bridge", "https://ehr/token", CLOCK),
        KeySet.import_key_set(public_set([key])),
        algorithms=["ES384"],
    )
    assert (token.claims["iss"], token.claims["sub"], token.claims["aud"]) == ("bridge", "bridge", "https://ehr/token")


def test_an_assertion_lives_less_than_five_minutes(key: Path) -> None:
    claims = jwt.decode(
        assertion(key, "bridge", "t", CLOCK), KeySet.import_key_set(public_set([key])), algorithms=["ES384"]
    ).claims
    assert 0 < claims["exp"] - int(CLOCK.now().timestamp()) < 300


def test_no_two_assertions_share_their_jti(key: Path) -> None:
    assert assertion(key, "bridge", "t", CLOCK) != assertion(key, "bridge", "t", CLOCK)


def test_the_published_set_holds_no_private_part(key: Path) -> None:
    assert all("d" not in one for one in public_set([key, key])["keys"]) and len(public_set([key, key])["keys"]) == 1


def test_the_token_request_carries_the_assertion_and_no_secret(key: Path) -> None:
    ehr = SmartEhr(ManualClock(datetime.now(UTC)))
    ehr.start()
    try:
        issuer = SmartIssuer(iss=ehr.iss, client_id=CLIENT, client_key_file=key)
        client = SmartClient((issuer,), Issuers([]), redirect_uri="http://localhost/launch/callback", clock=ehr.clock)
        verifier = "v" * 43
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        client.finish(ehr.iss, launch="", code=ehr.code_for("n", challenge), nonce="n", verifier=verifier)
    finally:
        ehr.stop()
    claims = jwt.decode(
        ehr.forms[0]["client_assertion"], KeySet.import_key_set(public_set([key])), algorithms=["ES384"]
    ).claims
    assert (claims["aud"], ehr.authorizations) == (f"{ehr.origin}/token", [""])


def test_a_file_that_is_no_key_is_a_configuration_fault(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(ConfigurationError):
        assertion(tmp_path / "bad", "bridge", "t", CLOCK)


def test_init_makes_the_key_for_its_owner_only(tmp_path: Path) -> None:
    initialise(tmp_path)
    assert (tmp_path / "secrets" / "smart-client.jwk").stat().st_mode & 0o777 == 0o600


def test_init_keeps_a_key_that_exists(tmp_path: Path) -> None:
    initialise(tmp_path)
    before = (tmp_path / "secrets" / "smart-client.jwk").read_text()
    initialise(tmp_path)
    assert (tmp_path / "secrets" / "smart-client.jwk").read_text() == before
