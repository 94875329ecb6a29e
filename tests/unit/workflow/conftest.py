"""A fresh bridge for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.workflow.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """A bridge with settings of the test's own."""
    made: list[House] = []

    def make(**changes: Any) -> House:
        made.append(House(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        one.database.close()
