"""F38, F39, F40: a disk that is full or has become read-only makes no answer false, and hides no worklist.

The database and the archive have a small ext4 file system each, filled to its last block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from pydicom import Dataset

from bridge.sandbox.hospital import ROLES
from tests.faults.disk_site import Peers, on_small_disks, seconds_until
from tests.faults.rig.disks import SmallDisk, mounted, need_mounts, repair
from tests.results import Record

RESUMED = 10.0
OUT_OF_RESOURCES = 0xA700
pytestmark = pytest.mark.timeout(120)


@dataclass
class Site(Peers):
    database: SmallDisk | None = None
    archive: SmallDisk | None = None

    def serves(self, image: Dataset) -> bool:
        return self.store(image) == 0x0000 and self.ready() == 200


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need_mounts()
    with on_small_disks(tmp_path_factory.mktemp("disks")) as (hospital, database, archive), hospital:
        made = Site(hospital, database=database, archive=archive)
        for _ in range(3):
            assert made.order()
        assert made.ready() == 200
        yield made


def test_F38_a_full_database_disk_takes_nothing_shows_its_worklist_and_resumes(
    site: Site, full: bool, record: Record
) -> None:
    refused: Counter[str] = Counter()
    for _ in range(10 if full else 2):
        assert site.database is not None
        image, entries = site.image(), site.shown()
        pids = [site.hospital.role_pid(role) for role in ROLES]
        site.database.fill()
        # The WAL's own blocks take a few more, which are then safe: the ledger knows them.
        assert seconds_until(lambda: site.order() is None, 20) <= 20
        refused.update({"step": not site.begin(), "image": site.store(image) == OUT_OF_RESOURCES})
        assert [name for name in site.files() if name.endswith(".part")] == []
        assert site.ready() == 503
        assert site.shown() >= entries
        site.database.free()
        resumed = seconds_until(lambda: site.order() and site.ready() == 200, RESUMED)
        record("F38", "seconds until it takes messages and says that it is ready", resumed, RESUMED)
        assert resumed <= RESUMED
        assert site.store(site.image()) == 0x0000
        assert [site.hospital.role_pid(role) for role in ROLES] == pids
    assert refused["step"] and refused["image"]
    site.assert_nothing_lost()


def test_F39_a_full_archive_disk_keeps_no_part_of_an_image_and_resumes(site: Site, full: bool, record: Record) -> None:
    for _ in range(10 if full else 2):
        assert site.archive is not None
        image = site.image()
        files, entries = site.files(), site.shown()
        site.archive.fill()
        assert [site.store(image) for _ in range(5)] == [OUT_OF_RESOURCES] * 5
        assert site.files() == files
        assert site.order() is not None
        assert site.shown() > entries
        assert site.ready() == 503
        site.archive.free()
        resumed = seconds_until(partial(site.serves, image), RESUMED)
        record("F39", "seconds until it keeps images and says that it is ready", resumed, RESUMED)
        assert resumed <= RESUMED
        assert len(site.files()) == len(files) + 1


def test_F40_a_read_only_archive_refuses_images_takes_messages_and_resumes(
    site: Site, full: bool, record: Record
) -> None:
    for _ in range(10 if full else 2):
        assert site.archive is not None
        image = site.image()
        files, entries = site.files(), site.shown()
        site.archive.set_read_only(True)
        try:
            assert [site.store(image) for _ in range(3)] == [OUT_OF_RESOURCES] * 3
            assert site.order() is not None
            assert (site.ready(), site.shown()) == (503, entries + 1)
        finally:
            site.archive.set_read_only(False)
        resumed = seconds_until(partial(site.serves, image), RESUMED)
        record("F40", "seconds until it keeps images and says that it is ready", resumed, RESUMED)
        assert resumed <= RESUMED
        assert len(site.files()) == len(files) + 1


def test_F40_a_database_disk_that_failed_takes_nothing_shows_its_worklist_and_comes_back_after_a_check(
    tmp_path: Path, record: Record
) -> None:
    need_mounts()
    with on_small_disks(tmp_path) as (hospital, database, _):
        with hospital:
            site = Peers(hospital)
            for _ in range(3):
                assert site.order()
            image, pids = site.image(), [hospital.role_pid(role) for role in ROLES]
            database.fail()
            for _ in range(5):
                assert [site.order(), site.begin(), site.store(image)] == [None, False, OUT_OF_RESOURCES]
                assert (site.ready(), site.shown()) == (503, 4)
            # Nobody could start again on such a disk: whoever lives must go on.
            assert [hospital.role_pid(role) for role in ROLES] == pids
            assert site.files() == []
        assert hospital.log.read_text().count("Traceback") == 0
    repair(tmp_path / "database.img")
    with (
        mounted(tmp_path / "database.img", hospital.data),
        mounted(tmp_path / "archive.img", hospital.data / "archive"),
        hospital,
    ):
        resumed = seconds_until(lambda: site.order() and site.ready() == 200, RESUMED)
        record("F40", "seconds from the start after the check until it takes messages", resumed, RESUMED)
        assert resumed <= RESUMED
        assert site.store(image) == 0x0000
        site.assert_nothing_lost()
