from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.launch_site import Site, launch_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with launch_site(tmp_path) as site:
        yield site
