"""`bridge publications`: what EHRs are owed, and another try for what was given up."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import click

from bridge.cli_common import ago, look, opened, settings_of, who
from bridge.clock import SystemClock
from bridge.domain.publication import PublicationState

_HEADS = f"{'ID':>7}  {'EHR':<12} {'study':<10} {'target':<14} {'state':<8} {'tries':>5}  {'owed':<11} last answer"
_COLOURS = {PublicationState.DEAD: "red", PublicationState.WAITING: "yellow"}


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def publications(context: click.Context, as_json: bool) -> None:
    """Studies on their way to the EHRs; without a command: list them."""
    if context.invoked_subcommand is None:
        context.invoke(list_, everything=False, limit=50, as_json=as_json)


@publications.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are done.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_(context: click.Context, everything: bool, limit: int, as_json: bool) -> None:
    """What is not at its EHR yet, newest first."""
    from bridge.store.outbox import list_publications

    with opened(settings_of(context)) as database:
        rows = look(database, lambda c: list_publications(c, limit, unsent=not everything))
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        click.echo("No publications." if everything else "Nothing waits to be published.")
        return
    click.echo(
        f"{'ID':>7}  {'EHR':<12} {'study':<10} {'target':<18} {'state':<8} {'tries':>5}  {'owed':<11} last answer"
    )
    for row in rows:
        click.echo(_line(row, SystemClock().now()))


def _line(row: dict[str, Any], now: datetime) -> str:
    state = click.style(f"{row['state']:<8}", fg=_COLOURS.get(row["state"]))
    owed = "-" if row["state"] == PublicationState.DONE else f"for {ago(now, row['owed_since'])}"
    status = f" (HTTP {row['last_status']})" if row["last_status"] else ""
    study = f"study:{row['study_id']}"
    return (
        f"{row['id']:>7}  {row['connection']:<12} {study:<10} {row['target']:<14} {state} {row['attempts']:>5}  "
        f"{owed:<11} {row['last_answer'] or '-'}{status}"
    )


@publications.command("retry")
@click.argument("number", metavar="ID", type=int)
@click.pass_context
def retry_(context: click.Context, number: int) -> None:
    """Try a publication again that was given up or that waits."""
    from bridge.app import machine_clock
    from bridge.workflow.context import Context
    from bridge.workflow.reviewing import publish_again

    settings = settings_of(context)
    with opened(settings) as database:
        done = publish_again(Context(database, settings, machine_clock(settings, database)), number, who())
    click.echo(f"publication {number} is due again" if done else f"publication {number} is neither dead nor waiting")
    sys.exit(0 if done else 1)
