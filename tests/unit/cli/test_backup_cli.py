"""`bridge backup` and `bridge restore` at the prompt."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from bridge.workflow.restoring import UNFINISHED
from tests.unit.cli.site import OnDisk, order
from tests.unit.cli.test_verify_cli import keep


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    made = OnDisk(tmp_path / "site")
    made.store(order())
    return made


def test_a_backup_is_told_with_what_brings_it_back(site: OnDisk, tmp_path: Path) -> None:
    keep(site, 1)
    result = site.run("backup", tmp_path / "monday")
    assert result.exit_code == 0, result.output
    assert "✓ images    1 files" in result.output
    assert f"bridge restore {tmp_path / 'monday'} --data EMPTY-FOLDER" in result.output


def test_only_its_owner_reads_a_backup(site: OnDisk, tmp_path: Path) -> None:
    keep(site, 1)
    site.run("backup", tmp_path / "monday")
    assert [path for path in (tmp_path / "monday").rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert stat.S_IMODE((tmp_path / "monday").stat().st_mode) == 0o700


def test_a_lost_image_is_named_and_the_status_is_1(site: OnDisk, tmp_path: Path) -> None:
    lost = keep(site, 1)
    lost.unlink()
    result = site.run("backup", tmp_path / "monday")
    assert (result.exit_code, lost.name in result.output) == (1, True)


def test_a_restore_says_what_is_to_be_done_now(site: OnDisk, tmp_path: Path) -> None:
    keep(site, 1)
    site.run("backup", tmp_path / "monday")
    result = site.run("restore", tmp_path / "monday", "--data", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert "✓ images    1 files there" in result.output
    assert "have the RIS and the registration send again" in result.output


def test_what_was_restored_is_told_to_machines_too(site: OnDisk, tmp_path: Path) -> None:
    site.run("backup", tmp_path / "monday")
    told = json.loads(site.run("restore", tmp_path / "monday", "--data", tmp_path / "again", "--json").output)
    assert (told["lost"], told["held"], told["verify"]["orphans"], told["backup"]["kind"]) == ([], [], 0, "sqlite")


def test_a_folder_that_is_no_backup_is_refused_in_a_word(site: OnDisk, tmp_path: Path) -> None:
    result = site.run("restore", tmp_path, "--data", tmp_path / "again")
    assert (result.exit_code, "no backup here" in result.output) == (1, True)


def test_run_takes_no_half_restored_folder_for_a_whole_one(site: OnDisk) -> None:
    (site.settings.data / UNFINISHED).touch()
    result = site.run("run", "--in-process")
    assert (result.exit_code, "a restore did not end here" in result.output) == (2, True)


def test_status_tells_when_the_last_backup_was_made(site: OnDisk, tmp_path: Path) -> None:
    assert "last backup" not in site.run("status").output
    site.run("backup", tmp_path / "monday")
    assert "last backup" in site.run("status").output
