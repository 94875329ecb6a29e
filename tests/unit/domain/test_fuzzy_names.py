"""Names that resemble the one asked for: what fuzzy matching finds, what it does not, and never less than without."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.fuzzy import MOST_WORDS, fuzzy_test
from bridge.domain.keys import name_matches
from bridge.domain.patient import PersonName
from bridge.domain.worklist import Telling, WorklistKeys, matches
from tests.unit.dicom.support import entry


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("jane doe", "DOE^JANE^Q"),
        ("Doe", "DOE^JANE"),
        ("JANE", "DOE^JANE"),
        ("Doe J", "DOE^JANE"),
        ("D^Ja", "DOE^JANE"),
        ("Jones", "SMITH-JONES^ANNA"),
        ("Smithjones", "SMITH-JONES^ANNA"),
        ("Smith Jones", "SMITHJONES^ANNA"),
        ("van der Berg", "VANDERBERG^PIET"),
        ("obrien", "O'BRIEN^PAT"),
        ("O’Brien", "OBRIEN^PAT"),
        ("mueller", "Müller^Jürgen"),
        ("Muller", "Müller^Jürgen"),
        ("Meyer", "MAIER^HANS"),
        ("Schmitt", "SCHMIDT^ANNA"),
        ("Stefan", "KLEIN^STEPHAN"),
        ("Hofman", "HOFFMANN^ANNA"),
        ("Karl", "GROSS^CARL"),
        ("山田太郎", "Yamada^Tarou=山田^太郎"),
        ("ヤマダ", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("D?E J*", "DOE^JANE"),
        ("ann ann", "ANN^ANNA"),
    ],
)
def test_a_name_that_resembles_is_found(key: str, stored: str) -> None:
    assert fuzzy_test(key)(PersonName.from_dicom(stored))


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("Roe", "DOE^JANE"),
        ("Jane Roe", "DOE^JANE"),
        ("ann ann", "ANN^BEA"),
        ("Doe Jane Doe", "DOE^JANE"),
        ("ane", "DOE^JANE"),
        ("Doe", ""),
        ("カトウ", "=ガトウ"),
        ("K", "CARL^X"),
        ("Aaa", "BELL^A"),
    ],
)
def test_another_name_is_not(key: str, stored: str) -> None:
    assert not fuzzy_test(key)(PersonName.from_dicom(stored))


def test_the_sites_own_spelling_counts() -> None:
    spell = {"Иванов^Иван": "Ivanov^Ivan"}.get
    assert fuzzy_test("ivan ivanov", lambda name: spell(name, name))(PersonName("Иванов^Иван"))


def test_names_are_compared_so_only_when_the_query_says_so() -> None:
    of = entry(patient_name=PersonName("DOE^JANE"))
    assert not matches(WorklistKeys(patient_name="jane doe"), of)
    assert matches(WorklistKeys(patient_name="jane doe", fuzzy=True), of)


def test_a_name_that_is_not_known_is_found_by_no_real_key() -> None:
    of = entry(patient_name=PersonName())
    assert not matches(WorklistKeys(patient_name="d", fuzzy=True), of)


def test_words_other_than_names_are_never_fuzzy() -> None:
    of = entry(step_description="HEAD NATIVE")
    assert not matches(WorklistKeys(step_description="native head", fuzzy=True), of)


names = st.text("abcdeéü-' ^=山", max_size=14)


@given(st.text("abcdeé*? ^=山", max_size=10), names)
def test_what_a_literal_key_finds_a_fuzzy_one_finds_too(key: str, stored: str) -> None:
    of = entry(patient_name=PersonName.from_dicom(stored))
    if matches(WorklistKeys(patient_name=key), of, Telling()):
        assert matches(WorklistKeys(patient_name=key, fuzzy=True), of)


def one_by_one(asked: list[str], words: list[str]) -> bool:
    """The plain definition, by trying every assignment."""
    if not asked:
        return True
    return any(
        word.startswith(asked[0]) and one_by_one(asked[1:], words[:at] + words[at + 1 :])
        for at, word in enumerate(words)
    )


@given(
    st.lists(st.text("ab", min_size=1, max_size=2), max_size=4),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=4),
)
def test_each_word_of_the_key_has_a_word_of_its_own(asked: list[str], words: list[str]) -> None:
    name = PersonName(" ".join(words))
    joined = "".join(words).startswith("".join(asked))
    assert fuzzy_test(" ".join(asked))(name) is (bool(asked) and bool(words) and (joined or one_by_one(asked, words)))


def test_a_key_of_more_words_than_a_name_has_is_literal() -> None:
    many = " ".join("ab" for _ in range(MOST_WORDS + 1))
    assert not fuzzy_test(many)(PersonName(many))
    assert name_matches(many, PersonName(many))


def test_a_hostile_key_costs_no_time() -> None:
    fits = fuzzy_test(" ".join(["a*?*a"] * MOST_WORDS))
    name = PersonName(*(" ".join(["aaa"] * 16) + "b" for _ in range(3)))
    began = time.perf_counter()
    for _ in range(20):
        fits(name)
    assert time.perf_counter() - began < 2
