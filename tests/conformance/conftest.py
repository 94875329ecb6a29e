"""The bridge's application entity over services that a test can look into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.dicom.ae import DicomServer
from tests.unit.dicom.support import FakeServices, serving


@pytest.fixture
def services() -> FakeServices:
    return FakeServices()


@pytest.fixture
def server(tmp_path: Path, services: FakeServices) -> Iterator[DicomServer]:
    with serving(tmp_path, services) as started:
        yield started
