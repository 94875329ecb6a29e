"""What hides and what deletes images, on both databases: the statements that go over many rows at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.rejection import Hidden, RejectedInstance, RejectionNote
from bridge.domain.study import StoredFile, StudyState
from bridge.store import audit, rejection, retirement, review, studies
from bridge.store.db import Connection, Database
from tests.unit.workflow.house import image_header

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def keep(connection: Connection, uid: str, study: str = "1.2.3", aside: bool = False) -> int:
    header = image_header(sop_instance_uid=uid, study_instance_uid=study, series_instance_uid=f"{study}.1")
    row = studies.take_study(connection, header, NOW, NOW)
    part = studies.take_series(connection, row.id, header)
    studies.add_instance(connection, part.id, header, StoredFile(f"file {uid}", 10, uid), "CT1", NOW)
    found = studies.find_instance(connection, uid)
    assert found is not None
    studies.add_document(connection, found.id, b"{}", ())
    if aside:
        studies.keep_aside(connection, found.id, StoredFile(f"aside {uid}", 5, "y"), "CT1", NOW)
    return int(row.id)


def note(title: Hidden, *named: tuple[str, str]) -> RejectionNote:
    return RejectionNote(title, tuple(RejectedInstance(study, f"{study}.1", uid) for study, uid in named))


@pytest.fixture
def stored(database: Database) -> Database:
    """Two studies: 1.2.3 with 1.5 (and a copy aside) and 1.6, 1.2.4 with 1.7."""

    def change(connection: Connection) -> None:
        keep(connection, "1.5", aside=True)
        keep(connection, "1.6")
        keep(connection, "1.7", "1.2.4")

    database.write(change)
    return database


def hidden(connection: Connection) -> dict[str, str]:
    found = (studies.find_instance(connection, uid) for uid in ("1.5", "1.6", "1.7"))
    return {row.sop_instance_uid: row.hidden for row in found if row is not None}


def test_a_note_hides_what_it_names_in_the_study_that_it_names(stored: Database) -> None:
    def change(connection: Connection) -> list[tuple[str, int]]:
        key = rejection.add_rejection(
            connection, "1.9", note(Hidden.SAFETY, ("1.2.3", "1.5"), ("1.2.3", "1.7"), ("1.2.3", "1.8")), "PACS", NOW
        )
        assert key is not None
        told = rejection.apply_rejection(connection, key, Hidden.SAFETY, NOW)
        assert rejection.named_elsewhere(connection, key) == 1
        assert rejection.studies_of(connection, key)[0]["applied"] == 1
        return [(uid, count) for _, uid, count in told]

    assert stored.write(change) == [("1.2.3", 1)]
    with stored.read() as connection:
        assert hidden(connection) == {"1.5": "safety", "1.6": "", "1.7": ""}
        assert [bool(one.applied_at) for one in rejection.standing(connection, "1.5")] == [True]
        assert [row["named"] for row in rejection.list_rejections(connection, 5)] == [3]


def test_the_same_note_is_kept_once(stored: Database) -> None:
    def change(connection: Connection) -> list[bool]:
        said = note(Hidden.SAFETY, ("1.2.3", "1.5"))
        return [rejection.add_rejection(connection, "1.9", said, "PACS", NOW) is None for _ in "12"]

    assert stored.write(change) == [False, True]


def test_a_retirement_goes_in_pieces_and_leaves_other_studies_alone(stored: Database) -> None:
    def begin(connection: Connection) -> None:
        retirement.begin_retirement(connection, 1, "any: 1 day", NOW, whole=True)

    def piece(connection: Connection) -> list[str]:
        return sorted(retirement.delete_piece(connection, retirement.open_retirement(connection), 1))

    def end(connection: Connection) -> bool:
        row = retirement.open_retirement(connection)
        assert row is not None and (row.instances, row.bytes) == (2, 25)
        return retirement.end_retirement(connection, row.id, row.study_id, LATER)

    stored.write(begin)
    assert [stored.write(piece) for _ in "123"] == [["aside 1.5", "file 1.5"], ["file 1.6"], []]
    assert stored.write(end) is True
    with stored.read() as connection:
        assert hidden(connection) == {"1.7": ""}
        assert studies.get_study(connection, 1).state == StudyState.RETIRED
        assert retirement.open_retirement(connection) is None
        assert [row["rule"] for row in retirement.list_retirements(connection, 5)] == ["any: 1 day"]


def test_what_waits_for_a_person_is_found_by_its_study(stored: Database) -> None:
    def change(connection: Connection) -> None:
        image = studies.find_instance(connection, "1.7")
        assert image is not None
        review.open_review(connection, "instance-differs", f"instance:{image.id}", "x", NOW, {})
        review.open_review(connection, "message-refused", "message:none", "x", NOW, {})

    stored.write(change)
    with stored.read() as connection:
        study = studies.find_study(connection, "1.2.4")
        assert study is not None
        found = retirement.open_subjects(connection)
        assert {one for one in found if one.startswith("study:")} == retirement.subjects_of(connection, study.id)


@pytest.mark.parametrize("waits", [False, True])
def test_an_old_copy_aside_goes_unless_somebody_waits_for_it(stored: Database, waits: bool) -> None:
    def change(connection: Connection) -> list[str]:
        if waits:
            review.open_review(connection, "instance-differs", "instance:1", "x", NOW, {})
        assert retirement.delete_old_asides(connection, NOW, 10) == []
        return retirement.delete_old_asides(connection, LATER, 10)

    assert stored.write(change) == ([] if waits else ["aside 1.5"])


def test_holds_are_one_a_study_and_keep_their_history(stored: Database) -> None:
    def change(connection: Connection) -> list[bool]:
        return [
            retirement.hold(connection, 1, "court", NOW, "anna"),
            retirement.hold(connection, 1, "court", NOW, "anna"),
            retirement.unhold(connection, 1, LATER, "anna"),
            retirement.unhold(connection, 1, LATER, "anna"),
            retirement.hold(connection, 1, "again", LATER, "anna"),
        ]

    assert stored.write(change) == [True, False, True, False, True]
    with stored.read() as connection:
        assert [row["reason"] for row in retirement.list_holds(connection)] == ["again"]


def test_the_trail_is_purged_in_windows_and_keeps_its_newest_row(stored: Database) -> None:
    def change(connection: Connection) -> int:
        for number in range(4):
            audit.write_audit(connection, at=NOW, who="x", action=f"a{number}", subject="-")
        window = retirement.audit_window(connection, 0, 2)
        assert window is not None and window[1] == NOW
        first = retirement.purge_audit(connection, 0, window[0], LATER)
        return first + retirement.purge_audit(connection, 0, 1000, LATER)

    assert stored.write(change) == 3
    with stored.read() as connection:
        assert [row["action"] for row in audit.find_audit(connection)] == ["a3"]


def test_published_is_what_an_ehr_has_as_it_is(stored: Database) -> None:
    with stored.read() as connection:
        assert retirement.published_at(connection, 1, 1) == {}
        assert retirement.expired_studies(connection) == []
        assert retirement.is_viewed(connection, 1, NOW) is False
        assert retirement.mass_of(connection, 1) == (2, 20)
        assert retirement.modalities_of(connection, 1) == {"CT"}
