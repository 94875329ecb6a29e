"""A rehearsal: what messages would come to, on a store that is thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.clock import ManualClock
from bridge.domain.message import Envelope, Fate, Reading
from bridge.domain.order import OrderRequest
from bridge.domain.worklist import WorklistKeys
from bridge.workflow.preview import RESENT, Rehearsal
from tests.unit.workflow.house import NOON, SCANNER, ct_step, order, settings


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    with Rehearsal(settings(tmp_path / "live"), ManualClock(NOON)) as made:
        yield made


def envelope(number: int = 1) -> Envelope:
    return Envelope("ris", f"message {number}".encode(), "file", NOON, "RIS", "H", f"M{number}", "ORM^O01")


def reading(*orders: OrderRequest) -> Reading:
    return Reading(orders=orders)


def test_an_order_is_on_the_rehearsed_worklist(rehearsal: Rehearsal) -> None:
    assert rehearsal.take(envelope(), reading(order())).fate is Fate.APPLIED
    assert [entry.accession_number for entry in rehearsal.find(WorklistKeys(), SCANNER)] == ["A1"]


def test_messages_build_upon_one_another(rehearsal: Rehearsal) -> None:
    rehearsal.take(envelope(1), reading(order()))
    rehearsal.take(envelope(2), reading(order("CA", "CA")))
    assert rehearsal.find(WorklistKeys(), SCANNER) == []


def test_a_resend_is_told_as_one(rehearsal: Rehearsal) -> None:
    rehearsal.take(envelope(), reading(order()))
    assert rehearsal.take(envelope(), reading(order())) is RESENT


def test_a_parked_order_tells_its_reason_and_the_senders_word(rehearsal: Rehearsal) -> None:
    step = ct_step(modality="", modality_sent="RAD")
    assert rehearsal.take(envelope(), reading(order(steps=(step,)))).fate is Fate.PARKED
    (parked,) = rehearsal.parked()
    assert (parked.reason, parked.details["modality_sent"]) == ("modality-unknown", "RAD")


def test_the_stations_are_those_that_have_work(rehearsal: Rehearsal) -> None:
    rehearsal.take(envelope(), reading(order()))
    assert rehearsal.stations() == ["CT1"]


def test_the_live_store_is_never_touched(tmp_path: Path) -> None:
    live = tmp_path / "live"
    with Rehearsal(settings(live), ManualClock(NOON)) as rehearsal:
        rehearsal.take(envelope(), reading(order()))
    assert not live.exists()


def test_nothing_is_left_when_it_ends(tmp_path: Path) -> None:
    with Rehearsal(settings(tmp_path), ManualClock(NOON)) as rehearsal:
        folder = rehearsal.settings.data
        assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_an_old_order_is_shown_only_when_every_date_is_asked_for(tmp_path: Path) -> None:
    old = order(steps=(ct_step(start=NOON.replace(year=2020, tzinfo=None)),))
    for every_date, shown in ((False, 0), (True, 1)):
        with Rehearsal(settings(tmp_path), ManualClock(NOON), every_date=every_date) as rehearsal:
            rehearsal.take(envelope(), reading(old))
            assert len(rehearsal.find(WorklistKeys(), SCANNER)) == shown
