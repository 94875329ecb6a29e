"""Places and memory that associations share: who gets one, who gives one up, who waits."""

from __future__ import annotations

import threading

from bridge.dicom.places import WAITING, WAITING_PER_ADDRESS, Memory, Most, Places

MOST = Most(connections=100, connections_per_address=60, associations=3, associations_per_ae=2)


def places(most: Most = MOST) -> tuple[Places[str], list[str]]:
    ended: list[str] = []
    return Places(most, ended.append), ended


def test_of_too_many_silent_connections_of_an_address_the_oldest_goes() -> None:
    here, ended = places()
    names = [f"c{n}" for n in range(WAITING_PER_ADDRESS + 2)]
    assert all(here.enter(name, "10.0.0.1") for name in names)
    assert ended == names[:2] and set(here.all()) == set(names[2:])


def test_of_too_many_silent_connections_the_most_crowded_address_loses_its_oldest() -> None:
    here, ended = places()
    here.enter("quiet", "10.0.0.9")
    for n in range(WAITING - 1):
        here.enter(f"c{n}", f"10.0.1.{n % 4}" if n < 40 else f"10.0.2.{n}")
    assert ended == []
    assert here.enter("honest", "10.0.0.8") and ended == ["c0"] and "quiet" in here.all()


def test_an_association_is_never_ended_for_a_new_connection() -> None:
    here, ended = places(Most(2, 60, 3, 2))
    for name in ("a", "b"):
        here.enter(name, "10.0.0.1")
        assert here.associate(name, name)
    assert not here.enter("c", "10.0.0.2") and ended == []


def test_an_address_has_so_many_connections_and_no_more() -> None:
    here, _ = places(Most(100, 2, 100, 100))
    for name in ("a", "b"):
        here.enter(name, "10.0.0.1")
        here.associate(name, name)
    assert not here.enter("c", "10.0.0.1") and here.enter("d", "10.0.0.2")


def test_associations_are_counted_in_all_and_of_a_title_and_given_back() -> None:
    here, _ = places()
    for name in "abcd":
        here.enter(name, "10.0.0.1")
    assert here.associate("a", "CT1") and here.associate("b", "CT1")
    assert not here.associate("c", "CT1")
    assert here.associate("c", "CT2") and not here.associate("d", "CT3")
    here.leave("a")
    assert here.associate("d", "CT1") and here.associations == 3


def test_what_was_displaced_can_no_longer_associate() -> None:
    here, ended = places()
    for n in range(WAITING_PER_ADDRESS + 1):
        here.enter(f"c{n}", "10.0.0.1")
    assert ended == ["c0"] and not here.associate("c0", "CT1")
    here.leave("c0")
    assert here.associations == 0


def test_memory_is_held_and_freed() -> None:
    memory = Memory(100)
    assert memory.hold("a", 60, 0) and memory.hold("b", 40, 0) and memory.held == 100
    memory.free("a")
    assert memory.hold("b", 90, 0) and memory.held == 90


def test_one_may_go_past_the_limit_and_the_next_waits_for_it() -> None:
    memory = Memory(100)
    memory.hold("a", 90, 0)
    assert memory.hold("b", 90, 0) and not memory.hold("c", 90, 0.01)
    done = threading.Event()
    waiting = threading.Thread(target=lambda: done.set() if memory.hold("c", 90, 20) else None)
    waiting.start()
    memory.free("b")
    assert done.wait(20)
    waiting.join()


def test_to_hold_less_never_waits() -> None:
    memory = Memory(100)
    memory.hold("a", 90, 0)
    memory.hold("b", 90, 0)
    assert memory.hold("a", 80, 0) and memory.held == 170
