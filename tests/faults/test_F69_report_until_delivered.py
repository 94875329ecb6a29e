"""F69: a device that is away for two hours, and a restart of ours meanwhile: every report is delivered in the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from bridge.domain.commitment import CommitmentState
from bridge.store import commitment
from bridge.workflow import leasing
from tests.faults.archive_site import ArchiveSite, Asked, archive_site, scanner
from tests.peers.commitment import Modality, ask, free_port, modality
from tests.results import Record

TITLES = ("CT1", "CT2", "MR1", "US1")
HOURS_2 = 2 * 3600


@contextmanager
def at(ports: dict[str, int]) -> Iterator[dict[str, Modality]]:
    """The devices are back."""
    with ExitStack() as stack:
        yield {title: stack.enter_context(modality(port)) for title, port in ports.items()}


def ask_each(site: ArchiveSite, stored: Asked, count: int) -> dict[str, str]:
    """So many requests, one device after the other; the title by transaction."""
    asked = {f"2.25.{number}": TITLES[number % len(TITLES)] for number in range(1, count + 1)}
    for transaction, title in asked.items():
        assert site.ask(transaction, stored, title=title) == 0x0000
    return asked


def away(site: ArchiveSite, seconds: int, step: int = 60) -> None:
    """Nobody listens; the worker tries as often as it means to."""
    for _ in range(seconds // step):
        site.clock.advance(step)
        site.work()


def die_in_a_report(site: ArchiveSite) -> None:
    """As a worker that was killed leaves it: claimed by a process that is no more."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owner = leasing.this_process().replace(str(os.getpid()), str(dead.pid))
    now = site.clock.now()
    key = next(row.id for row in site.rows() if row.state == CommitmentState.DUE)
    claim = site.database.write(
        lambda c: commitment.claim_commitment(c, key, CommitmentState.DUE, owner, now, now + timedelta(hours=1))
    )
    assert claim is not None


def test_F69_what_two_hours_and_a_restart_held_up_is_delivered(tmp_path: Path, full: bool, record: Record) -> None:
    ports = {title: free_port() for title in TITLES}
    peers = [scanner(port, title) for title, port in ports.items()]
    with archive_site(tmp_path, *peers) as site:
        stored, clock = site.store(2), site.clock
        asked = ask_each(site, stored, 400 if full else 24)
        away(site, HOURS_2 // 2)
        die_in_a_report(site)
    with archive_site(tmp_path, *peers, clock=clock) as site:
        away(site, HOURS_2 // 2)
        assert set(site.states()) == {"due"}
        with at(ports) as devices:
            away(site, 1800)
            reports = [(one["transaction"], title) for title, d in devices.items() for one in d.reports]
        late = len(set(asked.items()) - set(reports))
        record("F69", f"undelivered of {len(asked)} reports, device away 2 h, restart", late, 0)
        assert sorted(reports) == sorted(asked.items()), "each once, to the device that asked"
        assert set(site.states()) == {"delivered"}


def test_F69_a_device_that_is_away_is_not_hammered(tmp_path: Path) -> None:
    """However much waits for it, it is tried by one report at a time, each quarter of an hour in the end."""
    with archive_site(tmp_path, scanner(free_port())) as site:
        stored = site.store(1)
        for number in range(1, 21):
            site.ask(f"2.25.{number}", stored)
        away(site, HOURS_2, step=10)
        tries = sum(row.attempts for row in site.rows())
        assert 12 <= tries <= 32, tries


def test_F69_one_that_is_away_keeps_nobody_waiting(tmp_path: Path) -> None:
    with modality() as here, archive_site(tmp_path, scanner(free_port()), scanner(here.port, "CT2")) as site:
        stored = site.store(1)
        site.ask("2.25.1", stored)
        ask(site.dicom.port, "2.25.2", stored, calling="CT2")
        site.work()
        assert here.report()["transaction"] == "2.25.2"
        assert site.states() == ["due", "delivered"]


def test_F69_what_became_of_the_images_meanwhile_is_what_is_told(tmp_path: Path) -> None:
    """A verdict of two hours ago is no promise."""
    port = free_port()
    with archive_site(tmp_path, scanner(port)) as site:
        stored = site.store(2)
        site.ask("2.25.1", stored)
        away(site, HOURS_2)
        site.file(stored[0][1]).unlink()
        with modality(port) as device:
            away(site, 1800)
            told = device.report()
        assert (told["type"], [uid for _, uid in told["committed"]]) == (2, [stored[1][1]])
