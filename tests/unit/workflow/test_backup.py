"""A backup holds one moment whole while the bridge works on; a restore brings it back and settles what is unknown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Settings
from bridge.dicom.files import Archive
from bridge.domain.commitment import CommitmentRequest, Reference
from bridge.domain.message import Fate, Reading
from bridge.errors import NotReadable, StateConflict, StoreUnavailable
from bridge.store import backup as store_backup
from bridge.store import commitment, inbox, launches, outbound
from bridge.store.db import Database
from bridge.workflow import backup, restoring
from bridge.workflow.backup import Backup, Manifest, read_manifest
from bridge.workflow.restoring import UNFINISHED, Restore, Restored
from tests.unit.workflow.house import House, order
from tests.unit.workflow.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    (tmp_path / "first").mkdir()
    return Kept(tmp_path / "first")


def take(kept: Kept, folder: Path, during: Callable[[], None] = lambda: None, **options: Any) -> Manifest:
    """`during` is done once, when the copy of the database has begun."""
    told: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        if not told:
            told.append(what)
            during()

    run = kept.house.settings.data
    return Backup(kept.house.context, run, Archive, progress).take(folder, "cli:test", **options)


def bring_back(kept: Kept, folder: Path, data: Path) -> Restored:
    settings = kept.house.settings.model_copy(update={"data": data})
    return Restore(folder, settings, kept.house.clock, Archive, open_database).run("cli:test")


def open_database(settings: Settings) -> Database:
    return Database("", settings.data, on_broken=lambda: None)


def house_on(kept: Kept, data: Path) -> House:
    """A bridge on a restored data folder."""
    made = object.__new__(House)
    made.__dict__.update(kept.house.__dict__)
    made.settings = kept.house.settings.model_copy(update={"data": data})
    made.database = open_database(made.settings)
    made.context = type(kept.house.context)(made.database, made.settings, made.clock)
    made.intake = type(kept.house.intake)(made.context)
    return made


def work(kept: Kept) -> None:
    kept.house.order(order())
    kept.keep()
    kept.keep()


# -- taking ---------------------------------------------------------------------------------------------------------


def test_what_was_backed_up_comes_back_whole(kept: Kept, tmp_path: Path) -> None:
    work(kept)
    manifest = take(kept, tmp_path / "backup")
    restored = bring_back(kept, tmp_path / "backup", tmp_path / "second")
    assert (manifest.files, manifest.lost, restored.lost, restored.verdict.findings) == (2, (), (), [])
    again, files = house_on(kept, tmp_path / "second"), Archive(tmp_path / "second" / "archive")
    assert [row.sop_instance_uid for row in again.rows("instance")] == [
        row.sop_instance_uid for row in kept.house.rows("instance")
    ]
    assert {row.file for row in again.rows("instance")} == set(files.names())


def test_a_backup_is_of_one_moment_and_the_bridge_works_on_meanwhile(kept: Kept, tmp_path: Path) -> None:
    for number in range(3000):  # more than one step of the copy
        kept.house.database.write(
            lambda c, n=number: outbound.add_outbound(
                c, "ris", f"X{n}", b"x" * 4000, f"order:{n}", "started", kept.house.clock.now(), kept.house.clock.now()
            )
        )
    take(kept, tmp_path / "backup", during=lambda: work(kept))
    assert len(kept.house.rows("instance")) == 2
    copied = Database("", tmp_path / "backup", on_broken=lambda: None)
    with copied.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM instance").scalar_one() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM outbound_message").scalar_one() == 3000
    copied.close()


def test_nothing_is_deleted_while_a_backup_is_made(kept: Kept, tmp_path: Path) -> None:
    allowed: list[bool] = []

    def try_to_delete() -> None:
        with store_backup.deleting(kept.house.settings.data) as free:
            allowed.append(free)

    take(kept, tmp_path / "backup", during=try_to_delete)
    assert allowed == [False]


@pytest.mark.parametrize(("copy", "names"), [(False, 2), (True, 1)])
def test_files_are_links_where_they_may_be_and_copies_where_asked(
    kept: Kept, tmp_path: Path, copy: bool, names: int
) -> None:
    _, file = kept.keep()
    take(kept, tmp_path / "backup", copy=copy)
    assert (tmp_path / "backup" / "archive" / file.name).stat().st_nlink == names


def test_where_links_are_refused_files_are_copied(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(1, "not permitted")

    monkeypatch.setattr(os, "link", refused)
    _, file = kept.keep()
    assert take(kept, tmp_path / "backup").files == 1
    assert Archive(tmp_path / "backup" / "archive").intact(file)


def test_a_lost_image_is_named_and_costs_no_other(kept: Kept, tmp_path: Path) -> None:
    _, file = kept.keep()
    kept.keep()
    kept.archive.path(file.name).unlink()
    manifest = take(kept, tmp_path / "backup")
    assert (manifest.files, manifest.lost) == (1, (file.name,))


def test_a_flipped_bit_is_seen_when_the_file_is_copied(kept: Kept, tmp_path: Path) -> None:
    _, file = kept.keep()
    path = kept.archive.path(file.name)
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert take(kept, tmp_path / "backup", copy=True).lost == (file.name,)
    assert not (tmp_path / "backup" / "archive" / file.name).exists()


def test_a_backup_writes_over_nothing(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    with pytest.raises(StateConflict):
        take(kept, tmp_path / "backup")


def test_a_backup_that_fails_leaves_nothing(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(backup, "copy_file", full)
    kept.keep()
    with pytest.raises(StoreUnavailable):
        take(kept, tmp_path / "backup", copy=True)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_backup_without_room_for_its_images_is_refused_before_it_copies_any(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep()
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreUnavailable, match="are free"):
        take(kept, tmp_path / "backup", copy=True)


def test_a_damaged_database_makes_no_backup(kept: Kept, tmp_path: Path) -> None:
    kept.keep()
    kept.run("DELETE FROM series")
    with pytest.raises(StoreUnavailable, match="refers to no series"):
        take(kept, tmp_path / "backup")


def test_no_secret_of_a_login_under_way_is_in_it(kept: Kept, tmp_path: Path) -> None:
    now = kept.house.clock.now()
    pending = {
        "state_hash": "h", "browser_hash": "b", "iss": "i", "nonce": "NONCE-1", "verifier": "VERIFIER-1",
        "expires_at": now,
    }  # fmt: skip
    kept.house.database.write(lambda c: launches.add_pending(c, pending))
    take(kept, tmp_path / "backup")
    content = b"".join(path.read_bytes() for path in (tmp_path / "backup").iterdir() if path.is_file())
    assert not any(secret in content for secret in (b"NONCE-1", b"VERIFIER-1"))


def test_a_backup_is_audited_and_its_age_kept(kept: Kept, tmp_path: Path) -> None:
    take(kept, tmp_path / "backup")
    assert kept.house.audited("backup") == 1
    assert [row.at for row in kept.house.rows("activity") if row.kind == "backup"] == [kept.house.clock.now()]


# -- restoring ------------------------------------------------------------------------------------------------------


def test_F32_a_resend_after_the_restore_gets_its_stored_answer(kept: Kept, tmp_path: Path) -> None:
    kept.house.send(_reading(), raw=b"order 1", control="C1")
    take(kept, tmp_path / "backup")
    bring_back(kept, tmp_path / "backup", tmp_path / "second")
    again = house_on(kept, tmp_path / "second")
    fate, _ = again.send(_reading(), raw=b"order 1", control="C1")
    assert (fate, len(again.rows("message")), len(again.rows("order_event"))) == (Fate.IGNORED, 1, 1)


def test_F32_control_without_the_stored_message_it_would_act_again(kept: Kept, tmp_path: Path) -> None:
    kept.house.send(_reading(), raw=b"order 1", control="C1")
    take(kept, tmp_path / "backup")
    bring_back(kept, tmp_path / "backup", tmp_path / "second")
    again = house_on(kept, tmp_path / "second")
    again.database.write(lambda c: c.exec_driver_sql("DELETE FROM message"))
    again.send(_reading(), raw=b"order 1", control="C1")
    assert len(again.rows("order_event")) == 2


def _reading() -> Reading:
    return Reading(orders=(order(),))


@pytest.fixture
def restored(kept: Kept, tmp_path: Path) -> House:
    """What waited, was claimed, was open and was counted when the backup was made."""
    work(kept)
    kept.house.complete()
    now = kept.house.clock.now()
    session = {
        "token_hash": "t", "origin": "smart", "user_issuer": "i", "user_subject": "s", "patient_id": 1,
        "opened_at": now, "expires_at": now + timedelta(hours=1),
    }  # fmt: skip
    link = {
        "link_hash": "l", "issuer": "i", "token_id": "j", "user_subject": None, "study_id": 1,
        "expires_at": now + timedelta(hours=1),
    }  # fmt: skip

    def fill(connection: Any) -> None:
        for number, event in enumerate(("started", "completed")):
            outbound.add_outbound(connection, "ris", f"X{number}", b"{}", "order:1", event, now, now)
        launches.add_session(connection, session, [1])
        launches.add_link(connection, link)
        inbox.set_sequence(connection, "ris", 41, now)
        asked = CommitmentRequest("1.2.8", (Reference("1.2", "1.2.3"),))
        commitment.add_commitment(connection, asked, "CT1", now, now)

    kept.house.database.write(fill)
    kept.run("UPDATE publication SET state = 'claimed', lease_owner = 'other:1', lease_until = '2099-01-01 00:00:00'")
    kept.run("UPDATE commitment SET state = 'due', lease_owner = 'other:1', lease_until = '2099-01-01 00:00:00'")
    take(kept, tmp_path / "backup")
    bring_back(kept, tmp_path / "backup", tmp_path / "second")
    return house_on(kept, tmp_path / "second")


def test_a_queue_of_ours_stands_still_at_its_head(restored: House) -> None:
    """Since the backup it may have been sent, and newer words after it."""
    assert [row.state for row in restored.rows("outbound_message")] == ["stopped", "new"]
    assert ("outbound-dead", "restored-from-backup") in restored.reviews()


def test_what_a_dead_process_had_claimed_is_due(restored: House) -> None:
    assert [(row.state, row.lease_owner) for row in restored.rows("publication")] == [("due", None)]


def test_nobody_is_told_committed_on_the_word_of_the_lost_disk(restored: House) -> None:
    assert [(row.state, row.lease_owner) for row in restored.rows("commitment")] == [("asked", None)]


def test_nothing_that_was_open_opens_anything(restored: House) -> None:
    assert [row.revoked_at is not None for row in restored.rows("launch_session")] == [True]
    assert [row.used_at is not None for row in restored.rows("launch_link")] == [True]


def test_a_link_that_counts_takes_whatever_number_comes_next(restored: House) -> None:
    assert restored.read(lambda c: inbox.last_sequence(c, "ris")) is None


def test_a_person_is_told_that_newer_data_are_gone(restored: House) -> None:
    assert ("restored", "newer-data-lost") in restored.reviews()
    assert restored.audited("restored") == 1


def test_what_was_published_stays_so(kept: Kept, tmp_path: Path) -> None:
    work(kept)
    kept.house.complete()
    kept.run("UPDATE publication SET state = 'done', published_version = version, remote_id = 'a'")
    kept.run("UPDATE outbound_message SET state = 'sent'")
    take(kept, tmp_path / "backup")
    assert bring_back(kept, tmp_path / "backup", tmp_path / "second").held == ()
    again = house_on(kept, tmp_path / "second")
    assert [(row.state, row.remote_id) for row in again.rows("publication")] == [("done", "a")]


def test_a_folder_that_is_in_use_is_left_alone(kept: Kept, tmp_path: Path) -> None:
    take(kept, tmp_path / "backup")
    with pytest.raises(StateConflict, match="empty folder"):
        bring_back(kept, tmp_path / "backup", kept.house.settings.data)


def test_the_viewer_may_be_there_already(kept: Kept, tmp_path: Path) -> None:
    take(kept, tmp_path / "backup")
    (tmp_path / "second" / "viewer").mkdir(parents=True)
    assert bring_back(kept, tmp_path / "backup", tmp_path / "second").verdict.sound


def test_a_changed_database_is_not_restored(kept: Kept, tmp_path: Path) -> None:
    take(kept, tmp_path / "backup")
    with (tmp_path / "backup" / "bridge.db").open("ab") as file:
        file.write(b"x")
    with pytest.raises(NotReadable):
        bring_back(kept, tmp_path / "backup", tmp_path / "second")
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("content", [None, b"{}", b'{"format": 2}'])
def test_a_folder_that_is_no_backup_is_not_restored(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(NotReadable):
        read_manifest(tmp_path)


def test_an_image_that_was_damaged_in_the_backup_is_named(kept: Kept, tmp_path: Path) -> None:
    _, file = kept.keep()
    take(kept, tmp_path / "backup", copy=True)
    path = tmp_path / "backup" / "archive" / file.name
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert bring_back(kept, tmp_path / "backup", tmp_path / "second").lost == (file.name,)


def test_a_restore_that_died_is_marked(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space")

    kept.keep()
    take(kept, tmp_path / "backup")
    monkeypatch.setattr(restoring, "copy_file", full)
    with pytest.raises(StoreUnavailable):
        bring_back(kept, tmp_path / "backup", tmp_path / "second")
    assert (tmp_path / "second" / UNFINISHED).exists()


def test_a_restore_that_ended_is_not_marked(kept: Kept, tmp_path: Path) -> None:
    take(kept, tmp_path / "backup")
    bring_back(kept, tmp_path / "backup", tmp_path / "second")
    assert not (tmp_path / "second" / UNFINISHED).exists()


def test_the_manifest_can_be_read_by_anybody(kept: Kept, tmp_path: Path) -> None:
    kept.keep()
    take(kept, tmp_path / "backup")
    told = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert (told["format"], told["kind"], told["files"], told["lost"]) == (1, "sqlite", 1, [])
