"""What the demo does before and around its story: the folder, the time zone, the ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.run.supervisor import DataFolderLock
from bridge.sandbox.day import MARKER, check_ports, clean, doors
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import Hospital
from bridge.sandbox.zone import machine_zone


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder in which a demo has run."""
    folder = tmp_path / "demo"
    clean(folder)
    (folder / "data" / "run").mkdir(parents=True)
    (folder / "data" / "bridge.db").touch()
    (folder / "bridge.log").touch()
    return folder


def test_a_demo_begins_with_an_empty_folder(old: Path) -> None:
    clean(old)
    assert [p.name for p in old.iterdir()] == [MARKER]


def test_a_viewer_kept_in_the_folder_stays(old: Path) -> None:
    (old / "viewer").mkdir()
    clean(old)
    assert (old / "viewer").is_dir()


def test_a_linked_viewer_is_never_emptied(old: Path, tmp_path: Path) -> None:
    shared = tmp_path / "cache" / "index.html"
    shared.parent.mkdir()
    shared.touch()
    (old / "data" / "viewer").symlink_to(shared.parent)
    clean(old)
    assert shared.exists()


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    with pytest.raises(ConfigurationError, match="not made by a demo"):
        clean(tmp_path)
    assert (tmp_path / "config").is_dir()


def test_a_folder_in_use_is_left_alone(old: Path) -> None:
    lock = DataFolderLock(old / "data" / "run")
    with pytest.raises(ConfigurationError, match="another bridge"):
        clean(old)
    lock.close()
    assert (old / "data" / "bridge.db").exists()


def test_every_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        taken = [one.getsockname()[1], other.getsockname()[1]]
        with pytest.raises(ConfigurationError) as fault:
            check_ports(tuple(taken))
    assert all(str(port) in fault.value.faults[0] for port in taken)


@pytest.mark.parametrize(
    ("told", "zone"), [("Europe/Vienna", "Europe/Vienna"), (":Asia/Tokyo", "Asia/Tokyo"), ("X3", "")]
)
def test_TZ_rules_alone_when_it_is_set(monkeypatch: pytest.MonkeyPatch, told: str, zone: str) -> None:
    monkeypatch.setenv("TZ", told)
    assert machine_zone() == zone


def test_the_zone_is_where_localtime_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Paris")
    assert machine_zone(tmp_path / "localtime", tmp_path / "none") == "Europe/Paris"


def test_a_copied_localtime_is_named_by_timezone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    (tmp_path / "localtime").touch()
    (tmp_path / "timezone").write_text("America/Lima\n")
    assert machine_zone(tmp_path / "localtime", tmp_path / "timezone") == "America/Lima"


def test_a_machine_that_does_not_tell_has_no_zone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert machine_zone(tmp_path / "localtime", tmp_path / "timezone") == ""


def test_what_is_printed_at_the_end_is_what_a_person_can_use(tmp_path: Path) -> None:
    ehr = PretendEhr(8090)
    told = doors(Hospital(tmp_path, fhir_base=ehr.fhir_base), ehr, "p1")
    assert [words for words, _ in told] == [
        "Chart (press “View images”)",
        "All patients",
        "EHR's FHIR server",
        "State",
        "Review list",
        "Log",
    ]
