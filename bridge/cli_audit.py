"""`bridge audit`: who did what, and when. Keys of ours only: no patient data is in it."""

from __future__ import annotations

import json
from datetime import timedelta

import click

from bridge.cli_common import Span, look, opened, printable, settings_of
from bridge.clock import SystemClock


@click.command()
@click.argument("subject", default="")
@click.option("--since", type=Span())
@click.option("--action", default="", help="Only this act, e.g. study-linked.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 1_000_000), help="The newest.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def audit(
    context: click.Context, subject: str, since: timedelta | None, action: str, limit: int, as_json: bool
) -> None:
    """The audit trail, of SUBJECT (study:12, order:5, message:7, outbound:3 ...) or of all, in order of time."""
    from bridge.store.audit import find_audit

    if not (subject or since or action):
        raise click.UsageError("give a SUBJECT, --since or --action")
    settings = settings_of(context)
    begin = SystemClock().now() - since if since else None
    with opened(settings) as database:
        rows = look(database, lambda c: find_audit(c, subject, since=begin, action=action, limit=limit))
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        click.echo("no such acts")
        return
    click.echo(f"{'at':<19}  {'who':<20} {'action':<20} {'subject':<16} {'outcome':<10} details")
    for row in rows:
        at = row["at"].astimezone(settings.site.zone)
        details = " ".join(f"{name}={value}" for name, value in row["details"].items())
        line = (
            f"{at:%Y-%m-%d %H:%M:%S}  {row['who']:<20} {row['action']:<20} {row['subject']:<16} {row['outcome']:<10} "
        )
        click.echo(printable(line + details).rstrip())
