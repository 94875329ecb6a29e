"""Every error has a status, and none of them says success."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import errors
from bridge.dicom import status


def _all(kind: type[errors.BridgeError]) -> Iterator[type[errors.BridgeError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == "bridge.errors":
            yield from _all(child)


ALL = sorted(set(_all(errors.BridgeError)), key=lambda kind: kind.__name__)


def _make(kind: type[errors.BridgeError]) -> errors.BridgeError:
    return kind(["a fault"]) if kind is errors.ConfigurationError else kind("a fault", where="(0010,0020)")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_class_stands_in_the_table(kind: type[errors.BridgeError]) -> None:
    assert kind in status.TABLE


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_no_error_is_answered_with_success_or_pending(kind: type[errors.BridgeError]) -> None:
    assert not {0x0000, 0xFF00, 0xFF01, 0xFE00} & set(status.TABLE[kind])


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_error_comment_fits_its_64_characters(kind: type[errors.BridgeError]) -> None:
    error = _make(kind)
    for answer in (status.find_status(error), status.store_status(error), status.step_status(error)):
        assert len(answer.ErrorComment) <= 64


def test_a_foreign_exception_does_not_put_its_text_on_the_wire() -> None:
    answer = status.find_status(ValueError("DOE^JANE"))
    assert (answer.Status, answer.ErrorComment) == (0xC001, "internal error")


def test_a_bad_key_names_the_offending_element() -> None:
    answer = status.find_status(errors.BadValue("not a date", where="(0040,0002)"))
    assert (answer.Status, answer.OffendingElement) == (0xA900, 0x00400002)


def test_a_final_step_answers_0110_with_error_id_a710() -> None:
    answer = status.step_status(errors.StateConflict("final"))
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)


def test_a_known_step_answers_0111() -> None:
    assert status.step_status(errors.StateConflict("known", code="duplicate")).Status == 0x0111
