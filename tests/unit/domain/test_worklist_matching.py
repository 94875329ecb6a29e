"""Worklist matching (PS3.4 C.2.2.2, K.4.1.1): each rule as a row, and a slow reference matcher beside the quick one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.identity import Identifier
from bridge.domain.keys import Kind, name_matches, text_matches, when_matches, wildcard
from bridge.domain.patient import PersonName, folded
from bridge.domain.told import told
from bridge.domain.worklist import Telling, WorklistEntry, WorklistKeys, matches
from bridge.domain.worklist_attributes import ATTRIBUTES

NAME = PersonName("Yamada^Tarou", "山田^太郎", "やまだ^たろう")


def entry(**changes: object) -> WorklistEntry:
    blank: dict[str, object] = {f.name: "" for f in fields(WorklistEntry)}
    blank |= {f.name: PersonName() for f in fields(WorklistEntry) if f.type == "PersonName"}
    blank |= {"step_pk": 1, "version": 1, "other_patient_ids": (), "allergies": (), "protocol_codes": ()}
    blank |= {"requested_procedure_code": None, "station_ae_titles": ("CT1", "CT2")}
    return replace(WorklistEntry(**blank), **changes)  # type: ignore[arg-type]


# -- text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("", "", True),
        ("", "A1", True),
        ("*", "", True),
        ("A1", "A1", True),
        ("A1", "a1", False),
        (" A1 ", "A1", True),
        ("A1", "A11", False),
        ("A1", "", False),
        ("A*", "A1", True),
        ("A*", "A", True),
        ("A?", "A1", True),
        ("A?", "A", False),
        ("*1", "A1", True),
        ("A.1", "AX1", False),
        ("A%", "A1", False),
        ("[A]1", "A1", False),
        ("S*", "", False),
        ("**", "", True),
        ("**", "A1", True),
    ],
)
def test_a_text_key(key: str, value: str, found: bool) -> None:
    assert text_matches(key, value) is found


def slow_wildcard(pattern: str, value: str) -> bool:
    if not pattern:
        return not value
    if pattern[0] == "*":
        return any(slow_wildcard(pattern[1:], value[i:]) for i in range(len(value) + 1))
    return bool(value) and pattern[0] in ("?", value[0]) and slow_wildcard(pattern[1:], value[1:])


@given(st.text(alphabet="ab*?", max_size=7), st.text(alphabet="ab*?", max_size=7))
def test_wild_cards_agree_with_the_plain_definition(pattern: str, value: str) -> None:
    assert wildcard(pattern, value) is slow_wildcard(pattern, value)


def test_a_hostile_pattern_looks_once_at_each_letter() -> None:
    class Counted(str):
        looks = 0

        def __iter__(self) -> Iterator[str]:
            for letter in str.__iter__(self):
                Counted.looks += 1
                yield letter

    assert wildcard("*a" * 40 + "b", Counted("a" * 1000)) is False
    assert Counted.looks == 1000


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("", True),
        ("*", True),
        ("^", True),
        ("=", True),
        ("==*", True),
        ("yamada^tarou", True),
        ("YAMADA^TAROU^^", True),
        ("Yamada*", True),
        ("Yamada", False),
        ("山田*", True),
        ("=山田*", True),
        ("山田^太郎=", False),
        ("==やまだ*", True),
        ("=Yamada*", False),
        ("Yamada*=山田*", True),
        ("Yamada*=田中*", False),
        ("Tarou*", False),
        ("Yamada^*", True),
        ("*^*", True),
        ("*^Tarou", True),
        ("Yamada^*^*", True),
    ],
)
def test_a_person_name_key(key: str, found: bool) -> None:
    assert name_matches(key, NAME) is found


@pytest.mark.parametrize(
    ("key", "stored", "found"),
    [
        ("muller*", "Müller^Jürgen", True),
        ("MÜLLER^JURGEN", "Müller^Jürgen", True),
        ("=*", "Doe^Jane", True),
        ("S*", "", False),
        ("*^*", "", True),
        ("*=*=*", "", True),
        ("Madonna^*", "Madonna", True),
        ("Madonna^*", "Madonna^Louise", True),
        ("Madonna^L*", "Madonna", False),
        ("Madonna^*", "Madonnas", False),
        ("Strasse^A", "Straße^A", True),
    ],
)
def test_case_and_accents_of_a_name_do_not_count(key: str, stored: str, found: bool) -> None:
    assert name_matches(key, PersonName(stored)) is found


@pytest.mark.parametrize(("one", "other"), [("カトウ", "ガトウ"), ("ハン", "バン"), ("はん", "ぱん")])
def test_a_voicing_mark_of_kana_is_no_accent(one: str, other: str) -> None:
    """Without it two people would be one."""
    assert folded(one) != folded(other)


def test_a_question_mark_stands_for_one_character_of_a_name() -> None:
    assert name_matches("?トウ", PersonName("ガトウ"))
    assert name_matches("김?", PersonName("김민"))


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


SPELT = {"Иванов^Иван": "Ivanov^Ivan", "Müller^Jürgen": "Mueller^Juergen"}


def spell(name: str) -> str:
    return SPELT.get(name, name)


@pytest.mark.parametrize(
    ("key", "stored", "found"),
    [
        ("IVANOV*", "Иванов^Иван", True),
        ("Иванов*", "Иванов^Иван", True),
        ("PETROV*", "Иванов^Иван", False),
        ("MUELLER*", "Müller^Jürgen", True),
        ("MULLER*", "Müller^Jürgen", True),
        ("IVANOV*", "", False),
    ],
)
def test_a_name_is_found_as_a_device_that_lacks_its_letters_is_told_it(key: str, stored: str, found: bool) -> None:
    assert (
        matches(WorklistKeys(patient_name=key), entry(patient_name=PersonName(stored)), Telling(spell=spell)) is found
    )


def test_each_name_is_found_either_way_in_one_query() -> None:
    shown = entry(patient_name=PersonName("Иванов^Иван"), requesting_physician=PersonName("Müller^Jürgen"))
    assert matches(WorklistKeys(patient_name="IVANOV*", requesting_physician="MÜLLER*"), shown, Telling(spell=spell))


# -- dates and times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date_key", "time_key", "date", "at", "found"),
    [
        ("", "", "20260706", "120000", True),
        ("20260706", "", "20260706", "120000", True),
        ("20260706", "", "20260707", "120000", False),
        ("20260705-20260707", "", "20260707", "235959", True),
        ("20260706-", "", "20260705", "", False),
        ("-20260706", "", "20260706", "", True),
        ("20260706", "", "", "", False),
        # one interval: from the 5th 10:00 to the 7th 18:00
        ("20260705-20260707", "1000-1800", "20260706", "030000", True),
        ("20260705-20260707", "1000-1800", "20260705", "095959", False),
        ("20260705-20260707", "1000-1800", "20260705", "100000", True),
        ("20260705-20260707", "1000-1800", "20260707", "180059", True),
        ("20260705-20260707", "1000-1800", "20260707", "190000", False),
        ("20260705-", "1000-", "20260705", "093000", False),
        ("20260705-", "1000-", "20260706", "000000", True),
        ("-20260707", "-1800", "20260707", "180000", True),
        ("-20260707", "-1800", "20260707", "200000", False),
        ("20260705-20260707", "2200-0600", "20260706", "120000", True),
        # a single date with a time range: each by itself
        ("20260706", "1000-1800", "20260706", "120000", True),
        ("20260706", "1000-1800", "20260706", "090000", False),
        ("", "1000-1800", "20260706", "180059", True),
        ("", "1000-1800", "20260706", "", False),
        ("", "2230", "20260706", "223000", True),
        ("", "223000", "20260706", "223000", True),
        ("", "2230", "20260706", "223100", False),
        ("", "10", "20260706", "105959", True),
    ],
)
def test_a_scheduled_start(date_key: str, time_key: str, date: str, at: str, found: bool) -> None:
    assert when_matches(date_key, time_key, date, at) is found


days = st.integers(1, 28).map(lambda d: f"202607{d:02}")
times = st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59)).map(
    lambda t: "".join(f"{part:02}" for part in t)
)


@given(days, days, times, times, days, times)
def test_two_ranges_are_one_interval(d1: str, d2: str, t1: str, t2: str, date: str, at: str) -> None:
    inside = d1 + t1 <= date + at <= d2 + t2
    assert when_matches(f"{d1}-{d2}", f"{t1}-{t2}", date, at) is inside


# -- the whole request --------------------------------------------------------------------------------------------


def test_every_key_narrows_by_itself() -> None:
    """A key that is read and never compared would show every patient of the hospital."""
    for name, attribute in ATTRIBUTES.items():
        part = next(iter(attribute.items or ()), "")
        key: Any = {Kind.UIDS: ("1.2.3",), Kind.ITEMS: ((part, "X"),)}.get(attribute.kind, "20990101")
        assert not matches(WorklistKeys(**{name: key}), entry()), name


def test_every_key_has_its_attribute() -> None:
    assert {key.name for key in fields(WorklistKeys)} == {*ATTRIBUTES, "fuzzy"}


def test_a_station_key_takes_any_of_the_steps_stations() -> None:
    assert matches(WorklistKeys(station_ae_title="CT2"), entry())
    assert not matches(WorklistKeys(station_ae_title="ct2"), entry())


def test_a_list_of_uids_takes_any_of_them() -> None:
    keys = WorklistKeys(study_instance_uids=("1.2", "1.3"))
    assert matches(keys, entry(study_instance_uid="1.3"))
    assert not matches(keys, entry(study_instance_uid="1.4"))


def test_an_old_number_of_the_patient_finds_nothing() -> None:
    moved = entry(patient_id="1001", other_patient_ids=(Identifier("TMP7", "HOSP"),))
    assert not matches(WorklistKeys(patient_id="TMP7"), moved)


def test_every_key_must_hold_at_once() -> None:
    one = entry(patient_id="1001", modality="CT")
    assert matches(WorklistKeys(patient_id="1001", modality="CT"), one)
    assert not matches(WorklistKeys(patient_id="1001", modality="MR"), one)


def test_a_patient_id_too_long_for_dicom_is_matched_by_its_alias() -> None:
    long = entry(patient_id="9" * 70)
    assert matches(WorklistKeys(patient_id=told("9" * 70)), long)
    assert not matches(WorklistKeys(patient_id=told("9" * 71)), long)
