"""Two bridges for all end-to-end tests: one beside the pretend EHR, one beside HAPI FHIR. Their policies differ too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital
from tests.e2e.story import Site
from tests.peers.available import VIEWER
from tests.peers.hapi import HapiServer

ZONE = "Europe/Berlin"
"""With daylight saving, wherever the tests run."""


@pytest.fixture(scope="session")
def sekmet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pretend EHR (sekmet-fhir): creates a ServiceRequest that the EHR lacks, and launches."""
    viewer = VIEWER if (VIEWER / "bridge-viewer.json").is_file() else None
    with PretendEhr() as ehr:
        folder = tmp_path_factory.mktemp("hospital")
        hospital = Hospital(folder, fhir_base=ehr.fhir_base, quiet_seconds=1, viewer=viewer, time_zone=ZONE)
        ehr.bridge_launch_url = f"{hospital.public_url}/launch"
        ehr.redirect_uris = [f"{hospital.public_url}/launch/callback"]
        ehr.client_jwks = hospital.client_jwks
        with hospital:
            yield Site(hospital, ehr.fhir_base, ehr)


@pytest.fixture(scope="session")
def hapi_site(hapi: HapiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """HAPI FHIR 8.8.0 with the default policy: the EHR owns Patient and ServiceRequest."""
    folder: Path = tmp_path_factory.mktemp("hapi-hospital")
    with Hospital(
        folder, fhir_base=hapi.base_url, quiet_seconds=1, create_service_request=False, time_zone=ZONE
    ) as hospital:
        yield Site(hospital, hapi.base_url)


@pytest.fixture
def site(sekmet_site: Site) -> Site:
    """The bridge for tests that do not care which EHR it is."""
    return sekmet_site


@pytest.fixture(scope="session", params=["sekmet", "hapi"])
def either(request: pytest.FixtureRequest) -> Site:
    """Each of the two."""
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found
