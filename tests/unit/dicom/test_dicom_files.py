"""The archive: whole, synced, under names of our own."""

from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.dicom import files
from bridge.dicom.files import Archive
from bridge.domain.study import FileCondition
from bridge.errors import BadValue, NotReadable, StoreBroken, StoreUnavailable
from tests.unit.dicom.support import image, part10

SOON = datetime(2200, 1, 1, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def _temporary(archive: Archive, **changes: Any) -> Path:
    return part10(archive.temporary(), image(**changes))


def test_a_stored_name_is_random_hex_in_two_folders(archive: Archive) -> None:
    assert re.fullmatch(r"[0-9a-f]{2}/[0-9a-f]/[0-9a-f]{32}\.dcm", archive.commit(_temporary(archive)).name)


def test_nothing_is_left_in_incoming_after_a_commit(archive: Archive) -> None:
    archive.commit(_temporary(archive))
    assert list(archive.incoming.iterdir()) == []


def test_a_preamble_that_holds_a_program_is_zeroed(archive: Archive) -> None:
    path = _temporary(archive)
    path.write_bytes(b"MZ" + path.read_bytes()[2:])
    stored = archive.commit(path)
    assert archive.path(stored.name).read_bytes()[:128] == bytes(128)


def test_the_same_object_under_another_file_meta_has_the_same_hash(archive: Archive) -> None:
    plain, other = image(), image()
    other.file_meta.ImplementationVersionName = "OTHER"
    first = archive.commit(part10(archive.temporary(), plain))
    second = archive.commit(part10(archive.temporary(), other))
    assert first.sha256 == second.sha256 and first.name != second.name


def test_other_pixels_have_another_hash(archive: Archive) -> None:
    first = archive.commit(_temporary(archive))
    assert archive.commit(_temporary(archive, PixelData=bytes(32))).sha256 != first.sha256


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "ab/c/../../x.dcm", "", "/etc/passwd", "ab/c/" + "0" * 32 + ".dcm\n"]
)
def test_a_name_that_is_not_ours_has_no_path(archive: Archive, name: str) -> None:
    with pytest.raises(BadValue):
        archive.path(name)


def test_the_file_is_synced_before_the_rename_and_the_folders_after(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    archive.commit(_temporary(archive))
    assert steps == ["file", "rename", "folder", "folder", "folder"]


def test_a_failed_sync_is_fatal(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _temporary(archive)

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreBroken):
        archive.commit(path)


def test_a_full_disk_is_unavailable_and_leaves_no_name(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _temporary(archive)

    def rename(*_: Any) -> Path:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(StoreUnavailable):
        archive.commit(path)
    assert list(archive.names()) == []


def test_what_is_no_part_10_file_is_not_kept(archive: Archive) -> None:
    path = archive.temporary()
    path.write_bytes(b"%PDF-1.7" * 40)
    with pytest.raises(NotReadable):
        archive.commit(path)
    assert list(archive.names()) == []


def test_the_sweep_removes_unfinished_files_and_files_without_a_row(archive: Archive) -> None:
    kept, orphan = archive.commit(_temporary(archive)), archive.commit(_temporary(archive))
    archive.temporary().write_bytes(b"half")
    assert archive.sweep(lambda names: {kept.name}, before=SOON) == 2
    assert list(archive.names()) == [kept.name] and orphan.name not in archive.names()


def test_a_sweep_that_is_told_to_stop_removes_nothing_more(archive: Archive) -> None:
    archive.commit(_temporary(archive))
    assert archive.sweep(lambda names: set(), before=SOON, stop=lambda: True) == 0


def test_the_sweep_leaves_files_that_may_be_between_their_rename_and_their_row(archive: Archive) -> None:
    young = archive.commit(_temporary(archive))
    assert archive.sweep(lambda names: set(), before=datetime(2020, 1, 1, tzinfo=UTC)) == 0
    assert list(archive.names()) == [young.name]


def test_a_stored_file_is_intact(archive: Archive) -> None:
    assert archive.intact(archive.commit(_temporary(archive)))


@pytest.mark.parametrize("harm", [b"", b"no DICOM", bytes(132) + b"DICM"])
def test_a_file_that_is_no_longer_what_was_stored_is_not_intact(archive: Archive, harm: bytes) -> None:
    stored = archive.commit(_temporary(archive))
    archive.path(stored.name).write_bytes(harm.ljust(stored.size, b"\0"))
    assert not archive.intact(stored)


def test_a_file_that_is_gone_is_not_intact(archive: Archive) -> None:
    stored = archive.commit(_temporary(archive))
    archive.remove(stored.name)
    assert not archive.intact(stored)


# -- what the disk has of it ----------------------------------------------------------------------------------------


def test_a_file_as_it_was_stored_is_whole(archive: Archive) -> None:
    assert archive.condition(archive.commit(_temporary(archive))) is FileCondition.WHOLE


@pytest.mark.parametrize("at", [0, 130, 200, -1], ids=["preamble", "DICM", "file meta", "pixels"])
def test_one_other_bit_anywhere_is_damage(archive: Archive, at: int) -> None:
    stored = archive.commit(_temporary(archive))
    path = archive.path(stored.name)
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)
    assert archive.condition(stored) is FileCondition.DAMAGED


def test_a_file_that_is_not_there_is_gone(archive: Archive) -> None:
    stored = archive.commit(_temporary(archive))
    archive.path(stored.name).unlink()
    assert archive.condition(stored) is FileCondition.GONE


def test_when_the_whole_archive_is_not_there_nothing_is_said_of_a_file(archive: Archive) -> None:
    stored = archive.commit(_temporary(archive))
    archive.root.rename(archive.root.with_name("unmounted"))
    with pytest.raises(StoreUnavailable):
        archive.condition(stored)


@pytest.mark.parametrize(("fault", "found"), [(errno.EIO, FileCondition.DAMAGED), (errno.EACCES, None)])
def test_a_disk_that_cannot_read_it_has_lost_it_and_one_that_may_not_says_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, fault: int, found: FileCondition | None
) -> None:
    stored = archive.commit(_temporary(archive))

    def refused(_: int) -> None:
        raise OSError(fault, "refused")

    monkeypatch.setattr(os, "fsync", refused)
    if found:
        assert archive.condition(stored) is found
    else:
        with pytest.raises(StoreUnavailable):
            archive.condition(stored)


def test_it_is_synced_and_let_go_of_before_it_is_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory holds of a file says nothing of the disk."""
    stored = archive.commit(_temporary(archive))
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("synced"))
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: done.append("let go"))
    digests = files._digests

    def read(file: Any) -> tuple[str, str]:
        done.append("read")
        return digests(file)

    monkeypatch.setattr(files, "_digests", read)
    assert archive.condition(stored) is FileCondition.WHOLE
    assert done == ["synced", "let go", "read"]
