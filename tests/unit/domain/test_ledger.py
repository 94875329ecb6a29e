"""A sender's ledger as it is read: what was acknowledged is owed."""

from __future__ import annotations

import json

import pytest

from bridge.domain.ledger import Entry, read_ledger
from bridge.errors import BadInput


def line(**said: object) -> str:
    return json.dumps(said) + "\n"


@pytest.mark.parametrize(
    ("kind", "answer", "owed"),
    [
        ("hl7", "AA", True),
        ("hl7", "CA", True),
        ("hl7", "AE", False),
        ("hl7", "", False),
        ("store", "0000", True),
        ("store", "B000", True),
        ("store", "A700", False),
        ("n-create", "0111", False),
        ("publish", "201", True),
        ("publish", "503", False),
    ],
)
def test_what_counts_as_acknowledged(kind: str, answer: str, owed: bool) -> None:
    (entry,) = read_ledger([line(kind=kind, id="1", answer=answer)])
    assert entry.acknowledged is owed


def test_what_was_acknowledged_once_is_owed_whatever_its_resend_was_told() -> None:
    said = [line(kind="store", id="1", answer="0000"), line(kind="store", id="1", answer="A700")]
    assert read_ledger(said) == [Entry("store", "1", "0000")]


def test_an_n_set_without_an_answer_takes_back_nothing() -> None:
    said = [
        line(kind="n-set", id="1", status="IN PROGRESS", answer="0000"),
        line(kind="n-set", id="1", status="COMPLETED", sent=True),
    ]
    assert read_ledger(said) == [Entry("n-set", "1", "0000", status="IN PROGRESS")]


def test_facts_told_when_it_was_sent_stay_with_its_answer() -> None:
    said = [line(kind="hl7", id="M1", sent=True, order="P1"), line(kind="hl7", id="M1", answer="AA")]
    assert read_ledger(said) == [Entry("hl7", "M1", "AA", order="P1")]


def test_every_resource_of_a_study_is_kept() -> None:
    said = [line(kind="publish", id="1.2", answer="200", resource=one) for one in ("a", "b", "a")]
    assert read_ledger(said)[0].resources == ("a", "b")


def test_a_last_line_that_was_cut_short_is_no_entry() -> None:
    assert read_ledger([line(kind="hl7", id="M1", answer="AA"), '{"kind": "hl7", "id": "M2", "ans']) == [
        Entry("hl7", "M1", "AA")
    ]


@pytest.mark.parametrize("bad", ['{"kind": "hl7", "i\n', "[]\n", line(kind="fax", id="1")])
def test_any_other_line_that_cannot_be_read_is_told(bad: str) -> None:
    with pytest.raises(BadInput) as told:
        read_ledger([line(kind="hl7", id="M1"), bad])
    assert told.value.where == "line 2"
