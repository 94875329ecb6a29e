"""What a scanner can read is a setting of it: its own set, the alphabetic group, the table, UTF-8; never `?`."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence

from bridge.config import CHARACTER_SETS, MULTI_BYTE_SETS, Dicom, DicomPeer
from bridge.dicom.charset import NOT_READABLE, settle
from bridge.errors import BadValue
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.mapping.transliteration import Transliteration
from tests.unit.dicom.iso2022 import decoded
from tests.unit.dicom.support import encoded

PATIENT_NAME, DESCRIPTION, ACCESSION = 0x00100010, 0x00321060, 0x00080050
YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"
HONG = "Hong^Gildong=洪^吉洞=홍^길동"


@pytest.fixture(scope="module")
def table() -> Transliteration:
    from zoneinfo import ZoneInfo

    from bridge.domain.identity import Issuers

    return Mappings.load(default_directory(), None, MappingContext(ZoneInfo("UTC"), Issuers(()))).transliteration


def entry(name: str = "DOE^JANE", description: str = "", **more: Any) -> Dataset:
    made = Dataset()
    made.AccessionNumber = "A1"
    made.PatientName = name
    made.RequestedProcedureDescription = description
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def told(
    character_set: str, table: Transliteration, *, utf8: bool = False, asked: bool = False, **values: Any
) -> tuple[str, dict[int, str]]:
    """(0008,0005) and the texts, as a decoder of our own reads them from the bytes."""
    data = entry(**values)
    settle(data, character_set, asked=asked, utf8=utf8, table=table)
    raw = read_dataset(BytesIO(encoded(data)), is_implicit_VR=False, is_little_endian=True)
    values_of = ((int(tag), raw.get_item(tag)) for tag in sorted(raw.keys()))
    found = {tag: bytes(element.value or b"").rstrip(b" ") for tag, element in values_of if element is not None}
    declared = found.pop(0x00080005, b"").decode()
    return declared, {tag: decoded(value, declared, name=tag == PATIENT_NAME) for tag, value in found.items()}


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "MÜLLER^JÜRGEN"),
        ("ISO_IR 101", "ŁUKASIEWICZ^JÓZEF"),
        ("ISO_IR 126", "Παπαδόπουλος^Νίκος"),
        ("ISO_IR 144", "Иванов^Иван"),
        ("ISO_IR 148", "ŞAHİN^IŞIL"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO_IR 166", "สมชาย^ใจดี"),
        ("ISO_IR 192", YAMADA),
        ("GB18030", "Zhang^San=张^三"),
        ("\\ISO 2022 IR 87", YAMADA),
        ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        ("\\ISO 2022 IR 87\\ISO 2022 IR 159", "Ryu=丂^太郎"),
        ("\\ISO 2022 IR 87", "Sogo=十河^出住"),
        ("\\ISO 2022 IR 149", HONG),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", "MÜLLER^Иван"),
    ],
)
def test_a_name_is_told_whole_in_the_devices_own_set(character_set: str, name: str, table: Transliteration) -> None:
    assert told(character_set, table, name=name) == (character_set, told("ISO_IR 192", table, name=name)[1])


def test_korean_is_designated_again_after_each_delimiter() -> None:
    data = entry(HONG)
    settle(data, "\\ISO 2022 IR 149", asked=False)
    assert encoded(data).count(b"\x1b$)C") == 4


def test_a_device_without_ideographs_gets_the_alphabetic_group(table: Transliteration) -> None:
    assert told("ISO_IR 100", table, name=YAMADA, description="Schädel") == (
        "ISO_IR 100",
        {ACCESSION: "A1", PATIENT_NAME: "Yamada^Tarou", DESCRIPTION: "Schädel"},
    )


def test_a_name_that_the_device_can_read_keeps_its_groups_beside_one_that_it_cannot(table: Transliteration) -> None:
    data = entry(YAMADA, ReferringPhysicianName=HONG)
    settle(data, "\\ISO 2022 IR 87", asked=False, utf8=False, table=table)
    assert (str(data.PatientName), str(data.ReferringPhysicianName)) == (YAMADA, "Hong^Gildong")


@pytest.mark.parametrize(
    ("character_set", "name", "spelt"),
    [
        ("", "MÜLLER^Jürgen", "MUELLER^Juergen"),
        ("ISO_IR 6", "Øst^Åse Þóra", "Oest^Aase Thora"),
        ("ISO_IR 100", "ŁUKASIEWICZ^Józef", "LUKASIEWICZ^Józef"),
        ("ISO_IR 100", "Dvořák^Jiří", "Dvorák^Jirí"),
        ("ISO_IR 100", "ŞAHİN^Işıl", "SAHIN^Isil"),
        ("ISO_IR 100", "Щедрин^Юлия", "Shchedrin^Iuliia"),
        ("ISO_IR 100", "ЩЕДРИН^ЮЛИЯ", "SHCHEDRIN^IULIIA"),
        ("ISO_IR 100", "Παπαδόπουλος^Ευθύμιος", "Papadopoulos^Efthymios"),
        ("ISO_IR 100", "Nguyễn^Văn", "Nguyen^Van"),
        ("ISO_IR 101", "Østergård^Łucja", "Oestergaard^Łucja"),
        ("ISO_IR 6", "Müller^Jürgen=", "Mueller^Juergen"),
    ],
)
def test_letters_that_the_device_lacks_are_spelt_by_the_table(
    character_set: str, name: str, spelt: str, table: Transliteration
) -> None:
    assert told(character_set, table, name=name)[1][PATIENT_NAME] == spelt


def test_what_is_plain_after_spelling_names_no_character_set(table: Transliteration) -> None:
    assert told("ISO_IR 100", table, name="Иванов^Иван")[0] == ""


def test_texts_are_spelt_to_the_length_of_their_type(table: Transliteration) -> None:
    shown = told("ISO_IR 100", table, description="Щ" * 64)[1][DESCRIPTION]
    assert shown == ("SHCH" * 64)[:61] + "..."


@pytest.mark.parametrize(
    "values",
    [
        {"name": "李^明"},
        {"name": "=山田^太郎"},
        {"AccessionNumber": "А1"},  # Cyrillic: spelt otherwise it would be another number
        {"Allergies": ["penicillin", "青霉素"]},
    ],
)
def test_what_cannot_be_told_comes_in_utf_8_where_the_device_may_have_that(
    values: dict[str, Any], table: Transliteration
) -> None:
    declared, texts = told("ISO_IR 100", table, utf8=True, **values)
    assert declared == "ISO_IR 192"
    assert texts == told("ISO_IR 192", table, **values)[1]
    with pytest.raises(BadValue) as refused:
        told("ISO_IR 100", table, utf8=False, **values)
    assert refused.value.code == NOT_READABLE


def test_the_tag_to_blame_is_named_and_the_answer_left_as_it_was(table: Transliteration) -> None:
    data = entry("Иванов^Иван", ScheduledProcedureStepSequence=Sequence([entry("李^明")]))
    with pytest.raises(BadValue) as refused:
        settle(data, "ISO_IR 100", asked=True, utf8=False, table=table)
    assert refused.value.where == "(0010,0010)"
    assert "SpecificCharacterSet" not in data
    assert str(data.PatientName) == "Иванов^Иван"


def test_a_device_that_reads_nothing_more_is_set_by_its_row() -> None:
    dicom = Dicom(utf8=False, peer=(DicomPeer(ae_title="CT1", utf8=True),))
    assert (dicom.peer_of("CT1").utf8, dicom.peer_of("CT2").utf8) == (True, False)


def test_a_row_that_names_no_character_set_has_the_sites() -> None:
    dicom = Dicom(character_set="ISO_IR 100", utf8=False, peer=(DicomPeer(ae_title="CT1"),))
    assert (dicom.peer_of("CT1").character_set, dicom.peer_of("CT1").utf8) == ("ISO_IR 100", False)


def test_a_row_that_names_a_character_set_alone_has_the_sites_word_on_utf_8() -> None:
    dicom = Dicom(character_set="ISO_IR 100", utf8=False, peer=(DicomPeer(ae_title="CT1", character_set="ISO_IR 144"),))
    assert (dicom.peer_of("CT1").character_set, dicom.peer_of("CT1").utf8) == ("ISO_IR 144", False)


def test_a_row_that_names_the_built_in_character_set_has_that() -> None:
    dicom = Dicom(character_set="ISO_IR 100", peer=(DicomPeer(ae_title="CT1", character_set="ISO_IR 192"),))
    assert dicom.peer_of("CT1").character_set == "ISO_IR 192"


@pytest.mark.parametrize("value", ["KLINGON", "ISO_IR 192\\ISO 2022 IR 87", "ISO 2022 IR 58", "ISO 2022 IR 87"])
def test_a_character_set_that_cannot_be_written_is_a_fault_of_the_settings(value: str) -> None:
    with pytest.raises(ValueError, match=r"C\.12\.1\.1\.2"):
        DicomPeer(ae_title="CT1", character_set=value)


SETS = st.sampled_from(
    [
        *sorted(CHARACTER_SETS - MULTI_BYTE_SETS),
        *("\\ISO 2022 IR 87", "ISO 2022 IR 13\\ISO 2022 IR 87", "\\ISO 2022 IR 87\\ISO 2022 IR 159"),
        *("\\ISO 2022 IR 149", "ISO 2022 IR 100\\ISO 2022 IR 144", "ISO 2022 IR 101\\ISO 2022 IR 126"),
    ]
)
LETTERS = st.one_of(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\\^="),
    st.sampled_from("äöüßÅåØłŁžğİıЩюΨαυθ’ﾔﾏﾞ山田十河太郎やまだ홍길동洪张三丂 AZaz?"),
)
WORD = st.text(LETTERS, max_size=8).map(str.strip)
GROUP = st.lists(WORD, max_size=3).map("^".join)
NAME = st.lists(GROUP, min_size=1, max_size=3).map("=".join)


@settings(max_examples=200, deadline=None)
@given(SETS, NAME, WORD, st.booleans(), st.booleans())
def test_whatever_comes_is_told_so_that_it_reads_back_or_not_at_all(
    table: Transliteration, character_set: str, name: str, description: str, utf8: bool, asked: bool
) -> None:
    data = entry(name, description)
    try:
        settle(data, character_set, asked=asked, utf8=utf8, table=table)
    except BadValue as refusal:
        assert (refusal.code, utf8) == (NOT_READABLE, False)
        return
    wanted = {PATIENT_NAME: str(data.PatientName), DESCRIPTION: data.RequestedProcedureDescription}
    declared, texts = told(character_set, table, utf8=utf8, asked=asked, name=name, description=description)
    for tag, sent in ((PATIENT_NAME, name), (DESCRIPTION, description)):
        assert texts[tag].rstrip() == wanted[tag].rstrip()
        assert texts[tag].count("?") <= sent.count("?")
        assert "\ufffd" not in texts[tag] or "\ufffd" in sent
    if declared == "ISO_IR 192":
        assert wanted == {PATIENT_NAME: str(entry(name).PatientName), DESCRIPTION: description}
    if name.strip("^= "):
        assert texts[PATIENT_NAME].strip("^= ")  # no patient loses the whole name
