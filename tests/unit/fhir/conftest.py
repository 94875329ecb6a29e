"""A scripted server, and the client and EHR that talk to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.config import Ehr
from bridge.domain.identity import Issuers
from bridge.fhir.client import FhirClient
from bridge.fhir.ehr import FhirEhr
from tests.unit.fhir.content import ISSUERS
from tests.unit.fhir.script import Script, serve


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script("")
    server = serve(script)
    yield script
    server.shutdown()
    server.server_close()


@pytest.fixture
def elsewhere() -> Iterator[Script]:
    """A server at another origin."""
    script = Script("")
    server = serve(script)
    yield script
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(script: Script, tmp_path: Path) -> Ehr:
    (tmp_path / "token").write_text("s3cret\n")
    return Ehr(name="ehr", fhir_base=script.url + "/fhir", token_file=tmp_path / "token", timeout_seconds=0.5)


@pytest.fixture
def client(settings: Ehr) -> FhirClient:
    return FhirClient(settings)


@pytest.fixture
def issuers() -> Issuers:
    return ISSUERS


@pytest.fixture
def ehr(settings: Ehr, issuers: Issuers) -> FhirEhr:
    return FhirEhr(settings, issuers, "https://images.example/dicom-web", sleep=lambda seconds: None)
