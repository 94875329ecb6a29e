"""Discovery: SMART App Launch 2.2, conformance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.clock import ManualClock
from bridge.config import SmartIssuer
from bridge.errors import RemoteRefused, RemoteUnavailable
from bridge.smart.discovery import Discovery, read_configuration
from bridge.smart.fetch import MAX_BYTES
from tests.fakes.launch_site import START
from tests.fakes.smart_ehr import CLIENT, SmartEhr

ISS = "https://ehr.example/fhir"
GOOD = {
    "issuer": "https://login.example",
    "authorization_endpoint": "https://login.example/authorize",
    "token_endpoint": "https://login.example/token",
    "jwks_uri": "https://login.example/jwks",
    "code_challenge_methods_supported": ["S256"],
}


@pytest.fixture
def ehr() -> Iterator[SmartEhr]:
    ehr = SmartEhr(ManualClock(START))
    ehr.start()
    yield ehr
    ehr.stop()


def discovery(ehr: SmartEhr) -> Discovery:
    return Discovery((SmartIssuer(iss=ehr.iss, client_id=CLIENT),), ehr.clock)


def test_a_sign_in_server_on_another_https_host_is_taken() -> None:
    assert read_configuration(ISS, GOOD).token == "https://login.example/token"


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["S256", "plain"], "S256", ["s256"]])
def test_without_s256_or_with_plain_nobody_launches(methods: object) -> None:
    with pytest.raises(RemoteRefused) as refusal:
        read_configuration(ISS, GOOD | {"code_challenge_methods_supported": methods})
    assert refusal.value.code == "smart-configuration"


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "address",
    [
        None,
        7,
        "",
        "/token",
        "http://login.example/token",
        "http://ehr.example/token",
        "https://user@login.example/token",
        "https:///token",
        "https://login.example/#x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://[::1/token",
    ],
)
def test_an_address_that_is_not_plain_https_is_refused(name: str, address: object) -> None:
    with pytest.raises(RemoteRefused):
        read_configuration(ISS, GOOD | {name: address})


def test_the_configuration_is_kept_for_an_hour(ehr: SmartEhr) -> None:
    smart = discovery(ehr)
    smart.endpoints(ehr.iss)
    ehr.clock.advance(3599)
    smart.endpoints(ehr.iss)
    assert len(ehr.calls) == 1
    ehr.clock.advance(2)
    smart.endpoints(ehr.iss)
    assert len(ehr.calls) == 2


def test_a_redirect_is_not_followed(ehr: SmartEhr) -> None:
    ehr.statuses["/fhir/.well-known/smart-configuration"] = 302
    with pytest.raises(RemoteRefused):
        discovery(ehr).endpoints(ehr.iss)
    assert "/elsewhere" not in ehr.calls


def test_an_endless_answer_is_cut_off(ehr: SmartEhr) -> None:
    ehr.configuration["padding"] = "x" * (MAX_BYTES + 1)
    with pytest.raises(RemoteUnavailable):
        discovery(ehr).endpoints(ehr.iss)


def test_a_server_error_may_be_tried_again(ehr: SmartEhr) -> None:
    ehr.statuses["/fhir/.well-known/smart-configuration"] = 503
    with pytest.raises(RemoteUnavailable):
        discovery(ehr).endpoints(ehr.iss)
    ehr.statuses.clear()
    assert discovery(ehr).endpoints(ehr.iss).issuer == ehr.origin


def test_an_answer_that_is_not_an_object_is_refused(ehr: SmartEhr) -> None:
    ehr.configuration = []  # type: ignore[assignment]
    with pytest.raises(RemoteRefused) as refusal:
        discovery(ehr).endpoints(ehr.iss)
    assert refusal.value.code == "not-json"
