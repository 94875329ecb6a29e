"""Fixtures for all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.peers.fixtures"]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command run in this process sets up the whole process's log; the next test reads its own."""
    loggers = [logging.getLogger(name) for name in (None, "bridge", "pynetdicom", "pydicom", "hl7apy", "urllib3")]
    before = [(one, one.level, one.handlers[:]) for one in loggers]
    yield
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers
