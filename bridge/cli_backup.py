"""`bridge verify`, `bridge backup`, `bridge restore`: is all of it here, and will it be tomorrow."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

import click

from bridge.cli_common import Span, bar, opened, printable, settings_of
from bridge.clock import SystemClock

if TYPE_CHECKING:
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
        mark = click.style("✗", fg="red") if faults else click.style("✓", fg="green")
        lines.append(f"{mark} {what:<9} {'; '.join(faults) or well}")
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
