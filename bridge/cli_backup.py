"""`bridge verify`, `bridge backup`, `bridge restore`: is all of it here, and will it be tomorrow."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from bridge.cli_common import Span, bar, opened, printable, settings_of, who
from bridge.clock import SystemClock

if TYPE_CHECKING:
    from bridge.config import Settings
    from bridge.workflow.backup import Manifest
    from bridge.workflow.verifying import Verdict

SHOWN = 20


@click.command()
@click.option("--ledger", type=click.File("r"), help="A sender's own record: what it was acknowledged must be here.")
@click.option("--deep", is_flag=True, help="Read every image and compare its sha256, not its size alone.")
@click.option(
    "--stuck-after",
    type=Span(),
    default="15m",
    show_default=True,
    help="How long something may hang before it is told.",
)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def verify(context: click.Context, ledger: TextIO | None, deep: bool, stuck_after: timedelta, as_json: bool) -> None:
    """Is everything here: the database against itself, its images and a LEDGER. Reads only; exit 1 on any fault."""
    from bridge.dicom.files import Archive
    from bridge.domain.ledger import read_ledger
    from bridge.workflow.context import Context
    from bridge.workflow.verifying import Verifier

    settings = settings_of(context)
    entries = read_ledger(ledger) if ledger else []
    with opened(settings) as database:
        files = Archive(settings.archive)
        verdict = Verifier(Context(database, settings, SystemClock()), files, bar).verify(
            entries, deep=deep, stuck_after=stuck_after
        )
    click.echo(json.dumps(verdict.as_json()) if as_json else render(verdict))
    sys.exit(0 if verdict.sound else 1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--copy", is_flag=True, help="Copies even where hard links would do: FOLDER is to outlive this disk.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def backup(context: click.Context, folder: Path, copy: bool, as_json: bool) -> None:
    """Make FOLDER a backup of this moment, while all roles run: database and images, no settings and no secrets.

    Exit 1 when images were gone or damaged already: all others are in it.
    """
    from bridge import app
    from bridge.dicom.files import Archive
    from bridge.workflow.backup import Backup
    from bridge.workflow.context import Context

    settings = settings_of(context)
    with opened(settings) as database:
        app.prepare_folders(settings)
        taking = Backup(Context(database, settings, SystemClock()), app.run_folder(settings), Archive, bar)
        manifest = taking.take(folder.resolve(), who(), copy=copy)
    if as_json:
        click.echo(manifest.model_dump_json())
    else:
        click.echo(
            f"{_mark(True)} database  {size(manifest.database_bytes)}, as it was at {_local(manifest, settings)}"
        )
        click.echo(f"{_mark(not manifest.lost)} images    {manifest.files} files, {size(manifest.bytes)}")
        click.echo(render_lost(manifest.lost, "were gone or damaged before: see `bridge verify --deep`"), nl=False)
        click.echo(f"bridge restore {folder} --data EMPTY-FOLDER   brings it back")
    sys.exit(1 if manifest.lost else 0)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--data", type=click.Path(path_type=Path), help="The empty folder to fill.  [default: the settings']")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def restore(context: click.Context, folder: Path, data: Path | None, as_json: bool) -> None:
    """Make a data folder of the backup in FOLDER: every file compared, the tables brought up to date, all verified.

    Nothing is sent twice by itself: HL7 queues wait for a person's word. Exit 1 when anything is not whole.
    """
    from bridge import app
    from bridge.dicom.files import Archive
    from bridge.workflow.restoring import Restore

    settings = settings_of(context)
    if data is not None:
        settings = settings.model_copy(update={"data": data.resolve()})
    restored = Restore(folder.resolve(), settings, SystemClock(), Archive, app.open_database, bar).run(who())
    sound = restored.verdict.sound and not restored.lost
    if as_json:
        told = {"lost": restored.lost, "held": restored.held, "verify": restored.verdict.as_json()}
        click.echo(json.dumps({"backup": restored.manifest.model_dump(mode="json"), **told}))
        sys.exit(0 if sound else 1)
    click.echo(render(restored.verdict))
    click.echo(render_lost(restored.lost, "did not come back whole"), nl=False)
    click.echo(f"\n{settings.data} is as it was at {_local(restored.manifest, settings)}. What came after is not here:")
    click.echo("  have the RIS and the registration send again from then on, cancels first of all, and the devices")
    click.echo("  their images; until then a cancelled order may be on a worklist. Resends are known and harmless.")
    for destination in restored.held:
        click.echo(f"  the queue to {destination} stands still: `bridge outbound list`, then retry or drop its head")
    click.echo("  all sessions and links have ended. `bridge review` keeps a note of this.")
    sys.exit(0 if sound else 1)


_DAMAGED = "look at the disk; have their devices send them again: that heals"
TOLD = {
    "integrity": ("the database is damaged", "stop the bridge, keep a copy of the data folder, restore a backup"),
    "row-without-file": ("images whose file is gone", "restore a backup, or have their devices send them again"),
    "wrong-size": ("images whose file is cut or grown", _DAMAGED),
    "wrong-bytes": ("images whose bytes have changed", _DAMAGED),
    "file-without-row": ("files that belong to no image", "nothing: never acknowledged, they go by themselves"),
    "stuck": ("things that nobody takes up", "see the log of the role and restart it, or put back what was configured"),
    "acked-lost": ("acknowledged and not here", "have the sender send them again, and report it: this must not be"),
    "double-effect": ("done more than once", "look at each, and report it: this must not be"),
}
"""Each kind of finding in words, and what to do."""


def render(verdict: Verdict) -> str:
    """A line for each thing that was looked at, then what was found, worst first; at most `SHOWN` of a kind."""
    looked = [
        ("database", "whole, and no row refers to nothing", ("integrity",)),
        (
            "images",
            f"{verdict.rows} files {'read and whole' if verdict.deep else 'there, of the right size'}",
            ("row-without-file", "wrong-size", "wrong-bytes"),
        ),
        ("archive", f"{verdict.files} files, each an image's{_in_hand(verdict)}", ("file-without-row",)),
        ("work", "nothing hangs", ("stuck",)),
    ]
    if verdict.entries:
        told = f"{verdict.acknowledged} of {verdict.entries} acknowledged: all here, each once"
        looked.append(("ledger", told, ("acked-lost", "double-effect")))
    lines = []
    for what, well, kinds in looked:
        faults = [f"{verdict.count(kind)} {TOLD[kind][0]}" for kind in kinds if verdict.count(kind)]
        lines.append(f"{_mark(not faults)} {what:<9} {'; '.join(faults) or well}")
    for kind, (told, remedy) in TOLD.items():
        found = [one for one in verdict.findings if one.kind == kind]
        if not found:
            continue
        lines += ["", f"{told} ({len(found)}): {remedy}"]
        lines += [printable(f"  {one.subject:<44} {one.why}").rstrip() for one in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  and {len(found) - SHOWN} more: --json lists all")
    return "\n".join(lines)


def _in_hand(verdict: Verdict) -> str:
    return f" ({verdict.in_hand} more came just now)" if verdict.in_hand else ""


def render_lost(names: tuple[str, ...], why: str) -> str:
    """The first of the files, a line each; '' for none."""
    if not names:
        return ""
    shown = "".join(f"  {name}\n" for name in names[:SHOWN])
    return f"{len(names)} files {why}\n{shown}" + ("  ...\n" if len(names) > SHOWN else "")


def size(count: int) -> str:
    """`950 kB`, `24.1 GB`."""
    for unit, of in (("GB", 1e9), ("MB", 1e6)):
        if count >= of:
            return f"{count / of:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _mark(good: bool) -> str:
    return click.style("✓", fg="green") if good else click.style("✗", fg="red")


def _local(manifest: Manifest, settings: Settings) -> str:
    return f"{manifest.made_at.astimezone(settings.site.zone):%Y-%m-%d %H:%M:%S}"
