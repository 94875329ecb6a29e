"""Messages: kept whole, answered once, and undone whole when refused."""

from __future__ import annotations

import pytest

from bridge.domain.message import Envelope, Fate, Outcome, Reading
from bridge.errors import BadValue, MissingField
from bridge.workflow import ordering
from tests.unit.workflow.house import House, order, who


def take(house: House, reading: Reading, raw: bytes, control: str, answer: bytes) -> tuple[Fate, bytes]:
    envelope = Envelope("ris", raw, "10.0.0.1", house.clock.now(), "RIS", "H", control, "ORM^O01")

    def ack(outcome: Outcome) -> tuple[str, bytes]:
        return "AA", answer

    return house.intake.take(envelope, reading, ack)


def test_a_resent_message_gets_the_first_answer_and_has_no_second_effect(house: House) -> None:
    reading = Reading(orders=(order(),))
    take(house, reading, b"same bytes", "C1", b"first answer")
    before = house.rows("order_history")
    assert take(house, reading, b"same bytes", "C1", b"second answer") == (Fate.IGNORED, b"first answer")
    assert house.rows("order_history") == before


def test_a_control_id_used_again_with_other_bytes_is_another_message(house: House) -> None:
    house.send(Reading(orders=(order(),)), raw=b"one", control="C1")
    fate, told = house.send(Reading(orders=(order("CA"),)), raw=b"two", control="C1")
    assert fate is Fate.APPLIED
    assert "the control id was used before" in told
    assert house.worklist() == []


def test_a_refused_message_is_kept_and_waits_for_a_person(house: House) -> None:
    fate, _ = house.send(Reading(refusal=MissingField("no patient", where="PID-3")), raw=b"kept whole")
    assert fate is Fate.REFUSED
    (row,) = house.rows("message")
    assert (row.raw, row.fate, row.reasons) == (b"kept whole", "refused", ["missing-field PID-3"])
    assert ("message-refused", "missing-field PID-3") in house.reviews()


def test_one_bad_order_undoes_the_good_one_before_it_and_keeps_the_message(house: House) -> None:
    fate, _ = house.order(order(), order("ZZ", placer="P2"))
    assert fate is Fate.REFUSED
    assert (house.rows("imaging_order"), house.rows("patient")) == ([], [])
    assert len(house.rows("message")) == 1


def test_a_message_that_trips_over_an_error_of_ours_is_kept_and_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer its sender would send it for ever, and everything behind it would wait."""

    def trip(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(ordering, "take_procedure", trip)
    fate, _ = house.order(order())
    assert fate is Fate.REFUSED
    assert house.rows("patient") == []
    assert len(house.rows("message")) == 1


def test_the_fate_of_a_message_says_whether_a_person_must_look(house: House) -> None:
    assert house.order(order(steps=()))[0] is Fate.PARKED
    assert house.order(order("OK"))[0] is Fate.IGNORED
    assert house.order(order(patient=who(), placer="P2"))[0] is Fate.APPLIED


@pytest.mark.parametrize("control", ["", "C1"], ids=["unreadable", "with a control id"])
def test_junk_that_comes_twice_is_quarantined_without_harm(house: House, control: str) -> None:
    for _ in range(2):
        envelope = Envelope("ris", b"\x00junk", "10.0.0.1", house.clock.now(), "RIS", "H", control)
        house.intake.quarantine(envelope, "frame too-large", "AE", b"no")
    assert {r.fate for r in house.rows("message")} == {"quarantined"}


def test_a_resend_of_a_refused_message_is_refused_with_the_same_words(house: House) -> None:
    reading = Reading(refusal=BadValue("no", where="OBR-4"))
    take(house, reading, b"bad", "C9", b"AE first")
    assert take(house, reading, b"bad", "C9", b"AE again")[1] == b"AE first"
    assert len(house.rows("message")) == 1
