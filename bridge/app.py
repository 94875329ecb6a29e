"""The one composition root: everything is made and joined here, and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bridge.clock import Clock, SystemClock, agreed_epoch
from bridge.config import Defaults, Feed, Settings
from bridge.dicom.ae import DicomServer
from bridge.dicom.classes import stored
from bridge.dicom.commitment_user import CommitmentUser
from bridge.dicom.document import bulkdata, describe
from bridge.dicom.files import Archive
from bridge.dicom.fitting import may_be
from bridge.errors import BridgeError, ConfigurationError
from bridge.fhir.ehr import FhirEhr
from bridge.hl7.receive import FeedReceiver
from bridge.hl7.sender import Sender
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.run.role import STORE_BROKEN, Ending, Role
from bridge.run.scheduler import Ticker
from bridge.run.worker import Loop
from bridge.smart.client import SmartClient
from bridge.store import audit, studies
from bridge.store.db import Database
from bridge.web.dicomweb import dicomweb_blueprint
from bridge.web.factory import create_public_app, create_viewer_app
from bridge.web.metrics import metrics_blueprint
from bridge.web.ports import Deps
from bridge.web.server import WebServer
from bridge.web.viewer.serve import viewer_blueprint
from bridge.workflow import leaping
from bridge.workflow.acquiring import Acquiring
from bridge.workflow.alarming import Alarming
from bridge.workflow.attending import Attending
from bridge.workflow.committing import Commitments, Committing
from bridge.workflow.context import Context
from bridge.workflow.expiring import Expiring
from bridge.workflow.housekeeping import Housekeeping
from bridge.workflow.intake import Intake
from bridge.workflow.launching import LaunchDesk
from bridge.workflow.matching import Matching
from bridge.workflow.measuring import read_measures, room
from bridge.workflow.noticing import Notices, Noticing
from bridge.workflow.performing import PerformedSteps
from bridge.workflow.publishing import Publisher
from bridge.workflow.retention import Retention
from bridge.workflow.retiring import Retiring
from bridge.workflow.viewing import Viewing
from bridge.workflow.worklist import WorklistDesk

HEARTBEAT_SECONDS = 5.0
ATTENDING_SECONDS = 5.0
SILENT_AFTER = timedelta(seconds=20)
DRAIN_SECONDS = 25.0
SWEEP_AGE = timedelta(minutes=10)
DATABASE_ROOM = 16 * 1024 * 1024
"""Below it the next large message, or the WAL's next growth, may find no room."""


def prepare_folders(settings: Settings) -> None:
    """The data folder and what is in it, for nobody else's eyes."""
    for folder in (settings.data, run_folder(settings), settings.archive):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def run_folder(settings: Settings) -> Path:
    return settings.data / "run"


def open_database(settings: Settings, on_broken: Callable[[], None] = lambda: None) -> Database:
    secret = settings.database.password_file
    password = secret.read_text().strip() if secret else None
    return Database(settings.database.url, settings.data, password=password, on_broken=on_broken)


def machine_clock(settings: Settings, database: Database | None = None, *, anew: bool = False) -> SystemClock:
    """The clock of a process of this bridge: its steady time is the one of the others. `anew` at the bridge's start."""
    clock = SystemClock(agreed_epoch(run_folder(settings) / "clock", anew=anew))
    if database is not None:
        with suppress(BridgeError):  # the next heartbeat tries again
            follow(clock, database)
    return clock


def note_start(settings: Settings, database: Database, *, anew: bool) -> None:
    """Before any role runs: where the steady time begins, and whether the clock may have been moved while all stood."""
    leaping.note_start(Context(database, settings, machine_clock(settings, database, anew=anew)))


def follow(clock: SystemClock, database: Database) -> None:
    """Raises `StoreUnavailable`."""
    if (time := database.time()) is not None:
        clock.follow(time)


def load_mappings(settings: Settings, feed: Feed | None = None) -> Mappings:
    """The site's mappings, or those of a feed. Raises `ConfigurationError` with every fault of the files."""
    overlay = (feed.mapping_overlay if feed else "") or settings.site.mapping_overlay
    mappings = Mappings.load(default_directory(), overlay or None, mapping_context(settings, feed))
    odd = [rule for rule in mappings.attributes.rules if not may_be(rule.name, rule.vr)]
    if odd:
        raise ConfigurationError([f"{rule.mark}: {rule.name} is not {rule.vr} in DICOM" for rule in odd])
    return mappings


def mapping_context(settings: Settings, feed: Feed | None = None) -> MappingContext:
    """What the mappings must know of the site, or of a feed, beside their tables."""
    defaults = _defaults(settings, feed)
    return MappingContext(
        settings.site.zone,
        settings.issuers,
        default_patient_issuer=defaults.patient_issuer,
        default_placer_issuer=defaults.placer_issuer,
        default_filler_issuer=defaults.filler_issuer,
        default_accession_issuer=defaults.accession_issuer,
        preferred_patient_issuer=defaults.patient_issuer,
        identifying_types=settings.patients.identifying_types,
    )


def feed_mappings(settings: Settings) -> dict[str, Mappings]:
    """The mappings of each feed, by its name; feeds that agree share one."""
    made: dict[tuple[str, Defaults], Mappings] = {}
    found: dict[str, Mappings] = {}
    for feed in settings.hl7.feed:
        key = feed.mapping_overlay, _defaults(settings, feed)
        if key not in made:
            made[key] = load_mappings(settings, feed)
        found[feed.name] = made[key]
    return found


def _defaults(settings: Settings, feed: Feed | None) -> Defaults:
    if feed is None:
        return settings.defaults
    own = {name: value for name, value in feed.defaults if value}
    return settings.defaults.model_copy(update=own)


class Process:
    """What every role's process holds: the store, the clock, and a heartbeat."""

    def __init__(self, settings: Settings, ending: Ending, clock: Clock | None = None) -> None:
        prepare_folders(settings)
        self.settings = settings
        self.ending = ending
        self.database = open_database(settings, lambda: ending.ask(STORE_BROKEN))
        self.clock = clock or machine_clock(settings, self.database)
        self.context = Context(self.database, settings, self.clock)
        self.ticker = Ticker()

    def beat(self, role: str) -> None:
        """Say that the role lives; a failure shows as silence. Nodes keep the time of the database that they share."""
        try:
            if isinstance(self.clock, SystemClock):
                follow(self.clock, self.database)
            self.database.write(lambda c: audit.note_activity(c, "role", role, self.clock.steady()))
        except BridgeError:
            return


class Hl7Role:
    name = "hl7"

    def __init__(self, process: Process) -> None:
        mappings = feed_mappings(process.settings)
        intake = Intake(process.context)
        self._process = process
        self._feeds = {
            feed.name: FeedReceiver(feed, mappings[feed.name], intake, process.clock)
            for feed in process.settings.hl7.feed
        }
        self._senders = [Sender(process.context, destination) for destination in process.settings.hl7.destination]
        self._sending = [Loop("hl7-out", (sender.send_due,), idle_seconds=0.5) for sender in self._senders]
        self._beat = _heart(process, self.name)

    def start(self) -> dict[str, int]:
        for feed in self._feeds.values():
            feed.listener.start()
        for loop in self._sending:
            loop.start()
        self._beat.start()
        return {f"hl7.{name}": feed.listener.port for name, feed in self._feeds.items()}

    def stop(self) -> None:
        with ThreadPoolExecutor(len(self._sending) + 1) as pool:
            for loop in self._sending:  # each waits for the answer in hand: all at once
                pool.submit(loop.stop)
            for feed in self._feeds.values():
                feed.listener.drain(DRAIN_SECONDS)
        for sender in self._senders:
            sender.close()
        self._beat.stop()


@dataclass(frozen=True, slots=True)
class _DicomServices:
    worklist: WorklistDesk
    performing: PerformedSteps
    acquiring: Acquiring
    committing: Commitments
    noticing: Notices
    broken: Callable[[], None]


class DicomRole:
    name = "dicom"

    def __init__(self, process: Process) -> None:
        self._process = process
        mappings = load_mappings(process.settings)
        table = mappings.transliteration
        services = _DicomServices(
            WorklistDesk(process.context, table.plain),
            PerformedSteps(process.context, mappings.fate),
            Acquiring(process.context),
            Commitments(process.context),
            Notices(process.context),
            lambda: process.ending.ask(STORE_BROKEN),
        )
        self._server = DicomServer(process.settings, services, process.clock, table)
        self._stopping = threading.Event()
        self._sweep_before: datetime | None = None
        self._sweeping = Loop("sweeping", (self._sweep,), idle_seconds=60.0)
        self._beat = _heart(process, self.name)

    def start(self) -> dict[str, int]:
        self._sweep_before = self._process.clock.now() - SWEEP_AGE
        self._server.start()
        self._sweeping.start()
        self._beat.start()
        return {"dicom": self._server.port}

    def stop(self) -> None:
        self._stopping.set()
        self._server.drain(DRAIN_SECONDS)
        self._server.stop()
        self._sweeping.stop()
        self._beat.stop()

    def _sweep(self) -> int:
        """Once a start: files without a row are answers that never left, and their senders send again.

        Beside the listener, since it looks at every file. Without the backup's lock: no row that a backup could have
        seen owns what is removed here, but for a damaged file that was healed.
        """
        if self._sweep_before is not None:
            archive = Archive(self._process.settings.archive)
            archive.sweep(self._owned, before=self._sweep_before, stop=self._stopping.is_set)
            self._sweep_before = None
        return 0

    def _owned(self, names: list[str]) -> set[str]:
        with self._process.database.read() as connection:
            return studies.known_files(connection, names)


class WebRole:
    name = "web"

    def __init__(self, process: Process) -> None:
        self._process = process
        settings = process.settings
        web = settings.web
        viewing = Viewing(process.context, describe, bulkdata)
        smart = SmartClient(
            settings.launch.smart,
            settings.issuers,
            redirect_uri=f"{web.public_url}/launch/callback",
            clock=process.clock,
        )
        self._deps = Deps(
            settings=settings,
            desk=LaunchDesk(process.context),
            clock=process.clock,
            smart=smart,
            ready=self._ready,
            public=(metrics_blueprint(settings, process.clock, lambda: read_measures(process.context)),),
            viewer=(
                lambda session: dicomweb_blueprint(viewing, session, clock=process.clock),
                lambda _session: viewer_blueprint(
                    settings.data / "viewer", investigational_banner=settings.viewer.investigational_banner
                ),
            ),
        )
        self._public = WebServer(web.host, web.port, threads=max(2, web.threads // 3))
        self._viewer = WebServer(web.viewer_host, web.viewer_port, threads=web.threads)
        self._beat = _heart(process, self.name)

    def start(self) -> dict[str, int]:
        ports = {"web.public": self._public.bind(), "web.viewer": self._viewer.bind()}
        self._public.start(create_public_app(self._deps))
        self._viewer.start(create_viewer_app(self._deps))
        self._beat.start()
        return ports

    def stop(self) -> None:
        self._public.stop()
        self._viewer.stop()
        self._beat.stop()

    def _ready(self) -> Mapping[str, bool]:
        return readiness(self._process.database, self._process.settings, self._process.clock)


class WorkerRole:
    name = "worker"

    def __init__(self, process: Process) -> None:
        self._process = process
        context = process.context
        spell = load_mappings(process.settings).transliteration.plain
        acquiring, matching = Acquiring(context), Matching(context, spell)
        housekeeping = Housekeeping(context, describe)
        wado = f"{process.settings.web.viewer_url}/dicom-web"
        self._publisher = Publisher(
            context,
            {
                ehr.name: FhirEhr(ehr, context.issuers, wado, clock=process.clock)
                for ehr in process.settings.ehr
                if ehr.imaging_study != "off"
            },
            on_free=lambda: self._deciding.wake(),
        )
        self._deciding = Loop(
            "deciding",
            (Noticing(context).apply_due, acquiring.complete_due, matching.judge_due, self._publisher.publish_due),
            idle_seconds=0.5,
        )
        self._committing = Committing(
            context,
            Archive(process.settings.archive).condition,
            CommitmentUser(process.settings.dicom),
            stored(process.settings.storage.private_sop_classes),
            on_free=lambda: self._reporting.wake(),
        )
        self._checking = Loop("checking", (self._committing.check_due, self._committing.forget_due), idle_seconds=1.0)
        self._reporting = Loop("reporting", (self._committing.report_due,), idle_seconds=1.0)
        self._describing = Loop("describing", (housekeeping.describe_due,), idle_seconds=1.0)
        self._expiring = Loop("expiring", (Expiring(context).expire_due,), idle_seconds=60.0)
        self._purging = Loop("purging", (Retention(context).purge_due,), idle_seconds=60.0)
        retiring = Retiring(context, Archive(process.settings.archive).remove)
        self._retiring = Loop("retiring", (retiring.retire_due,), idle_seconds=60.0)
        self._checkpoints = Loop("checkpoints", (_nothing_done(housekeeping.checkpoint),), idle_seconds=1.0)
        alarming = Alarming(context, tuple(ROLES))
        self._watching = Loop(
            "watching", (_nothing_done(alarming.check),), idle_seconds=process.settings.alarms.check_seconds
        )
        self._attending = Loop("attending", (_nothing_done(Attending(context).look),), idle_seconds=ATTENDING_SECONDS)
        self._beat = _heart(process, self.name)
        self._loops = (
            self._deciding,
            self._attending,
            self._checking,
            self._reporting,
            self._describing,
            self._expiring,
            self._purging,
            self._retiring,
            self._checkpoints,
            self._watching,
            self._beat,
        )

    def start(self) -> dict[str, int]:
        self._publisher.take_over()
        self._committing.take_over()
        for loop in self._loops:
            loop.start()
        self._process.ticker.every(0.5, self._deciding.wake)
        self._process.ticker.start()
        return {}

    def stop(self) -> None:
        self._process.ticker.stop()
        self._committing.end()
        for loop in self._loops:
            loop.stop()
        self._publisher.close()
        self._committing.close()


ROLES: dict[str, Callable[[Process], Role]] = {
    "hl7": Hl7Role,
    "dicom": DicomRole,
    "web": WebRole,
    "worker": WorkerRole,
}


class AllRoles:
    """Every role in one process (`--in-process`): for debugging, and where SQLite is too old for several."""

    name = "all"

    def __init__(self, process: Process, names: tuple[str, ...]) -> None:
        self._roles = [ROLES[name](process) for name in names]

    def start(self) -> dict[str, int]:
        ports: dict[str, int] = {}
        for role in self._roles:
            ports |= role.start()
        return ports

    def stop(self) -> None:
        for role in self._roles:
            role.stop()


def readiness(database: Database, settings: Settings, clock: Clock) -> dict[str, bool]:
    """Whether the service can do its work: the store answers and took the last change (each role's heartbeat is one),
    the disks have room, every role has been heard of."""
    checks = dict.fromkeys(("store", "disk", *(f"role.{name}" for name in ROLES)), False)
    checks["disk"] = room(settings.archive) >= settings.storage.min_free_bytes and (
        not database.is_sqlite or room(settings.data) >= DATABASE_ROOM
    )
    try:
        with database.read() as connection:
            beats = {r["name"]: r["at"] for r in audit.activities(connection) if r["kind"] == "role"}
    except BridgeError:
        return checks
    checks["store"] = database.takes_changes
    for name in ROLES:
        at = beats.get(name)
        checks[f"role.{name}"] = at is not None and clock.steady() - at <= SILENT_AFTER  # type: ignore[operator]
    return checks


def _heart(process: Process, name: str) -> Loop:
    return Loop(f"heart-{name}", (_nothing_done(lambda: process.beat(name)),), idle_seconds=HEARTBEAT_SECONDS)


def _nothing_done(step: Callable[[], None]) -> Callable[[], int]:
    """A step that is done at its own pace, not again at once."""

    def run() -> int:
        step()
        return 0

    return run
