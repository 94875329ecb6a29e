"""docs/conformance-hl7.md and docs/conformance-dicom.md say what runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hl7apy.v2_5_1.messages import MESSAGES  # type: ignore[import-untyped]

from bridge.app import load_mappings
from bridge.config import Settings
from bridge.dicom import model, mpps_table, policy
from bridge.dicom import statement as dicom
from bridge.domain.appointment import EVENTS as APPOINTMENT_EVENTS
from bridge.hl7 import ack, charset
from bridge.hl7.read import ORDER_EVENTS, REPORT_EVENTS
from bridge.hl7.read_patients import PATIENT_EVENTS
from bridge.hl7.statement import CHARSET_NAMES, STRUCTURES, statement
from bridge.mapping.apply import Section
from tests.unit.cli.site import OnDisk

COMMITTED = Path(__file__).parents[3] / "docs" / "conformance-hl7.md"
DICOM = COMMITTED.with_name("conformance-dicom.md")


@pytest.fixture(scope="module")
def said() -> str:
    return statement(load_mappings(Settings()))


def test_the_committed_statement_is_what_runs(said: str) -> None:
    assert COMMITTED.read_text() == said, "bridge --config /none mappings statement > docs/conformance-hl7.md"


def test_the_command_prints_it(tmp_path: Path, said: str) -> None:
    assert OnDisk(tmp_path / "site").run("mappings", "statement").output == said


def test_the_command_tells_a_sites_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.app.default_directory", lambda: _overlaid(tmp_path))
    site = OnDisk(tmp_path / "site")
    site.config.write_text('site.mapping_overlay = "mine"\n' + site.config.read_text())
    assert "ZZMAGNET = MR" in site.run("mappings", "statement").output


def _overlaid(folder: Path) -> Path:
    """The shipped mappings with one site."""
    shipped, made = COMMITTED.parents[1] / "mappings", folder / "mappings"
    (made / "sites").mkdir(parents=True, exist_ok=True)
    for child in shipped.iterdir():
        if child.name != "sites" and not (made / child.name).exists():
            (made / child.name).symlink_to(child)
    (made / "sites" / "mine.yaml").write_text("codes/modality:\n  codes: {ZZMAGNET: MR}\n")
    return made


def test_every_event_that_is_taken_has_a_structure_of_the_standard() -> None:
    taken = (ORDER_EVENTS | REPORT_EVENTS | PATIENT_EVENTS | APPOINTMENT_EVENTS) - {""}
    assert set(STRUCTURES) == taken
    assert set(STRUCTURES.values()) <= set(MESSAGES)


def test_every_character_set_is_named_once() -> None:
    assert sorted(charset._key(name) for name in CHARSET_NAMES) == sorted({"ASCII", *charset._SETS} - {"", "ISOIR6"})


def test_every_row_of_the_mappings_is_told(said: str) -> None:
    mappings = load_mappings(Settings())
    sections = [one for name in mappings.__slots__ if isinstance(one := getattr(mappings, name), Section)]
    rows = [
        f"| `{r.name}` | {', '.join(str(p) for p, _ in r.paths)} | `{r.as_name}` |" for s in sections for r in s.rules
    ]
    assert [row for row in rows if row not in said] == []


@pytest.mark.parametrize("word", [*ack.BY_CODE, *(kind.code for kind in ack.BY_CLASS)])
def test_every_fault_has_its_answer(said: str, word: str) -> None:
    chapter = said.partition("### Codes")[2].partition("### When")[0]
    assert f"`{word}`" in chapter


# DICOM


@pytest.fixture(scope="module")
def of_dicom() -> str:
    return dicom.statement(Settings(), load_mappings(Settings()))


def test_the_committed_dicom_statement_is_what_runs(of_dicom: str) -> None:
    assert DICOM.read_text() == of_dicom, "bridge --config /none mappings statement dicom > docs/conformance-dicom.md"


def test_the_dicom_statement_is_printed_with_the_sites_settings(tmp_path: Path) -> None:
    site = OnDisk(tmp_path / "site")
    site.config.write_text(site.config.read_text() + '\n[dicom]\nae_title = "NORTHERN"\nunknown_peers = []\n')
    said = site.run("mappings", "statement", "dicom").output
    assert "One AE, `NORTHERN`" in said and "One without a row may: nothing" in said


@pytest.mark.parametrize("uid", sorted({*policy._OPERATION}))
def test_every_service_is_told(of_dicom: str, uid: str) -> None:
    assert f" {uid} |" in of_dicom


@pytest.mark.parametrize("tag", [*model.TOP, *model.STEP])
def test_every_attribute_of_the_worklist_is_told(of_dicom: str, tag: int) -> None:
    chapter = of_dicom.partition("### 3.5")[2].partition("### 3.6")[0]
    assert f"| ({tag >> 16:04X},{tag & 0xFFFF:04X}) |" in chapter


def test_every_attribute_of_a_performed_step_is_told(of_dicom: str) -> None:
    chapter = of_dicom.partition("### 3.6")[2].partition("### 3.7")[0]
    assert [row.tag for row in mpps_table.TABLE if mpps_table.where(row.tag) not in chapter] == []
