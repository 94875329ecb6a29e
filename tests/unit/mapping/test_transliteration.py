"""The declared table of letters: a site lays its own over it, and every fault is told with its line."""

from __future__ import annotations

import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.identity import Issuers
from bridge.errors import ConfigurationError
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.mapping.transliteration import Transliteration


def table(folder: Path, overlay: str = "") -> Transliteration:
    directory = folder / "mappings"
    shutil.copytree(default_directory(), directory)
    (directory / "sites" / "here.yaml").write_text(overlay, encoding="utf-8")
    context = MappingContext(ZoneInfo("UTC"), Issuers(()))
    return Mappings.load(directory, "here", context).transliteration


def test_a_site_lays_its_own_spelling_over_by_key(tmp_path: Path) -> None:
    turkish = table(tmp_path, "dicom/transliteration:\n  latin:\n    letters: {Ö: O, ü: u}\n")
    assert turkish.plain("ÖZGÜR Özgür Åse") == "OZGUR Ozgur Aase"


def test_only_what_the_device_lacks_is_spelt(tmp_path: Path) -> None:
    assert table(tmp_path).spell("Jürgen Łucja", lambda letter: ord(letter) < 256) == "Jürgen Lucja"


def test_without_accents_kana_would_be_somebody_else(tmp_path: Path) -> None:
    assert table(tmp_path).spell("ガトウ", "カトウ".__contains__) is None


@pytest.mark.parametrize(
    ("overlay", "fault"),
    [
        ("dicom/transliteration:\n  latin:\n    letters: {ö: 'o^e'}\n", "here.yaml:3: 'ö' is spelt in printable ASCII"),
        ("dicom/transliteration:\n  latin:\n    letters: {ö: '?'}\n", "here.yaml:3: 'ö' is spelt in printable ASCII"),
        ("dicom/transliteration:\n  latin:\n    other_marks: lose\n", "here.yaml:3: 'other_marks' is one of"),
        ("dicom/transliteration:\n  thai:\n    letters: {ก: k}\n", "here.yaml:2: 'thai' names no source"),
        ("dicom/transliteration:\n  latin:\n    letter: {ö: o}\n", "here.yaml:3: the key 'letter' is not known"),
        ("dicom/transliteration:\n  latin:\n    letters: [ö]\n", "here.yaml:3: 'letters' maps letters"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, overlay: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        table(tmp_path, overlay)
    assert fault in str(refused.value)


SHIPPED = Mappings.load(default_directory(), None, MappingContext(ZoneInfo("UTC"), Issuers(()))).transliteration


@given(st.text(max_size=20))
def test_whatever_is_spelt_is_known_to_the_device(text: str) -> None:
    told = SHIPPED.spell(text, str.isascii)
    assert told is None or (told.isascii() and told.count("?") == text.count("?"))
