"""Fixtures of the foreign peers; tests/conftest.py names this module in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.peers.browser import chromium
from tests.peers.hapi import FhirValidator, HapiServer


@pytest.fixture(scope="session")
def hapi() -> Iterator[HapiServer]:
    with HapiServer() as server:
        yield server


@pytest.fixture
def empty_hapi(hapi: HapiServer) -> HapiServer:
    """The session's HAPI server, emptied for this test."""
    hapi.reset()
    return hapi


@pytest.fixture(scope="session")
def fhir_validator() -> Iterator[FhirValidator]:
    with FhirValidator() as validator:
        yield validator


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running
