"""F68: "committed" is never said of an object that is missing, truncated, bit-flipped or was never synced."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bridge.domain.study import FileCondition
from tests.faults.archive_site import ArchiveSite, Asked, archive_site, scanner
from tests.peers.available import need
from tests.peers.commitment import Modality, ask, modality
from tests.results import Record
from tests.unit.dicom.support import CT, image, part10

Damage = Callable[[Path, random.Random], None]


def missing(file: Path, _: random.Random) -> None:
    file.unlink()


def truncated(file: Path, chance: random.Random) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: chance.randrange(len(whole))])


def flipped(file: Path, chance: random.Random) -> None:
    """One bit, anywhere: preamble, file meta information, header or pixels."""
    whole = bytearray(file.read_bytes())
    whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    file.write_bytes(whole)


def never_synced(file: Path, chance: random.Random) -> None:
    """What a power cut leaves of a file that was renamed before its data were on the disk: nothing, or zeros."""
    size = file.stat().st_size
    file.write_bytes(b"" if chance.random() < 0.5 else bytes(size))


DAMAGES: Sequence[Damage] = (missing, truncated, flipped, never_synced)


@pytest.fixture
def device() -> Iterator[Modality]:
    with modality() as one:
        yield one


def storescu(site: ArchiveSite, folder: Path, count: int) -> Asked:
    """So many images sent by DCMTK: pynetdicom's own sender may miss an answer when it is pressed for time."""
    folder.mkdir()
    made = [image(f"1.2.3.1.1.{number}") for number in range(1, count + 1)]
    for number, one in enumerate(made):
        part10(folder / f"{number:05}.dcm", one)
    port = str(site.dicom.port)
    command = [need("storescu"), "-aet", "CT1", "-aec", "BRIDGE", "-xe", "+sd", "127.0.0.1", port, str(folder)]
    subprocess.run(command, check=True, timeout=300)
    return [(CT, str(one.SOPInstanceUID)) for one in made]


def damage(site: ArchiveSite, stored: Asked, damages: Sequence[Damage] = DAMAGES) -> dict[tuple[str, str], str]:
    """Every second object is damaged, in one way after the other; by which."""
    chance = random.Random(68)
    done = {}
    for number, one in enumerate(stored[::2]):
        how = damages[number % len(damages)]
        how(site.file(one[1]), chance)
        done[one] = how.__name__
    return done


def told(site: ArchiveSite, device: Modality, instances: Asked) -> tuple[set[tuple[str, str]], dict[str, int]]:
    """What was committed, and the reasons of what was not, by instance."""
    assert ask(site.dicom.port, "2.25.68", instances)["status"] == 0x0000
    site.work()
    report = device.report(seconds=60)
    return {(c, i) for c, i in report["committed"]}, {i: reason for _, i, reason in report["failed"]}


def test_F68_of_what_is_damaged_nothing_is_called_committed(
    tmp_path: Path, device: Modality, full: bool, record: Record
) -> None:
    with archive_site(tmp_path, scanner(device.port)) as site:
        stored = storescu(site, tmp_path / "sent", 2000 if full else 100)
        done = damage(site, stored)
        absent = [(CT, f"1.2.99.{number}") for number in range(len(stored) // 20)]
        committed, failed = told(site, device, [*stored, *absent])
    false = {one: done.get(one, "absent") for one in committed if one in done or one in absent}
    record("F68", f"called committed of {len(done) + len(absent)} damaged or absent objects", len(false), 0)
    assert false == {}
    assert committed == set(stored) - done.keys(), "whole objects are committed"
    assert failed.keys() == {uid for _, uid in (*done, *absent)}
    reasons = {how: {failed[uid] for (_, uid), one in done.items() if one == how} for how in done.values()}
    assert reasons == {"missing": {0x0112}, "truncated": {0x0110}, "flipped": {0x0110}, "never_synced": {0x0110}}


def test_F68_every_bit_before_the_data_set_counts(tmp_path: Path, device: Modality) -> None:
    """The data set's own hash does not see a transfer syntax that became another one."""
    with archive_site(tmp_path, scanner(device.port)) as site:
        stored = site.store(40)
        for number, (_, uid) in enumerate(stored):
            file = site.file(uid)
            whole = bytearray(file.read_bytes())
            whole[number * 9] ^= 1  # preamble, DICM, file meta
            file.write_bytes(whole)
        committed, _ = told(site, device, stored)
    assert committed == set()


def test_F68_a_check_that_trusts_the_row_is_caught(tmp_path: Path, device: Modality) -> None:
    """The negative control."""
    with archive_site(tmp_path, scanner(device.port), condition=lambda _: FileCondition.WHOLE) as site:
        stored = site.store(8)
        done = damage(site, stored)
        committed, _ = told(site, device, stored)
    assert committed & done.keys() == done.keys()


def test_F68_a_file_that_is_damaged_is_in_sight_of_a_person(tmp_path: Path, device: Modality) -> None:
    with archive_site(tmp_path, scanner(device.port)) as site:
        stored = site.store(4)
        damage(site, stored, (flipped,))
        told(site, device, [*stored, (CT, "1.2.99.1")])
        assert reviews(site) == [("commitment-failed", "stored-file-damaged", 2)]


def test_F68_what_the_device_sends_again_is_committed_when_it_asks_again(tmp_path: Path, device: Modality) -> None:
    with archive_site(tmp_path, scanner(device.port)) as site:
        stored = site.store(8)
        damage(site, stored)
        told(site, device, stored)
        site.store(8)
        told(site, device, stored)
        assert [len(one["failed"]) for one in device.reports] == [4, 0]
        assert "commitment-failed" not in [kind for kind, *_ in reviews(site)]


def reviews(site: ArchiveSite) -> list[tuple[str, str, int]]:
    from bridge.store.review import open_reviews

    with site.database.read() as connection:
        return [(r["kind"], r["reason"], r["details"].get("instances")) for r in open_reviews(connection)]  # type: ignore[attr-defined]
