"""The id_token: OpenID Connect Core 3.1.3.7, and every forgery that we know of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from bridge.clock import ManualClock
from bridge.domain.access import User
from bridge.errors import NotAllowed, RemoteUnavailable
from bridge.smart.identity import read_user
from bridge.smart.keys import KeyRing, read_keys, verify
from tests.fakes.launch_site import START
from tests.fakes.smart_ehr import EC_KEY, KEY, OTHER_KEY

ISSUER, CLIENT, NONCE = "https://login.example", "imaging-bridge", "n" * 43
NOW = int(START.timestamp())
CLAIMS = {"iss": ISSUER, "aud": CLIENT, "sub": "dr", "nonce": NONCE, "iat": NOW, "exp": NOW + 300, "name": "Dr Demo"}


class Published:
    """An issuer's key page: `keys`, or out of order with None."""

    def __init__(self, *keys: Any) -> None:
        self.keys: tuple[Any, ...] | None = keys
        self.asked = 0
        self.clock = ManualClock(START)
        self.ring = KeyRing(self.fetch, self.clock)

    def fetch(self) -> dict[str, Any]:
        self.asked += 1
        if self.keys is None:
            raise RemoteUnavailable("down")
        return {"keys": [k.as_dict(private=False) for k in self.keys]}

    def read(self, token: object) -> User:
        return read_user(token, ring=self.ring, issuer=ISSUER, client_id=CLIENT, nonce=NONCE, clock=self.clock)


def signed(claims: dict[str, Any] | None = None, key: Any = KEY, **header: Any) -> str:
    whole = {"alg": "RS256", "kid": "one"} | header
    whole = {k: v for k, v in whole.items() if v is not None}
    return jwt.encode(whole, CLAIMS if claims is None else claims, key, algorithms=[whole["alg"]])


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts)


def hs256_with_public_key() -> str:
    secret = KEY.as_pem(private=False)
    head, body, _ = by_hand({"alg": "HS256", "kid": "one"}, CLAIMS).split(".")
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in CLAIMS.items() if k != name}


def test_a_true_token_names_the_user_by_issuer_and_subject() -> None:
    assert Published(KEY).read(signed()) == User(ISSUER, "dr", "Dr Demo")


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (KEY, {"alg": "RS256"}),
        (KEY, {"alg": "RS384"}),
        (EC_KEY, {"alg": "ES256", "kid": "ec"}),
        (KEY, {"kid": None}),  # seen at a public SMART launcher
    ],
)
def test_the_algorithms_of_smart_are_taken_with_or_without_kid(key: Any, header: dict[str, Any]) -> None:
    assert Published(KEY, EC_KEY).read(signed(key=key, **header)).subject == "dr"


FORGERIES = {
    "no signature": by_hand({"alg": "none"}, CLAIMS),
    "none in other letters": by_hand({"alg": "nOnE", "kid": "one"}, CLAIMS),
    "signature cut off": signed().rpartition(".")[0] + ".",
    "HS256 with the public key": hs256_with_public_key(),
    "HS256 with an empty key": jwt.encode({"alg": "HS256"}, CLAIMS, OctKey.import_key(b"0" * 32)),
    "another's key under a known kid": signed(key=OTHER_KEY),
    "unknown kid": signed(kid="two"),
    "own key in the header": signed(key=OTHER_KEY, jwk=OTHER_KEY.as_dict(private=False)),
    "true key in the header": signed(jwk=KEY.as_dict(private=False)),
    "own key address": signed(jku="https://evil.example/jwks"),
    "own certificate address": signed(x5u="https://evil.example/cert"),
    "critical extension": by_hand({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": False}, CLAIMS, b"x" * 256),
    "PS256": signed(alg="PS256"),
    "wrong iss": signed(CLAIMS | {"iss": "https://login.example/"}),
    "no iss": signed(without("iss")),
    "wrong aud": signed(CLAIMS | {"aud": "other"}),
    "no aud": signed(without("aud")),
    "two audiences, no azp": signed(CLAIMS | {"aud": [CLIENT, "other"]}),
    "wrong azp": signed(CLAIMS | {"azp": "other"}),
    "wrong nonce": signed(CLAIMS | {"nonce": "m" * 43}),
    "no nonce": signed(without("nonce")),
    "expired": signed(CLAIMS | {"exp": NOW - 61}),
    "no exp": signed(without("exp")),
    "exp as text": signed(CLAIMS | {"exp": "2100"}),
    "not yet": signed(CLAIMS | {"nbf": NOW + 300}),
    "from the future": signed(CLAIMS | {"iat": NOW + 300}),
    "no iat": signed(without("iat")),
    "no sub": signed(without("sub")),
    "sub is a number": signed(CLAIMS | {"sub": 7}),
    "sub without end": signed(CLAIMS | {"sub": "x" * 201}),
    "not a token": "hello",
    "claims are a list": by_hand({"alg": "RS256"}, [], b"x"),  # type: ignore[arg-type]
    "empty": "",
    "absent": None,
    "an object": {},
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_or_unfit_token_is_refused(forgery: object) -> None:
    with pytest.raises(NotAllowed) as refusal:
        Published(KEY).read(forgery)
    assert refusal.value.code == "id-token"


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_no_changed_character_passes(place: int, character: str) -> None:
    token = signed()
    place %= len(token)
    # The last character of a part holds unused bits: another letter may mean the same bytes.
    if token[place] == character or token[place + 1 : place + 2] in ("", "."):
        return
    changed = token[:place] + character + token[place + 1 :]
    with pytest.raises(NotAllowed):
        verify(changed, read_keys({"keys": [KEY.as_dict(private=False)]}))


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_no_text_breaks_the_check(text: str) -> None:
    with pytest.raises(NotAllowed):
        Published(KEY).read(text)


def test_clocks_may_differ_by_a_minute() -> None:
    assert Published(KEY).read(signed(CLAIMS | {"exp": NOW - 59, "iat": NOW + 59, "nbf": NOW + 59})).subject == "dr"


def test_two_audiences_pass_when_azp_names_us() -> None:
    assert Published(KEY).read(signed(CLAIMS | {"aud": ["other", CLIENT], "azp": CLIENT})).subject == "dr"


def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    issuer = Published(KEY)
    issuer.read(signed())
    issuer.keys = (KEY, EC_KEY)
    issuer.clock.advance(61)
    assert issuer.read(signed(key=EC_KEY, alg="ES256", kid="ec")).subject == "dr"


def test_a_flood_of_unknown_kids_costs_one_fetch_a_minute() -> None:
    issuer = Published(KEY)
    issuer.read(signed())
    for second in range(120):
        with pytest.raises(NotAllowed):
            issuer.read(signed(kid=f"k{second}"))
        issuer.clock.advance(1)
    assert issuer.asked <= 3


def test_an_outage_of_the_key_page_is_survived_for_a_day() -> None:
    issuer = Published(KEY)
    issuer.read(signed())
    issuer.keys = None
    issuer.clock.advance(23 * 3600)
    later = NOW + 23 * 3600
    assert issuer.read(signed(CLAIMS | {"iat": later, "exp": later + 60})).subject == "dr"
    issuer.clock.advance(2 * 3600)
    with pytest.raises(RemoteUnavailable):
        issuer.read(signed())


def test_a_withdrawn_key_is_forgotten_within_the_hour() -> None:
    issuer = Published(KEY, EC_KEY)
    issuer.read(signed())
    issuer.keys = (EC_KEY,)
    issuer.clock.advance(3601)
    later = NOW + 3601
    with pytest.raises(NotAllowed):
        issuer.read(signed(CLAIMS | {"iat": later, "exp": later + 60}))


def test_symmetric_encryption_and_broken_keys_are_left_out_of_a_key_set() -> None:
    good = KEY.as_dict(private=False)
    others = [{"kty": "oct", "k": "AAAA"}, good | {"use": "enc"}, {"kty": "RSA"}, {"kty": "new"}, 7]
    assert len(read_keys({"keys": [*others, good]})) == 1
    assert read_keys({"keys": "x"}) == ()
