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
from bridge.clock import Clock, SystemClock
from bridge.config import Settings
from bridge.errors import BridgeError, ConfigurationError
from bridge.hl7.tls import server_context
from bridge.run.ports import fault_of, places
from bridge.run.role import read_notice
from bridge.store import alarms, audit, inbox, outbound, outbox, review, studies, worklist
from bridge.store.db import Database, sqlite_sound_for_processes, sqlite_version
from bridge.store.migrate import current, differences, newest
from bridge.web.viewer.files import read_manifest

FLOORS = {"pydicom": "3.0.2", "pynetdicom": "3.0.4", "Authlib": "1.9.9", "fhir.resources": "8.3.0"}


def status(settings: Settings, clock: Clock) -> dict[str, Any]:
    """Everything `bridge status` prints, as plain values."""
    app.prepare_folders(settings)
    database = app.open_database(settings)
    try:
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
                "reviews": [list(row) for row in review.count_reviews(connection)],
            }
        checks = app.readiness(database, settings, clock)
    finally:
        database.close()
    for kind in ("feed", "query", "mpps", "store"):
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
    lines = [f"{settings.site.name}: {'ready' if facts['ready'] else 'NOT READY'}", ""]
    lines += [f"  ALARM  {_alarm(now, one, settings)}" for one in facts["alarms"]]
    lines += [f"  ! {name} failed" for name, ok in facts["checks"].items() if not ok]
    for name, one in facts["roles"].items():
        ports = ", ".join(f"{p.partition('.')[2] or p}:{n}" for p, n in one.get("ports", {}).items())
        lines.append(f"  {'✓' if one['up'] else '✗'} {name:<8} {'up' if one['up'] else 'down':<6} {ports}")
    lines.append("")
    for kind, title in (
        ("feed", "last message"),
        ("query", "last query"),
        ("mpps", "last MPPS"),
        ("store", "last image"),
    ):
        for name, one in facts[kind].items():
            lines.append(f"  {title:<13} {name:<16} {_ago(now, one['at']):>8}   {one['count']} in all")
    lines.append("")
    lines.append(f"  messages      {_pairs(facts['messages'])}")
    lines.append(f"  worklist      {facts['worklist']} entries due")
    lines.append(f"  studies       {_pairs({f'{s}/{m}': n for s, m, n in facts['studies']})}")
    for name, state, count, _ in facts["publications"]:
        lines.append(f"  publications  {name}: {count} {state}")
    for name, state, answer, count in facts["unsent"]:
        lines.append(f"  unsent        {name}: {count} {state}: {answer}")
    oldest = facts["oldest_unsent"]
    lines.append(f"  oldest unsent {_ago(now, oldest) if oldest else 'nothing waits'}")
    lines += [_queue(now, queue) for queue in facts["hl7_out"]]
    waiting = {kind: count for kind, count, _ in facts["reviews"]}
    lines.append(f"  for a person  {_pairs(waiting) if waiting else 'nothing'}   (bridge review)")
    lines.append(f"  free disk     {facts['free_bytes'] / 1e9:.1f} GB")
    return "\n".join(lines)


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
    "role-silent": "a role is not heard of",
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
    return told + (f", ended after {_ago(ended, one['began_at'])}" if ended else f", for {_ago(now, one['began_at'])}")


def alarm_list(settings: Settings, *, everything: bool, limit: int) -> list[dict[str, Any]]:
    """Open alarms, oldest first; with `everything` also those that have ended, newest first."""
    database = app.open_database(settings)
    try:
        with database.read() as connection:
            return alarms.list_alarms(connection, limit) if everything else alarms.open_alarms(connection)
    finally:
        database.close()


def render_alarms(found: list[dict[str, Any]], settings: Settings, clock: Clock) -> str:
    return "\n".join(_alarm(clock.now(), one, settings) for one in found) or "No alarms."


def _queue(now: datetime, queue: dict[str, Any]) -> str:
    told = [f"{queue['waiting']} wait" if queue["waiting"] else "nothing waits"]
    if queue["oldest"]:
        told.append(f"oldest {_ago(now, queue['oldest'])}")
    if queue["stopped"]:
        told.append("STOPPED until a person decides")
    if queue["waiting"] and queue["answer"]:
        told.append(f"last answer {queue['answer']}")
    told += [f"{queue[word]} {word}" for word in ("sent", "dead") if queue[word]]
    return f"  HL7 out       {queue['destination']}: {', '.join(told)}"


def _pairs(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items()) or "none"


def _ago(now: datetime, at: datetime) -> str:
    seconds = max(0, int((now - at).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def reviews(settings: Settings) -> list[dict[str, Any]]:
    database = app.open_database(settings)
    try:
        with database.read() as connection:
            return review.open_reviews(connection)
    finally:
        database.close()


EXPLAINED = {
    "no-order": "no order shares anything with it",
    "weak-evidence": "orders agree in patient, modality and time only: choose one, or wait",
    "patient-differs": "the evidence names an order of another patient",
    "patient-missing": "the evidence names an order, but the images name no patient",
    "several-orders": "the evidence fits more than one order",
    "several-patients": "the evidence fits orders of more than one patient",
    "instances-name-two-patients": "its images name two patients",
    "unlinked-by-a-person": "a person undid its link",
    "modality-unknown": "the order's modality is not in mappings/codes/modality.yaml",
    "no-station": "no row of [[station]] takes it",
    "accession-number-too-long": "the accession number has more than 16 characters",
    "study-uid-of-another-patient": "the order's Study Instance UID is in use for another patient",
    "not-readable": "a device with utf8 = false cannot show it: details name the device and the tag",
    "no-step": "the order names no modality, procedure or time",
    "order-of-another-patient": "a message moves a known order to another patient: not done",
    "order-numbers-of-two-orders": "placer and filler number belong to two orders",
    "identifiers-of-several-patients": "its identifiers belong to several patients: not merged",
    "answered-AE": "the receiver found fault with a message of ours (HL7 out)",
    "answered-AR": "the receiver refused a message of ours (HL7 out)",
    "answered-CE": "the receiver found fault with a message of ours (HL7 out)",
    "answered-CR": "the receiver refused a message of ours (HL7 out)",
    "hl7-not-conformant": "strict validation found fault with a message of ours: not sent (HL7 out)",
    "hl7-charset": "a value does not fit the character set",
    "same-uid-other-bytes": "an image came again with other bytes: kept aside",
}


def render_reviews(entries: list[dict[str, Any]], settings: Settings) -> str:
    if not entries:
        return "Nothing waits for a person."
    now = SystemClock().now()
    lines = [f"{len(entries)} waiting, oldest first", ""]
    for entry in entries:
        lines.append(
            f"  #{entry['id']:<4} {entry['subject']:<14} {entry['kind']:<18} since {_ago(now, entry['opened_at'])}"
        )
        lines.append(
            f"        {entry['reason']}: {EXPLAINED.get(entry['reason'].partition(' ')[0], 'see docs/operating.md')}"
        )
        for one in entry["details"].get("candidates", []):
            told = ", ".join(f"{what} {verdict}" for what, verdict in one["evidence"])
            lines.append(f"        candidate order {one['order']} by {'+'.join(one['rules'])}: {told}")
    lines += ["", "  bridge review link STUDY ORDER · bridge review unlink STUDY --reason TEXT"]
    return "\n".join(lines)


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
    faults += _check_feeds(settings)
    faults += _check_secrets(settings)
    faults += _check_database(settings, notes)
    faults += _check_ports(settings, notes)
    manifest = read_manifest(settings.data / "viewer")
    notes.append("viewer installed" if manifest else "viewer not installed: run `bridge viewer install`")
    if not settings.station:
        notes.append("no [[station]] row: every order without a station of its own will be parked")
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


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _check_feeds(settings: Settings) -> list[str]:
    faults = []
    for feed in settings.hl7.feed:
        try:
            server_context(feed)
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
