"""The worked example of docs/mapping.md says what the program says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.cli.site import OnDisk

DOCS = Path(__file__).parents[3] / "docs" / "mapping.md"


def block(name: str) -> str:
    found = re.search(rf"<!-- tested: {re.escape(name)} -->\n```\w*\n(.*?)```", DOCS.read_text(), re.S)
    assert found, name
    return found[1]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnDisk:
    made = OnDisk(tmp_path / "site")
    made.config.write_text(made.config.read_text() + '[[station]]\nae_titles = ["DX1"]\nmodality = "DX"\n')
    monkeypatch.chdir(tmp_path)
    Path("order.hl7").write_bytes(block("order.hl7").replace("\n", "\r").encode())
    Path("new.yaml").write_text(block("new.yaml"))
    return made


def plain(text: str) -> list[str]:
    """Lines without the width of their columns and without line numbers of shipped files, which move."""
    lines = (re.sub(r"((?:hl7|codes)/\w+\.yaml):\d+", r"\1:N", line) for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def missing(name: str, output: str) -> list[str]:
    said = plain(output)
    return [line for line in plain(block(name)) if line not in said]


def test_the_order_is_explained_as_the_docs_say(site: OnDisk) -> None:
    assert missing("explain", site.run("explain", "order.hl7").output) == []


def test_the_overlay_of_the_docs_has_no_fault(site: OnDisk) -> None:
    assert site.run("mappings", "check", "--overlay", "new.yaml").exit_code == 0


def test_a_fault_is_told_as_the_docs_say(site: OnDisk) -> None:
    Path("new.yaml").write_text(block("new.yaml").replace("ZAC-1", "ZAC_1"))
    assert missing("faults", site.run("mappings", "check", "--overlay", "new.yaml").output) == []


def test_the_difference_is_the_one_of_the_docs(site: OnDisk) -> None:
    site.store(Path("order.hl7").read_bytes())
    assert missing("diff", site.run("mappings", "diff", "--overlay", "new.yaml").output) == []
