"""Migrations, types and the small rules of the tables, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bridge.domain.identity import Identifier
from bridge.domain.message import Envelope, Fate
from bridge.domain.order import StepStatus
from bridge.domain.patient import PersonName
from bridge.domain.performed import PerformedStatus, PerformedStep
from bridge.errors import ConfigurationError, NotFound
from bridge.store import audit, inbox, launches, links, orders, patients, performed, review, studies, worklist
from bridge.store.db import Connection, Database
from bridge.store.migrate import current, differences, migrate, newest
from tests.unit.workflow.house import image_header

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


# -- migrations ---------------------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_that_the_program_knows(database: Database) -> None:
    assert current(database) == newest()
    assert differences(database) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    migrate(database)
    assert differences(database) == []


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(ConfigurationError, match="9999"):
        migrate(database)


def test_a_new_folder_becomes_a_database(tmp_path: Path) -> None:
    database = Database("", tmp_path, on_broken=lambda: None)
    assert current(database) is None
    migrate(database)
    assert differences(database) == []
    database.close()


# -- types --------------------------------------------------------------------------------------------------------


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="naive"):
        database.write(lambda c: audit.note_activity(c, "feed", "ris", datetime(2026, 11, 25)))


def test_a_time_comes_back_as_the_same_moment_in_utc(database: Database) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=-5)))
    database.write(lambda c: audit.note_activity(c, "feed", "ris", there))
    with database.read() as connection:
        (row,) = audit.activities(connection)
    assert (row["at"], str(row["at"].tzinfo)) == (NOW, "UTC")  # type: ignore[attr-defined]


def test_counting_signs_of_life_keeps_the_newest(database: Database) -> None:
    for minute in range(3):
        database.write(lambda c, m=minute: audit.note_activity(c, "feed", "ris", NOW + timedelta(minutes=m)))  # type: ignore[misc]
    with database.read() as connection:
        (row,) = audit.activities(connection)
    assert (row["count"], row["at"]) == (3, NOW + timedelta(minutes=2))


# -- messages -----------------------------------------------------------------------------------------------------


def envelope(control: str = "C1", raw: bytes = b"bytes", app: str = "RIS") -> Envelope:
    return Envelope("ris", raw, "10.0.0.1", NOW, app, "H", control, "ORM^O01")


def keep(database: Database, one: Envelope, answer: bytes = b"AA") -> int:
    def change(connection: Connection) -> int:
        key = inbox.store_message(connection, one, inbox.content_hash(one.raw))
        inbox.finish_message(connection, key, Fate.APPLIED, (), "AA", answer)
        return key

    return database.write(change)


@pytest.mark.parametrize(
    ("other", "known"),
    [
        (envelope(), True),
        (envelope(control="C2"), False),
        (envelope(raw=b"other"), False),
        (envelope(app="HIS"), False),
        (envelope(control=""), False),
    ],
)
def test_a_resend_is_the_same_sender_control_id_and_bytes(database: Database, other: Envelope, known: bool) -> None:
    keep(database, envelope())
    with database.read() as connection:
        found, _ = inbox.find_answer(connection, other, inbox.content_hash(other.raw))
    assert (found is not None) is known


def test_one_message_on_two_connections_is_kept_once(database: Database) -> None:
    keep(database, envelope())
    with pytest.raises(IntegrityError):
        keep(database, envelope())


def test_bytes_without_a_control_id_are_never_a_duplicate(database: Database) -> None:
    assert keep(database, envelope(control="")) != keep(database, envelope(control=""))


def test_the_bytes_of_a_message_come_back_as_they_came(database: Database) -> None:
    raw = bytes(range(256))
    key = keep(database, envelope(raw=raw))
    with database.read() as connection:
        found = inbox.get_message(connection, key)
    assert found is not None and found["raw"] == raw


# -- review -------------------------------------------------------------------------------------------------------


def test_what_waits_is_one_open_entry_and_keeps_its_age(database: Database) -> None:
    for minutes, reason in ((0, "no-order"), (5, "weak-evidence")):
        at = NOW + timedelta(minutes=minutes)
        database.write(lambda c, a=at, r=reason: review.open_review(c, "study-unmatched", "study:1", r, a, {"n": 1}))  # type: ignore[misc]
    with database.read() as connection:
        (row,) = review.open_reviews(connection)
    assert (row["reason"], row["opened_at"]) == ("weak-evidence", NOW)


def test_an_entry_that_is_closed_may_be_opened_again_and_both_stay(database: Database) -> None:
    def change(connection: Connection) -> None:
        for _ in range(2):
            review.open_review(connection, "study-unmatched", "study:1", "no-order", NOW, {})
            review.close_review(connection, ("study-unmatched",), "study:1", NOW, "bridge", "matched")

    database.write(change)
    with database.read() as connection:
        assert review.open_reviews(connection) == []
        assert connection.execute(text("SELECT count(*) FROM review")).scalar_one() == 2


def test_closing_touches_only_the_kinds_that_are_named(database: Database) -> None:
    def change(connection: Connection) -> None:
        review.open_review(connection, "study-conflict", "study:1", "two-patients", NOW, {})
        review.close_review(connection, ("study-unmatched",), "study:1", NOW, "bridge", "matched")

    database.write(change)
    with database.read() as connection:
        assert [(k, n) for k, n, _ in review.count_reviews(connection)] == [("study-conflict", 1)]


# -- patients and orders ------------------------------------------------------------------------------------------

A, B = Identifier("1", "HOSP"), Identifier("2", "HOSP")


def add_patient(connection: Connection, *identifiers: Identifier, name: str = "DOE^JANE") -> int:
    key = patients.add_patient(
        connection, name=PersonName(name), birth_date="", sex="", provisional=False, event_at=NOW, at=NOW
    )
    patients.add_identifiers(connection, key, identifiers)
    return key


def test_an_identifier_belongs_to_whoever_had_it_first(database: Database) -> None:
    def change(connection: Connection) -> list[int]:
        first, second = add_patient(connection, A), add_patient(connection, A, B)
        assert first != second
        return patients.find_patient(connection, (A,))

    assert len(database.write(change)) == 1


def test_a_merge_leaves_no_second_owner_and_retires_the_number(database: Database) -> None:
    def change(connection: Connection) -> tuple[list[int], tuple[Identifier, ...], bool, int]:
        prior, survivor = add_patient(connection, A), add_patient(connection, B)
        patients.merge_patients(connection, prior, survivor, NOW)
        found = patients.find_patient(connection, (A, B))
        return found, patients.identifiers_of(connection, survivor), patients.retired(connection, A), survivor

    found, identifiers, retired, survivor = database.write(change)
    assert (found, identifiers, retired) == ([survivor], (B, A), True)


def test_whose_number_it_is_asks_for_the_authority_when_one_is_named(database: Database) -> None:
    def change(connection: Connection) -> list[bool]:
        key = add_patient(connection, A)
        return [patients.carries(connection, key, "1", issuer) for issuer in ("HOSP", "", "OTHER")]

    assert database.write(change) == [True, True, False]


def add_order(connection: Connection, patient: int, number: str, uid: str) -> int:
    key = orders.add_order(
        connection,
        {
            "patient_id": patient, "placer_order_number": number, "placer_issuer": "RIS", "status": "SC",
            "created_at": NOW, "updated_at": NOW, "allergies": [], "accession_number": f"A{number}",
            "accession_told": f"A{number}",
        },
    )  # fmt: skip
    procedure = orders.add_procedure(
        connection,
        {
            "order_id": key, "requested_procedure_id": "RP", "study_instance_uid": uid,
            "study_instance_uid_generated": False, "code": ["C", "L", "Head"],
        },
    )  # fmt: skip
    step = orders.add_step(
        connection,
        {
            "requested_procedure_id": procedure, "scheduled_step_id": "S1", "status": StepStatus.SCHEDULED,
            "start_date": "20261125", "start_time": "130000", "start_defaulted": False, "modality": "CT",
            "protocol_codes": [],
        },
    )  # fmt: skip
    orders.set_stations(connection, step, ("CT1", "CT2"))
    return key


def test_an_order_without_any_number_cannot_be_stored(database: Database) -> None:
    def change(connection: Connection) -> None:
        orders.add_order(
            connection,
            {
                "patient_id": add_patient(connection, A),
                "status": "SC",
                "created_at": NOW,
                "updated_at": NOW,
                "allergies": [],
            },
        )

    with pytest.raises(IntegrityError):
        database.write(change)


def test_two_orders_cannot_have_one_number_of_one_issuer(database: Database) -> None:
    def change(connection: Connection) -> None:
        patient = add_patient(connection, A)
        add_order(connection, patient, "P1", "1.2.3")
        add_order(connection, patient, "P1", "1.2.4")

    with pytest.raises(IntegrityError):
        database.write(change)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, 1),
        ({"modality": "CT", "station": "CT2", "accession_number": "AP1", "study_instance_uid": "1.2.3"}, 1),
        ({"patient_id": "1"}, 1),
        ({"modality": "MR"}, 0),
        ({"station": "CT3"}, 0),
        ({"patient_id": "2"}, 0),
        ({"accession_number": "a' OR '1'='1"}, 0),
    ],
)
def test_the_worklist_is_narrowed_by_the_database(database: Database, keys: dict[str, str], found: int) -> None:
    database.write(lambda c: add_order(c, add_patient(c, A), "P1", "1.2.3"))
    with database.read() as connection:
        rows = worklist.find_entries(
            connection, statuses=(StepStatus.SCHEDULED,), earliest="20261101", latest="", **keys
        )
        assert len(list(rows)) == found


@pytest.mark.parametrize("status", ["HD", "CA", "DC"])
def test_an_order_that_is_held_or_given_up_shows_no_step_whatever_its_step_says(
    database: Database, status: str
) -> None:
    def change(connection: Connection) -> None:
        orders.change_order(
            connection, add_order(connection, add_patient(connection, A), "P1", "1.2"), {"status": status}
        )

    database.write(change)
    with database.read() as connection:
        found = worklist.find_entries(connection, statuses=(StepStatus.SCHEDULED,), earliest="", latest="")
        assert list(found) == []


def test_a_step_that_nobody_began_is_missed_once(database: Database) -> None:
    database.write(lambda c: add_order(c, add_patient(c, A), "P1", "1.2.3"))

    def missed(connection: Connection, moment: str = "20261231000000") -> list[tuple[int, str]]:
        later = NOW + timedelta(days=1)
        return worklist.missed_steps(connection, earliest="20260101", moment=moment, silent_since=later, most=9)

    with database.read() as connection:
        ((step, start),) = missed(connection)
        assert missed(connection, start) == []
    assert not database.write(lambda c: worklist.mark_missed(c, step, "20200101000000"))
    assert database.write(lambda c: worklist.mark_missed(c, step, start))
    with database.read() as connection:
        assert missed(connection) == []


def test_a_study_uid_of_somebody_else_is_seen_in_orders_and_in_studies(database: Database) -> None:
    def change(connection: Connection) -> list[bool]:
        jane, john = add_patient(connection, A), add_patient(connection, B)
        add_order(connection, jane, "P1", "1.2.3")
        studies.take_study(connection, image_header(study_instance_uid="1.5", patient_id="1"), NOW, NOW)
        return [
            orders.study_uid_of_another(connection, uid, who)
            for uid, who in (("1.2.3", john), ("1.2.3", jane), ("1.5", john), ("1.5", jane), ("1.9", john))
        ]

    assert database.write(change) == [True, False, True, False, False]


# -- studies ------------------------------------------------------------------------------------------------------


def test_matching_weighs_the_order_that_is_named_however_many_the_patient_has(database: Database) -> None:
    """A limit that cuts in silence would hide the very order, or the second one that makes it ambiguous."""

    def change(connection: Connection) -> int:
        jane = add_patient(connection, A)
        for number in range(600):
            add_order(connection, jane, f"P{number}", f"1.2.{number}")
        row = studies.take_study(connection, image_header(study_instance_uid="1.2.599", patient_id="1"), NOW, NOW)
        return int(row.id)

    study_id = database.write(change)
    with database.read() as connection:
        facts = links.facts_of(connection, study_id)
        found = links.candidate_orders(connection, facts, frozenset())
    assert "1.2.599" in {o.study_instance_uid for o in found}
    assert len(found) <= 101


def test_a_study_that_grew_meanwhile_is_not_closed(database: Database) -> None:
    def change(connection: Connection) -> bool:
        row = studies.take_study(connection, image_header(), NOW, NOW)
        studies.grow_study(connection, row.id, NOW)
        return studies.complete_study(connection, row.id, row.version, NOW, "quiet")

    assert database.write(change) is False


def linked(connection: Connection, *, again_after_end: bool) -> int:
    order = add_order(connection, add_patient(connection, A), "P1", "1.2.3")
    (procedure,) = orders.procedures_of(connection, order)
    row = studies.take_study(connection, image_header(), NOW, NOW)
    for _ in range(2):
        links.add_link(connection, row.id, procedure.id, rule="person", evidence=[], at=NOW, by="x")
        if again_after_end:
            (link,) = links.live_links(connection, row.id)
            links.end_link(connection, link.id, NOW, "x", "wrong")
    return len(links.all_links(connection, row.id))


def test_links_that_ended_stay_as_history(database: Database) -> None:
    assert database.write(lambda c: linked(c, again_after_end=True)) == 2


def test_a_study_has_one_live_link_to_a_procedure(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.write(lambda c: linked(c, again_after_end=False))


def test_a_performed_step_is_new_once(database: Database) -> None:
    step = PerformedStep("1.1", PerformedStatus.IN_PROGRESS)
    keys = [database.write(lambda c: performed.add_performed(c, step, {}, "CT1", NOW)) for _ in range(2)]
    assert (keys[0] is not None, keys[1]) == (True, None)


def test_a_study_that_does_not_exist_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound), database.read() as connection:
        studies.get_study(connection, 77)


def test_a_signed_token_makes_one_link(database: Database) -> None:
    def change(connection: Connection) -> list[bool]:
        row = studies.take_study(connection, image_header(), NOW, NOW)
        values = {"issuer": "portal", "token_id": "jti", "user_name": "", "study_id": row.id, "expires_at": NOW}
        return [launches.add_link(connection, {**values, "link_hash": h, "user_subject": None}) for h in "ab"]

    assert database.write(change) == [True, False]
