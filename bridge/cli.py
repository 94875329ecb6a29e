"""`bridge`: set up, run, look, and mend. Commands that look read; what changes something says so."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from bridge import __version__, log
from bridge.cli_alarms import alarms
from bridge.cli_audit import audit
from bridge.cli_backup import backup, restore, verify
from bridge.cli_commitment import commitment
from bridge.cli_common import PlainGroup, feed_of, opened
from bridge.cli_mappings import mappings
from bridge.cli_messages import messages
from bridge.cli_outbound import outbound
from bridge.cli_performed import performed
from bridge.cli_publications import publications
from bridge.cli_review import review
from bridge.cli_shadow import load, shadow
from bridge.cli_storage import hold, rejections, retention, unhold
from bridge.cli_worklist import worklist
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.errors import BridgeError, ConfigurationError

DEFAULT_CONFIG = "config/bridge.toml"


@dataclass(frozen=True, slots=True)
class _Given:
    config: Path


@click.group(cls=PlainGroup)
@click.version_option(__version__, prog_name="bridge")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    envvar="BRIDGE_CONFIG",
    show_default=True,
    help="The site's settings.",
)
@click.pass_context
def main(context: click.Context, config: Path) -> None:
    """From an HL7 order to an image opened from the chart."""
    os.umask(0o077)  # whatever is written holds patient data or secrets
    context.obj = _Given(config)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("."))
def init(folder: Path) -> None:
    """Write FOLDER/config/bridge.toml and the secrets it names (mode 0600). Nothing that exists is changed."""
    from bridge.initialise import initialise

    for path, what in initialise(folder):
        click.echo(f"{what:<10} {path}")


@main.command()
@click.option("--role", "roles", multiple=True, help="Run only these roles (hl7, dicom, web, worker).")
@click.option("--in-process", is_flag=True, help="All roles in this one process, for debugging.")
@click.pass_obj
def run(given: _Given, roles: tuple[str, ...], in_process: bool) -> None:
    """Run the bridge until SIGTERM: the supervisor and its roles."""
    from bridge import app
    from bridge.run.ports import places, wait_free
    from bridge.run.role import Ending, run_role
    from bridge.run.supervisor import DRAIN_SECONDS, DataFolderLock, Supervisor
    from bridge.store.db import sqlite_sound_for_processes, sqlite_version
    from bridge.store.migrate import migrate
    from bridge.workflow.restoring import UNFINISHED

    settings = Settings.load(given.config)
    log.set_up(settings.log.level)
    names = roles or tuple(app.ROLES)
    if unknown := set(names) - set(app.ROLES):
        raise ConfigurationError([f"no such role: {name}" for name in sorted(unknown)])
    app.feed_mappings(settings)
    if (settings.data / UNFINISHED).exists():
        raise ConfigurationError([f"{settings.data}: a restore did not end here. Empty it, and restore again"])
    app.prepare_folders(settings)
    if not settings.database.url and not in_process and not sqlite_sound_for_processes():
        version = ".".join(map(str, sqlite_version()))
        raise ConfigurationError([f"SQLite {version} cannot be shared by processes: use --in-process, or PostgreSQL"])
    lock = DataFolderLock(app.run_folder(settings)) if not roles else None
    if faults := wait_free(tuple(p for p in places(settings) if p.role in names), DRAIN_SECONDS):
        raise ConfigurationError(faults)
    database = app.open_database(settings)
    migrate(database)
    app.note_start(settings, database, anew=lock is not None)
    database.close()
    if in_process:
        ending = Ending()
        process = app.Process(settings, ending)
        status = run_role(app.AllRoles(process, names), app.run_folder(settings), ending, pipe=False)
        process.database.close()
    else:
        config = str(given.config.resolve())
        commands = {name: [sys.executable, "-m", "bridge.cli", "--config", config, "role", name] for name in names}
        status = Supervisor(commands).run()
    if lock:
        lock.close()
    sys.exit(status)


@main.command(hidden=True)
@click.argument("name")
@click.pass_obj
def role(given: _Given, name: str) -> None:
    """One role, as the supervisor starts it: ends when its standard input closes."""
    from bridge import app
    from bridge.run.role import Ending, run_role
    from bridge.run.supervisor import DataFolderLock

    settings = Settings.load(given.config)
    log.set_up(settings.log.level)
    app.prepare_folders(settings)
    lock = DataFolderLock(app.run_folder(settings), f"role-{name}")
    ending = Ending()
    process = app.Process(settings, ending)
    status = run_role(app.ROLES[name](process), app.run_folder(settings), ending, pipe=True)
    process.database.close()
    lock.close()
    sys.exit(status)


@main.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def status(given: _Given, as_json: bool) -> None:
    """Roles, feeds, devices, queues and what waits for a person."""
    from bridge import report

    settings = Settings.load(given.config)
    facts = report.status(settings, SystemClock())
    click.echo(json.dumps(facts, default=str, indent=2) if as_json else report.render_status(facts, settings))
    sys.exit(0 if facts["ready"] else 1)


@main.command()
@click.pass_obj
def check(given: _Given) -> None:
    """Configuration, mappings, database, ports and library versions: every fault at once."""
    from bridge import report

    faults, notes = report.check(given.config)
    for note in notes:
        click.echo(f"  {note}")
    for fault in faults:
        click.secho(f"✗ {fault}", fg="red")
    if not faults:
        click.secho("✓ no faults found", fg="green")
    sys.exit(1 if faults else 0)


@main.command()
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True)
@click.option("--all", "everything", is_flag=True, help="Also the fields that the message leaves empty.")
@click.option("--feed", default="", help="Read by this feed's settings.  [default: the first]")
@click.pass_obj
def explain(given: _Given, file: BinaryIO, as_json: bool, everything: bool, feed: str) -> None:
    """What the bridge reads from a message, which path, table row and mapping line gave each value, and its effect.

    FILE is a message, several (also MLLP frames as captured, or a batch), or - for standard input. Each message is
    tried by itself, on a store that is thrown away: why an order would be parked, and what each modality would be told
    in its character set.
    """
    from bridge import app
    from bridge import preview as previewing
    from bridge.hl7.capture import read_capture
    from bridge.hl7.conformance import remarks
    from bridge.hl7.explain import explain as explain_message
    from bridge.mapping.explain import render

    settings = Settings.load(given.config) if given.config.exists() else Settings()
    one = feed_of(settings, feed)
    content = file.read()
    mappings = app.load_mappings(settings, one)
    messages = read_capture(content) or [content]
    found: list[dict[str, Any]] = []
    refused = False
    for number, raw in enumerate(messages, 1):
        explanation = explain_message(
            raw, mappings, charset_override=one.charset_override, charset_default=one.charset_default
        )
        preview = previewing.preview(raw, settings, one, mappings, SystemClock())
        refused |= bool(explanation.refusal)
        try:
            conformance = remarks(raw)
        except BridgeError as fault:
            conformance = [str(fault)]
        if as_json:
            found.append({**explanation.as_json(), "conformance": conformance, "preview": preview.as_json()})
            continue
        if len(messages) > 1:
            click.secho(f"message {number} of {len(messages)}", bold=True)
        click.echo(render(explanation, colour=sys.stdout.isatty(), empty=everything))
        for line in conformance:
            click.echo(f"  structure: {line}")
        click.echo(previewing.render(preview))
    if as_json:  # one message is itself, several are a list
        click.echo(json.dumps(found[0] if len(found) == 1 else found, default=str, indent=2, ensure_ascii=False))
    sys.exit(1 if refused else 0)


@main.command()
@click.argument("study_instance_uid")
@click.option("--minutes", type=float, help="How long it opens; at most launch.link_minutes.")
@click.pass_obj
def link(given: _Given, study_instance_uid: str, minutes: float | None) -> None:
    """A single-use link to a study, which asks whoever opens it to log in at the EHR first."""
    from bridge.workflow.context import Context
    from bridge.workflow.launching import LaunchDesk

    settings = Settings.load(given.config)
    most = settings.launch.link_minutes
    with opened(settings) as database:
        desk = LaunchDesk(Context(database, settings, SystemClock()))
        life = min(minutes or most, most) * 60
        opaque = desk.make_link("cli", None, study_instance_uid, secrets.token_urlsafe(16), life)
    click.echo(f"{settings.web.public_url}/s/{opaque}")


@main.group()
def viewer() -> None:
    """The OHIF viewer's files."""


@viewer.command("install")
@click.pass_obj
def viewer_install(given: _Given) -> None:
    """Fetch the pinned viewer by npm, trim it and put it into the data folder."""
    from bridge.web.viewer.install import install

    settings = Settings.load(given.config)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o750)
    install(settings.data / "viewer", _progress)


def _progress(step: str, done: int, total: int) -> None:
    if not sys.stderr.isatty():
        if done in (0, total):
            click.echo(f"viewer: {step} {done}/{total}", err=True)
        return
    width = max(10, min(40, shutil.get_terminal_size().columns - 40))
    filled = width * done // max(total, 1)
    click.echo(f"\r{step:<24.24} [{'█' * filled}{'·' * (width - filled)}] {done}/{total} ", nl=done >= total, err=True)


def _add_commands() -> None:
    from bridge.sandbox.cli import sandbox

    looks = (messages, alarms, review, outbound, performed, publications, audit, mappings, shadow, load, worklist)
    for command in (sandbox, *looks, verify, backup, restore, commitment):
        main.add_command(command)
    for command in (rejections, retention, hold, unhold):
        main.add_command(command)


_add_commands()


if __name__ == "__main__":
    main()
