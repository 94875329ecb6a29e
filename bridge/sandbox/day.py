"""`bridge sandbox day`: sets the pretend hospital up, plays its day, and stays up for people to look.

Everything real runs as it would at a site: `bridge run` in processes of its own, with a configuration in a file.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from bridge.errors import BridgeError, ConfigurationError
from bridge.run.supervisor import DataFolderLock
from bridge.sandbox.ehr import PretendEhr
from bridge.sandbox.hospital import DEMO_PORTS, Hospital, Ports
from bridge.sandbox.narrate import Narrator
from bridge.sandbox.story import Story
from bridge.sandbox.verdict import faults_of
from bridge.sandbox.zone import machine_zone
from bridge.web.viewer.install import install, pinned

EHR_PORT = 8090
HOME_ZONE = "Europe/Berlin"
MARKER = "pretend-hospital"
OURS = ("config", "data", "secrets", "bridge.log")


def day(folder: Path, *, once: bool, viewer: Path, narrator: Narrator) -> int:
    """Play the day in `folder`; returns the exit status. `once`: on free ports, judged by its end state, then over.

    Raises ConfigurationError (ports taken, a folder that is not ours, no npm) and RemoteUnavailable (npm failed).
    """
    # SIGINT too: a shell that starts us in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return _day(folder.resolve(), once=once, viewer=viewer.resolve(), tell=narrator)
    except KeyboardInterrupt:
        return 0 if not once else 130


def _day(folder: Path, *, once: bool, viewer: Path, tell: Narrator) -> int:
    zone = _live_in_a_zone()
    tell.section("Setting up the pretend hospital (demo data only; no one here is a real patient)")
    ports = Ports.free() if once else DEMO_PORTS
    if not once:
        check_ports((EHR_PORT, ports.hl7, ports.dicom, ports.public, ports.viewer, ports.scanner))
    clean(folder)
    with tell.progress("Setup", viewer.name, f"the OHIF viewer {pinned()[0]} by the locked npm ci") as tick:
        install(viewer, lambda _, done, total: tick(done, total))
        tick.set("in place")
    ehr = PretendEhr(0 if once else EHR_PORT)
    try:
        with tell.step("Setup", "EHR", "start: charts, FHIR R4 server, SMART authorisation server") as answer:
            ehr.start()
            answer.set(ehr.issuer)
        words = "bridge init: config/bridge.toml and secrets/smart-client.jwk, mode 0600"
        with tell.step("Setup", "Bridge", words) as answer:
            hospital = Hospital(folder, fhir_base=ehr.fhir_base, ports=ports, time_zone=zone, viewer=viewer)
            answer.set(zone)
        with tell.step("Setup", "EHR", "register the bridge's public key for private_key_jwt") as answer:
            ehr.client_jwks = hospital.client_jwks
            answer.set(f"client {ehr.client_id}")
        ehr.bridge_launch_url = f"{hospital.public_url}/launch"
        ehr.redirect_uris = [f"{hospital.public_url}/launch/callback"]
        ehr.make_link = lambda uid: hospital.links.link(hospital.public_url, uid)
        return _open(hospital, ehr, tell, once=once)
    finally:
        ehr.stop()


def _open(hospital: Hospital, ehr: PretendEhr, tell: Narrator, *, once: bool) -> int:
    try:
        with tell.step("Setup", "Bridge", "bridge run: hl7, dicom, web, worker; database made") as answer:
            hospital.start()
            answer.set(hospital.public_url)
        story = Story(hospital, ehr, tell)
        try:
            story.play()
        except (BridgeError, OSError, ValueError, subprocess.SubprocessError) as error:
            faults = [f"{type(error).__name__}: {error} ({getattr(error, 'where', '')})".replace(" ()", "")]
        else:
            with tell.step("Judge", "all", "the end state, asked for by C-FIND, FHIR, DICOMweb and HTTP") as answer:
                faults = faults_of(story)
                answer.set("as it should be" if not faults else f"{len(faults)} faults", good=not faults)
        if faults:
            tell.section("The day went wrong")
            for fault in faults:
                tell.note(f"✗ {fault}")
            tell.note(f"The bridge's log: {hospital.log}")
            return 1
        if not once:
            _stay(story, tell)
        return 0
    finally:
        hospital.stop()


def _stay(story: Story, tell: Narrator) -> None:
    hospital, ehr = story.hospital, story.ehr
    tell.section("The hospital is open")
    for words, what in doors(hospital, ehr, story.patient_id):
        tell.note(f"{words:<28} {what}")
    tell.note("")
    tell.note("It stays open until you press Ctrl-C here.")
    try:
        while hospital.running:
            time.sleep(1)
        tell.note(f"The bridge has ended by itself: see {hospital.log}")
    except KeyboardInterrupt:
        tell.note("Closing: the bridge drains, then the EHR stops.")


def doors(hospital: Hospital, ehr: PretendEhr, patient_id: str) -> tuple[tuple[str, str], ...]:
    """What a person can open, run or read while the hospital is open: (what it is, where). The viewer has no address of
    its own to open: it is entered from a chart."""
    return (
        ("Chart (press “View images”)", ehr.chart_url(patient_id)),
        ("All patients", f"{ehr.issuer}/"),
        ("EHR's FHIR server", f"{ehr.fhir_base}/ImagingStudy"),
        ("State", _command(hospital, "status")),
        ("Review list", _command(hospital, "review")),
        ("Log", str(_near(hospital.log))),
    )


def clean(folder: Path) -> None:
    """An empty demo folder, so that the story begins afresh. ConfigurationError when it is not a demo's, or in use."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ConfigurationError([f"{folder}: not empty, and not made by a demo; name another folder"])
        if (folder / "data" / "run").is_dir():
            DataFolderLock(folder / "data" / "run").close()
        for name in OURS:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("Made by `bridge sandbox day`; each run empties this folder.\n")


def check_ports(wanted: tuple[int, ...]) -> None:
    taken = []
    for port in wanted:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    if taken:
        names = ", ".join(map(str, taken))
        raise ConfigurationError([f"in use on 127.0.0.1: port {names}. Another demo? With --once free ports are taken"])


def _live_in_a_zone() -> str:
    """The site's zone. Scanner, RIS and EHR stamp by this process's wall clock, which therefore must show it."""
    zone = machine_zone()
    if not zone:
        zone = os.environ["TZ"] = HOME_ZONE
        time.tzset()
    return zone


def _command(hospital: Hospital, name: str) -> str:
    return f".venv/bin/bridge --config {_near(hospital.config)} {name}"


def _near(path: Path) -> Path:
    """The path as seen from here, when it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
