"""`bridge load` through the feed's own port, and `bridge shadow` beside a tap."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from bridge import app
from bridge.cli_shadow import read_files
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.dicom.worklist_user import WorklistUser
from bridge.errors import RemoteUnavailable
from bridge.hl7.client import MllpClient
from bridge.hl7.mllp import write_frame
from bridge.hl7.receive import FeedReceiver
from bridge.store.migrate import migrate
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake
from tests.unit.cli.site import OnDisk, order
from tests.unit.hl7.test_listener import certificate  # noqa: F401 - a fixture


@pytest.fixture
def site(tmp_path: Path) -> OnDisk:
    return OnDisk(tmp_path / "site")


@pytest.fixture
def port(site: OnDisk) -> Iterator[int]:
    with serving(site) as found:
        yield found


@contextlib.contextmanager
def serving(site: OnDisk) -> Iterator[int]:
    """The feed of the running bridge."""
    database = app.open_database(site.settings)
    migrate(database)
    (feed,) = site.settings.hl7.feed
    intake = Intake(Context(database, site.settings, SystemClock()))
    receiver = FeedReceiver(feed, app.load_mappings(site.settings, feed), intake, SystemClock())
    receiver.listener.start()
    try:
        yield receiver.listener.port
    finally:
        receiver.listener.stop()
        database.close()


def messages(site: OnDisk) -> list[tuple[str, str]]:
    rows = json.loads(site.run("messages", "list", "--json").output)
    return [(row["control_id"], row["fate"]) for row in reversed(rows)]


@contextlib.contextmanager
def folder_of(tmp_path: Path, *files: bytes) -> Iterator[Path]:
    folder = tmp_path / "captured"
    folder.mkdir()
    for number, content in enumerate(files):
        (folder / f"{number}.hl7").write_bytes(content)
    yield folder


# -- what a file may hold --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "content",
    [
        order(1) + order(2),
        (order(1) + b"\r\n" + order(2)).replace(b"\r", b"\r\n"),
        order(1).replace(b"\r", b"\n") + b"\n" + order(2).replace(b"\r", b"\n"),
        write_frame(order(1)) + b"\r\n\x00" + write_frame(order(2)),
        b"FHS|^~\\&|EHR\rBHS|^~\\&|EHR\r" + order(1) + order(2) + b"BTS|2\rFTS|1\r",
        write_frame(b"BHS|^~\\&|EHR\r" + order(1) + order(2) + b"BTS|2\r"),
        b"\xef\xbb\xbf" + order(1) + order(2),
    ],
    ids=["in-a-row", "crlf", "lf", "mllp", "batch-file", "framed-batch", "bom"],
)
def test_a_file_of_two_messages_is_two_messages(tmp_path: Path, content: bytes) -> None:
    with folder_of(tmp_path, content) as folder:
        found = [raw.split(b"|")[9] for raw in read_files([folder])]
    assert found == [b"C1", b"C2"]


def test_the_files_of_a_folder_come_by_name(tmp_path: Path) -> None:
    with folder_of(tmp_path, order(2), order(1)) as folder:
        assert [raw.split(b"|")[9] for raw in read_files([folder])] == [b"C2", b"C1"]


def test_an_empty_file_holds_no_message(tmp_path: Path) -> None:
    with folder_of(tmp_path, b"", b"\r\n\r\n") as folder:
        assert read_files([folder]) == []


# -- load ------------------------------------------------------------------------------------------------------------
def test_load_sends_every_message_to_the_feed(site: OnDisk, port: int, tmp_path: Path) -> None:
    with folder_of(tmp_path, order(1) + order(2), order(3)) as folder:
        told = site.run("load", folder, "--port", str(port))
    assert (told.exit_code, told.output.strip()) == (0, "3 AA")
    assert messages(site) == [("C1", "applied"), ("C2", "applied"), ("C3", "applied")]


def test_load_twice_has_one_effect(site: OnDisk, port: int, tmp_path: Path) -> None:
    with folder_of(tmp_path, order(1)) as folder:
        told = [site.run("load", folder, "--port", str(port)).output.strip() for _ in range(2)]
    assert told == ["1 AA", "1 AA"]
    assert messages(site) == [("C1", "applied")]


def test_a_message_that_is_refused_is_named_and_the_rest_goes_on(site: OnDisk, port: int, tmp_path: Path) -> None:
    bad = order(2).replace(b"1002^^^HOSP", b"")
    with folder_of(tmp_path, order(1) + bad + order(3)) as folder:
        told = site.run("load", folder, "--port", str(port))
    assert told.exit_code == 1
    assert "message 2 (C2): AE" in told.output and "2 AA, 1 AE" in told.output
    assert "DOE" not in told.output


def test_load_stops_where_no_answer_comes(site: OnDisk, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    with folder_of(tmp_path, order(1) + order(2)) as folder:
        told = site.run("load", folder, "--port", str(port))
    assert told.exit_code == 1 and "stopped at message 1 (C1), of 2" in told.output


def test_load_says_when_the_bridge_does_not_run(site: OnDisk, tmp_path: Path) -> None:
    with folder_of(tmp_path, order(1)) as folder:
        told = site.run("load", folder)
    assert told.exit_code == 1 and "the bridge does not run" in told.output


def test_load_speaks_tls_to_a_feed_that_does(site: OnDisk, tmp_path: Path, certificate: Path) -> None:  # noqa: F811
    config = f'port = 0\ntls_certificate_file = "{certificate}"\ntls_client_ca_file = "{certificate}"'
    site.config.write_text(site.config.read_text().replace("port = 0", config))
    site.settings = Settings.load(site.config, {})
    identity = ("--tls-ca", certificate, "--tls-cert", certificate)
    with folder_of(tmp_path, order()) as folder, serving(site) as port:
        assert site.run("load", folder, "--port", str(port)).exit_code == 2
        told = site.run("load", folder, "--port", str(port), *identity)
    assert told.output.strip() == "1 AA"


def test_a_dry_run_counts_and_sends_nothing(site: OnDisk, tmp_path: Path) -> None:
    with folder_of(tmp_path, order(1) + order(2)) as folder:
        assert site.run("load", folder, "--dry-run").output.strip() == "2 messages"


# -- shadow ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """What the old worklist answers, whoever asks."""
    answers: list[Dataset] = []

    def ask(_user: WorklistUser, calling: str, _asked: Any) -> Iterator[Dataset]:
        yield from (one for one in answers if one.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == calling)

    monkeypatch.setattr(WorklistUser, "ask", ask)
    return answers


def old_entry(number: int = 1, **more: str) -> Dataset:
    found, step = Dataset(), Dataset()
    found.AccessionNumber, found.PatientID, found.PatientName = f"A{number}", str(1000 + number), "DOE^JANE"
    found.StudyInstanceUID = f"1.2.840.99.{number}"
    step.ScheduledStationAETitle, step.Modality, step.ScheduledProcedureStepID = "CT1", "CT", f"S{number}"
    for name, value in more.items():
        setattr(found, name, value)
    found.ScheduledProcedureStepSequence = [step]
    return found


def test_shadow_agrees_when_both_say_the_same(site: OnDisk, old: list[Dataset], tmp_path: Path) -> None:
    old.append(old_entry())
    with folder_of(tmp_path, order()) as folder:
        told = site.run("shadow", folder, "--old", "127.0.0.1:104/OLD")
    assert told.exit_code == 0
    assert "CT1: 1 the same, 0 differ, 0 only in the old, 0 only in ours" in told.output


def test_shadow_tells_entry_by_entry(site: OnDisk, old: list[Dataset], tmp_path: Path) -> None:
    old += [old_entry(1, PatientName="ROE^JANE"), old_entry(3)]
    with folder_of(tmp_path, order(1) + order(2) + order(4, modality="RAD")) as folder:
        told = site.run("shadow", folder, "--old", "127.0.0.1:104/OLD", "--ae", "CT1")
    assert told.exit_code == 1
    lines = told.output.splitlines()
    assert "2 applied, 1 parked" in lines and "1 parked: modality-unknown" in lines
    assert any(line.startswith("  - DOE^JANE  id 1003  accession A3") for line in lines)
    assert any(line.startswith("  + DOE^JANE  id 1002  accession A2") for line in lines)
    assert "      PatientName: ROE^JANE -> DOE^JANE" in lines


def test_shadow_leaves_the_live_store_alone(site: OnDisk, old: list[Dataset], tmp_path: Path) -> None:
    with folder_of(tmp_path, order()) as folder:
        site.run("shadow", folder, "--old", "127.0.0.1:104/OLD")
    assert list(site.settings.data.iterdir()) == []


def test_a_tap_is_answered_whatever_it_sends(site: OnDisk, old: list[Dataset]) -> None:
    old.append(old_entry())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers: list[bytes] = []

    def tap() -> None:
        with MllpClient("127.0.0.1", port, 10) as client:
            for raw in (order(), order(2).replace(b"1002^^^HOSP", b"")):
                for _ in range(200):
                    with contextlib.suppress(RemoteUnavailable):
                        answers.append(client.send(raw))
                        break
                    threading.Event().wait(0.02)

    sender = threading.Thread(target=tap)
    sender.start()
    told = site.run("shadow", "--listen", str(port), "--for", "3s", "--old", "127.0.0.1:104/OLD", "--ae", "CT1")
    sender.join()
    assert [b"MSA|AA" in answer for answer in answers] == [True, True]
    assert "1 applied, 1 refused" in told.output and "CT1: 1 the same" in told.output


def test_shadow_wants_files_or_a_port(site: OnDisk) -> None:
    assert site.run("shadow", "--old", "127.0.0.1:104/OLD").exit_code == 2


@pytest.mark.parametrize(
    "text", ["host", "host:104", "host:x/AE", "host:104/", "host:0/AE", "host:104/SEVENTEEN-LETTERS"]
)
def test_an_address_that_is_none_is_refused(site: OnDisk, text: str, tmp_path: Path) -> None:
    assert site.run("shadow", tmp_path, "--old", text).exit_code == 2
