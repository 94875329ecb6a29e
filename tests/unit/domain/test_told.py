"""Values too long for DICOM: an alias for identifiers, visibly shortened words."""

from __future__ import annotations

from bridge.domain.told import alias, is_alias, shortened, told, told_id


def test_an_identifier_that_fits_is_told_as_it_is() -> None:
    assert told("4711") == "4711" and told("9" * 64) == "9" * 64


def test_an_alias_is_the_same_for_the_same_value_and_another_for_another() -> None:
    long, other = "9" * 70, "9" * 69 + "8"
    assert told(long) == alias(long) == told(long) != told(other)
    assert is_alias(told(long)) and len(told(long)) == 16


def test_words_that_fit_are_told_whole() -> None:
    assert shortened("x" * 64, 64) == "x" * 64


def test_words_that_do_not_fit_end_in_a_mark() -> None:
    assert shortened("x" * 65, 64) == "x" * 61 + "..."


def test_a_letter_keeps_its_accent_or_goes_with_it() -> None:
    assert shortened("a" * 12 + "e\u0301" + "b" * 9, 16) == "a" * 12 + "..."


def test_an_id_of_more_than_sixteen_characters_gets_an_alias() -> None:
    assert (told_id("A" * 16), told_id("A" * 17)) == ("A" * 16, alias("A" * 17))
