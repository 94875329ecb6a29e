"""Fixtures for all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.results import Faults, Record

pytest_plugins = ["tests.peers.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the faults' own counts and lengths (make test-full)")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Faults(), "faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="only with --full"))


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether a test's counts are its fault's own, or what a quick run has time for."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Record:
    """`record("F38", "seconds until ...", 1.2, 10)`: what a fault came to, for docs/results (make test-full)."""
    faults: Faults = request.config.pluginmanager.get_plugin("faults")
    return faults.record


@pytest.fixture(params=["own", "pynetdicom"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The DICOM listener of a test that is about the wire: each of the two (`pytest.mark.usefixtures`)."""
    monkeypatch.setenv("BRIDGE_TEST_TRANSPORT", request.param)  # also of a listener in another process
    return str(request.param)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command run in this process sets up the whole process's log, and a foreign library may switch loggers off
    (`dictConfig` does, unless told otherwise); each test reads its own."""
    logging.disable(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("bridge") and isinstance(logger, logging.Logger):
            logger.disabled = False
    loggers = [logging.getLogger(name) for name in (None, "bridge", "pynetdicom", "pydicom", "hl7apy", "urllib3")]
    before = [(one, one.level, one.handlers[:]) for one in loggers]
    yield
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers
