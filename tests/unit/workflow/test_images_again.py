"""An image comes again: equal, different, and when what was stored first is lost (PS3.4 B.2.3)."""

from __future__ import annotations

import pytest

from bridge.domain.study import StoredFile
from bridge.errors import StateConflict
from bridge.store import studies
from bridge.workflow.acquiring import Intact
from tests.unit.workflow.house import House, image_header

HEALED = ("instance-healed", "stored-file-damaged")


def again(house: House, file: str, sha: str, intact: Intact) -> bool:
    header = image_header(sop_instance_uid="1.5")
    return house.acquiring.heal_instance(header, StoredFile(file, 11, sha), "CT1", intact)


def lost(_: StoredFile) -> bool:
    return False


def whole(_: StoredFile) -> bool:
    return True


@pytest.fixture
def stored(house: House) -> House:
    house.image(sop_instance_uid="1.5", sha="x")
    return house


@pytest.fixture
def aside(stored: House) -> House:
    with pytest.raises(StateConflict):
        stored.image(sop_instance_uid="1.5", sha="y")
    return stored


def test_a_copy_of_a_whole_file_is_not_wanted(stored: House) -> None:
    first = stored.rows("instance")[0].file
    assert again(stored, "new", "x", whole) is False
    assert [row.file for row in stored.rows("instance")] == [first]


def test_a_copy_of_a_lost_file_takes_its_place(stored: House) -> None:
    assert again(stored, "new", "x", lost) is True
    assert [(row.file, row.size) for row in stored.rows("instance")] == [("new", 11)]


def test_a_file_that_was_lost_is_on_the_review_list(stored: House) -> None:
    again(stored, "new", "x", lost)
    assert HEALED in stored.reviews()


def test_the_file_that_was_stored_is_what_is_looked_at(stored: House) -> None:
    seen: list[StoredFile] = []
    again(stored, "new", "x", lambda file: not seen.append(file))  # type: ignore[func-returns-value]
    row = stored.rows("instance")[0]
    assert seen == [StoredFile(row.file, row.size, "x")]


def test_what_was_derived_from_a_lost_file_is_made_again(stored: House) -> None:
    number = stored.rows("instance")[0].id
    stored.context.database.write(lambda c: studies.add_document(c, number, b"{}", ()))
    again(stored, "new", "x", lost)
    assert stored.rows("instance_document") == []


def test_of_two_copies_of_a_lost_file_one_takes_its_place(stored: House) -> None:
    def another_is_quicker(_: StoredFile) -> bool:
        assert again(stored, "quicker", "x", lost)
        return False

    assert again(stored, "slower", "x", another_is_quicker) is False
    assert [row.file for row in stored.rows("instance")] == ["quicker"]


def test_other_bytes_again_are_kept_aside_once(aside: House) -> None:
    for _ in range(3):
        assert aside.image(sop_instance_uid="1.5", sha="y") is False
    assert [row.sha256 for row in aside.rows("instance_aside")] == ["y"]


def test_other_bytes_under_the_uid_are_a_second_copy_aside(aside: House) -> None:
    with pytest.raises(StateConflict):
        aside.image(sop_instance_uid="1.5", sha="z")
    assert [row.sha256 for row in aside.rows("instance_aside")] == ["y", "z"]


def test_a_copy_of_a_lost_file_aside_takes_its_place(aside: House) -> None:
    first = aside.rows("instance")[0].file
    assert again(aside, "new", "y", lost) is True
    assert [row.file for row in aside.rows("instance_aside")] == ["new"]
    assert [row.file for row in aside.rows("instance")] == [first]
