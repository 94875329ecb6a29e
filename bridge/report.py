"""What the command line tells: status, faults, and what waits for a person. It reads, and changes nothing."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bridge import app
from bridge.cli_common import ago, opened
from bridge.clock import Clock
from bridge.config import Settings
from bridge.dicom.ae import tls_context
from bridge.errors import BridgeError, ConfigurationError
from bridge.hl7.tls import server_context
from bridge.run.ports import fault_of, places
from bridge.run.role import read_notice
from bridge.store import alarms, audit, commitment, inbox, outbound, outbox, review, studies, worklist
from bridge.store.db import Database, sqlite_sound_for_processes, sqlite_version
from bridge.store.migrate import current, differences, newest
from bridge.web.viewer.files import read_manifest

FLOORS = {"pydicom": "3.0.2", "pynetdicom": "3.0.4", "Authlib": "1.9.9", "fhir.resources": "8.3.0"}


def status(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Everything `bridge status` prints, as plain values."""
    with opened(settings) as database:
        app.prepare_folders(settings)
        with database.read() as connection:
            activity = audit.activities(connection)
            facts: dict[str, Any] = {
                "at": clock.now(),
                "alarms": alarms.open_alarms(connection),
                "messages": inbox.count_by_fate(connection),
                "worklist": worklist.count_due(connection),
                "studies": [list(row) for row in studies.count_by_state(connection)],
                "publications": [list(row) for row in outbox.count_publications(connection)],
                "unsent": [list(row) for row in outbox.unsent_reasons(connection)],
                "oldest_unsent": outbox.oldest_unsent(connection),
                "hl7_out": [asdict(queue) for queue in outbound.queue_states(connection)],
                "commitments": [asdict(one) for one in commitment.undelivered(connection)],
                "reviews": [list(row) for row in review.count_reviews(connection)],
            }
        checks = app.readiness(database, settings, app.machine_clock(settings, database))
    for kind in ("feed", "query", "mpps", "store", "backup"):
        facts[kind] = {r["name"]: {"at": r["at"], "count": r["count"]} for r in activity if r["kind"] == kind}
    notices = {name: read_notice(app.run_folder(settings) / f"{name}.json") for name in (*app.ROLES, "all")}
    facts["roles"] = {
        name: {"up": checks[f"role.{name}"], **((notices[name] or notices["all"]) or {})} for name in app.ROLES
    }
    facts["free_bytes"] = shutil.disk_usage(settings.archive).free
    facts["checks"] = checks
    facts["ready"] = all(checks.values())
    return facts


def render_status(facts: dict[str, Any], settings: Settings) -> str:
    """The screen that one reads at 3 a.m.: trouble first, one line a thing."""
    now: datetime = facts["at"]
    trouble = _trouble(facts, settings)
    lines = [f"{settings.site.name}: {'ready' if facts['ready'] else 'NOT READY'}", ""]
    up = [f"  ✓ {name:<8} up     {_ports(one)}" for name, one in facts["roles"].items() if one["up"]]
    for block in (trouble, up):
        lines += [*block, ""] if block else []
    for kind, title in (
        ("feed", "last message"),
        ("query", "last query"),
        ("mpps", "last MPPS"),
        ("store", "last image"),
        ("backup", "last backup"),
    ):
        for name, one in facts[kind].items():
            since = f"{ago(now, one['at'])} ago"
            lines.append(f"  {title:<13} {name:<16} {since:>10}   {one['count']} in all")
    lines.append("")
    lines.append(f"  messages      {_pairs(facts['messages'])}")
    lines.append(f"  worklist      {facts['worklist']} entries due")
    lines.append(f"  studies       {_pairs({f'{s}/{m}': n for s, m, n in facts['studies']})}")
    for name, state, count, _ in facts["publications"]:
        lines.append(f"  publications  {name}: {count} {state}")
    for name, state, answer, count in facts["unsent"]:
        lines.append(f"  unsent        {name}: {count} {state}: {answer}")
    oldest = facts["oldest_unsent"]
    lines.append(f"  oldest unsent {f'{ago(now, oldest)} ago' if oldest else 'nothing waits'}")
    lines += [_queue(now, queue) for queue in facts["hl7_out"] if not queue["stopped"]]
    for one in facts["commitments"]:
        told = f"{one['calling_ae_title']}: {one['count']} {one['state']}, oldest {ago(now, one['oldest'])} ago"
        lines.append(f"  commitments   {told}")
    if not facts["reviews"]:
        lines.append("  for a person  nothing")
    lines.append(f"  free disk     {facts['free_bytes'] / 1e9:.1f} GB")
    return "\n".join(line.rstrip() for line in lines)


CHECKS = {"store": "the database does not answer", "disk": "too little room for images"}


def _trouble(facts: dict[str, Any], settings: Settings) -> list[str]:
    """What somebody must look at, worst first; each thing once."""
    now: datetime = facts["at"]
    lines = [f"  ALARM  {_alarm(now, one, settings)}" for one in facts["alarms"]]
    lines += [f"  ✗ {name:<8} {told}" for name, told in CHECKS.items() if not facts["checks"][name]]
    lines += [f"  ✗ {name:<8} down   {_ports(one)}" for name, one in facts["roles"].items() if not one["up"]]
    lines += [_queue(now, queue) for queue in facts["hl7_out"] if queue["stopped"]]
    if waiting := {kind: count for kind, count, _ in facts["reviews"]}:
        lines.append(f"  for a person  {_pairs(waiting)}   (bridge review)")
    return lines


def _ports(one: dict[str, Any]) -> str:
    return ", ".join(f"{p.partition('.')[2] or p}:{n}" for p, n in one.get("ports", {}).items())


ALARMS = {
    "feed-silent": "no message in working time",
    "feed-errors": "many of the newest messages are refused",
    "quarantine": "frames that are no messages",
    "parked-old": "an order waits for a person",
    "review-old": "an entry waits for a person",
    "outbound-old": "our messages do not leave",
    "publication-old": "the EHR lacks studies",
    "publication-dead": "publications were given up",
    "disk-low": "little free disk",
    "commitment-old": "a device does not take our word on a storage commitment",
    "performed-open": "a device has begun an exam and not ended it",
    "role-silent": "a role is not heard of",
    "clock-moved": "the machine's clock was moved",
}


def _alarm(now: datetime, one: dict[str, Any], settings: Settings) -> str:
    """One alarm in a line: what, of whom, since when, and the value against its limit as it began."""
    at = one["began_at"].astimezone(settings.site.zone)
    told = f"{one['kind']:<17}{one['subject'] or '-':<16}{at:%Y-%m-%d %H:%M}  {ALARMS.get(one['kind'], '')}"
    if details := one["details"]:
        value, limit, unit = details["value"], details["limit"], details["unit"]
        if unit == "bytes":
            value, limit, unit = round(value / 1e9, 2), round(limit / 1e9, 2), "GB"
        told += f" ({value:g} {unit}, limit {limit:g})"
    ended = one["ended_at"]
    return told + (f", ended after {ago(ended, one['began_at'])}" if ended else f", for {ago(now, one['began_at'])}")


def alarm_list(settings: Settings, *, everything: bool, limit: int) -> list[dict[str, Any]]:
    """Open alarms, oldest first; with `everything` also those that have ended, newest first."""
    with opened(settings) as database, database.read() as connection:
        return alarms.list_alarms(connection, limit) if everything else alarms.open_alarms(connection)


def render_alarms(found: list[dict[str, Any]], settings: Settings, clock: Clock) -> str:
    return "\n".join(_alarm(clock.now(), one, settings) for one in found) or "No alarms."


def _queue(now: datetime, queue: dict[str, Any]) -> str:
    told = [f"{queue['waiting']} wait" if queue["waiting"] else "nothing waits"]
    if queue["oldest"]:
        told.append(f"oldest {ago(now, queue['oldest'])} ago")
    if queue["stopped"]:
        told.append("STOPPED until a person decides")
    if queue["waiting"] and queue["answer"]:
        told.append(f"last answer {queue['answer']}")
    told += [f"{queue[word]} {word}" for word in ("sent", "dead") if queue[word]]
    return f"  HL7 out       {queue['destination']}: {', '.join(told)}"


def _pairs(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items()) or "none"


def check(config: Path) -> tuple[list[str], list[str]]:
    """(faults, notes): every fault at once, and what was looked at."""
    faults: list[str] = []
    notes = [f"Python {platform.python_version()}, SQLite {'.'.join(map(str, sqlite_version()))}"]
    faults += _check_libraries(notes)
    try:
        settings = Settings.load(config)
    except ConfigurationError as fault:
        return faults + fault.faults, notes
    notes.append(f"configuration {config}")
    try:
        app.load_mappings(settings)
        app.feed_mappings(settings)
        notes.append("mappings compiled")
    except ConfigurationError as fault:
        faults += fault.faults
    faults += _check_listeners(settings)
    faults += _check_secrets(settings)
    faults += _check_room(settings)
    faults += _check_database(settings, notes)
    faults += _check_ports(settings, notes)
    manifest = read_manifest(settings.data / "viewer")
    notes.append("viewer installed" if manifest else "viewer not installed: run `bridge viewer install`")
    if not settings.station:
        notes.append("no [[station]] row: every order without a station of its own will be parked")
    if settings.filling.accession_number != "none" and not any(
        {"accepted", "numbered"} & d.events for d in settings.hl7.destination
    ):
        notes.append(
            "filling.accession_number makes numbers that nobody is told: no [[hl7.destination]] has "
            '"accepted" or "numbered" among its events'
        )
    return faults, notes


def _check_libraries(notes: list[str]) -> list[str]:
    faults = []
    for name, floor in FLOORS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            faults.append(f"library {name} is missing")
            continue
        notes.append(f"{name} {found}")
        if _numbers(found) < _numbers(floor):
            faults.append(f"library {name} {found} is older than {floor}")
    if not sqlite_sound_for_processes():
        faults.append("SQLite is older than 3.51.3: only --in-process may use it")
    return faults


def _check_room(settings: Settings) -> list[str]:
    told, refused = settings.alarms.disk_free_bytes, settings.storage.min_free_bytes
    if 0 < told <= refused:
        return ["alarms.disk_free_bytes is not above storage.min_free_bytes: images are refused before anybody is told"]
    return []


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _check_listeners(settings: Settings) -> list[str]:
    faults = []
    for feed in settings.hl7.feed:
        try:
            server_context(feed)
        except ConfigurationError as fault:
            faults += fault.faults
    try:
        tls_context(settings.dicom)
    except ConfigurationError as fault:
        faults += fault.faults
    return faults


def _check_secrets(settings: Settings) -> list[str]:
    files = [
        settings.database.password_file,
        *(e.token_file for e in settings.ehr),
        *(i.client_secret_file for i in settings.launch.smart),
        *(i.client_key_file for i in settings.launch.smart),
        *(i.jwks_file for i in settings.launch.link),
        *(d.tls_key_file for d in settings.hl7.destination),
        *(
            f.tls_key_file or f.tls_certificate_file for f in settings.hl7.feed
        ),  # a key may stand beside its certificate
    ]
    faults = []
    for file in files:
        if file is None:
            continue
        if not file.is_file():
            faults.append(f"{file}: no such file")
        elif file.suffix != ".jwks" and file.stat().st_mode & 0o077:
            faults.append(f"{file}: must be readable by its owner only (0600)")
    return faults


def _check_database(settings: Settings, notes: list[str]) -> list[str]:
    try:
        app.prepare_folders(settings)
        database: Database = app.open_database(settings)
    except (OSError, BridgeError) as fault:
        return [f"database: {type(fault).__name__}"]
    try:
        found = current(database)
        if found is None:
            notes.append("database is new: `bridge run` makes its tables")
            return []
        if found != newest():
            notes.append(f"database is at revision {found}: `bridge run` brings it to {newest()}")
            return []
        if differences(database):
            return ["database: its tables differ from this version's"]
        notes.append(f"database at revision {found}")
        return []
    except BridgeError as fault:
        return [f"database: {fault.code} {fault.where}"]
    finally:
        database.close()


def _check_ports(settings: Settings, notes: list[str]) -> list[str]:
    if any(read_notice(app.run_folder(settings) / f"{name}.json") for name in (*app.ROLES, "all")):
        notes.append("the bridge is running: ports not tried")
        return []
    wanted = places(settings)
    notes.append(f"{len(wanted)} ports tried")
    return [fault for place in wanted if (fault := fault_of(place))]
