"""Notes of who has asked and what could not be told: beside the answers, one a device."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field

import pytest

from bridge.config import DicomPeer
from bridge.dicom.notes import MOST_DEVICES, Notes
from bridge.domain.worklist import WorklistKeys
from bridge.errors import StoreBroken, StoreUnavailable
from tests.unit.dicom.support import FakeAcquiring, FakeWorklist

CT1 = DicomPeer(ae_title="CT1", utf8=False)
LIST = WorklistKeys(station_ae_title="CT1")


@dataclass
class Desk(FakeWorklist):
    noted: list[tuple[str, dict[int, str], set[int]]] = field(default_factory=list)
    away: Exception | None = None
    asks: list[tuple[str, WorklistKeys]] = field(default_factory=list)

    def note_asked(self, title: str, keys: WorklistKeys) -> None:
        self.asks.append((title, keys))

    def note_unreadable(self, peer: DicomPeer, withheld: Mapping[int, str], shown: Set[int]) -> None:
        if self.away:
            raise self.away
        self.noted.append((peer.ae_title, dict(withheld), set(shown)))


class Locked(FakeAcquiring):
    """A store that another program holds until `free` is set; `reached` tells that a note waits in it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.free = threading.Event(), threading.Event()

    def note_query(self, calling_ae: str) -> None:
        self.reached.set()
        self.free.wait(20)
        super().note_query(calling_ae)


@pytest.fixture
def store() -> Iterator[Locked]:
    made = Locked()
    yield made
    made.free.set()


def test_a_device_that_asks_and_asks_while_the_store_is_locked_is_noted_once(store: Locked) -> None:
    notes = Notes(Desk(), store, lambda: None)
    notes.asked("MR1", LIST)
    assert store.reached.wait(5)
    for _ in range(100):
        notes.asked("CT1", LIST)
    store.free.set()
    assert notes.close(5) and store.queries == ["MR1", "CT1"]


def test_the_desk_learns_how_the_device_asks() -> None:
    desk = Desk()
    notes = Notes(desk, FakeAcquiring(), lambda: None)
    notes.asked("CT1", LIST)
    assert notes.close(5) and desk.asks == [("CT1", LIST)]


def test_what_two_queries_told_under_a_lock_is_noted_together_the_newer_of_each_step(store: Locked) -> None:
    desk = Desk()
    notes = Notes(desk, store, lambda: None)
    notes.asked("MR1", LIST)
    assert store.reached.wait(5)
    notes.told(CT1, {1: "(0010,0010)", 2: "(0010,0010)"}, {3})
    notes.told(CT1, {3: "(0032,1060)"}, {2})
    store.free.set()
    assert notes.close(5)
    assert desk.noted == [("CT1", {1: "(0010,0010)", 3: "(0032,1060)"}, {2})]


def test_a_store_that_is_away_stops_no_later_note() -> None:
    desk = Desk(away=StoreUnavailable("full"))
    acquiring = FakeAcquiring()
    notes = Notes(desk, acquiring, lambda: None)
    notes.told(CT1, {1: "(0010,0010)"}, set())
    notes.asked("CT1", LIST)
    assert notes.close(5) and acquiring.queries == ["CT1"]


def test_an_error_of_ours_stops_no_later_note() -> None:
    desk = Desk(away=RuntimeError("a fault in the code"))
    acquiring = FakeAcquiring()
    notes = Notes(desk, acquiring, lambda: None)
    notes.told(CT1, {1: "(0010,0010)"}, set())
    notes.asked("CT1", LIST)
    assert notes.close(5) and acquiring.queries == ["CT1"]


def test_a_failed_sync_ends_the_process() -> None:
    ended: list[bool] = []
    notes = Notes(Desk(away=StoreBroken("fsync")), FakeAcquiring(), lambda: ended.append(True))
    notes.told(CT1, {1: "(0010,0010)"}, set())
    assert notes.close(5) and ended == [True]


def test_titles_that_are_made_up_while_the_store_is_locked_fill_no_memory(store: Locked) -> None:
    notes = Notes(Desk(), store, lambda: None)
    notes.asked("MR1", LIST)
    assert store.reached.wait(5)
    for number in range(MOST_DEVICES + 100):
        notes.asked(f"AE{number}", LIST)
    store.free.set()
    assert notes.close(20) and len(store.queries) == MOST_DEVICES + 1


def test_a_stop_does_not_wait_for_a_store_that_is_locked(store: Locked) -> None:
    notes = Notes(Desk(), store, lambda: None)
    notes.asked("CT1", LIST)
    assert store.reached.wait(5)
    assert not notes.close(0.05)


def test_nothing_is_noted_after_the_stop() -> None:
    acquiring = FakeAcquiring()
    notes = Notes(Desk(), acquiring, lambda: None)
    assert notes.close(1)
    notes.asked("CT1", LIST)
    assert notes.close(0.1) and acquiring.queries == []
