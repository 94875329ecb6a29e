"""The harness sets a bridge up as anyone does: by `bridge init`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import Settings
from bridge.sandbox.hospital import Hospital


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return Hospital(tmp_path_factory.mktemp("hospital"), fhir_base="http://localhost:9/fhir")


@pytest.mark.parametrize("name", ["config/bridge.toml", "secrets/smart-client.jwk"])
def test_only_its_owner_reads_the_configuration_and_the_key(hospital: Hospital, name: str) -> None:
    assert (hospital.folder / name).stat().st_mode & 0o777 == 0o600


def test_only_its_owner_enters_the_folder_of_secrets(hospital: Hospital) -> None:
    assert (hospital.folder / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_bridge_signs_with_the_key_that_init_made(hospital: Hospital) -> None:
    (issuer,) = Settings.load(hospital.config).launch.smart
    assert issuer.client_key_file == (hospital.folder / "secrets" / "smart-client.jwk").resolve()


def test_what_is_registered_is_the_public_half(hospital: Hospital) -> None:
    (key,) = hospital.client_jwks["keys"]
    assert (key["crv"], "d" in key) == ("P-384", False)


def test_a_second_bridge_in_the_folder_keeps_the_key(tmp_path: Path) -> None:
    first = Hospital(tmp_path, fhir_base="http://localhost:9/fhir")
    assert Hospital(tmp_path, fhir_base="http://localhost:9/fhir").client_jwks == first.client_jwks
