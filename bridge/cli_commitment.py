"""`bridge commitment`: what devices asked to be safe, and whether they have our word."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import click

from bridge.cli_common import ago, look, opened, settings_of, who
from bridge.clock import SystemClock
from bridge.domain.commitment import CommitmentState, FailureReason
from bridge.errors import NotFound

WORDS = {
    FailureReason.PROCESSING_FAILURE: "its file is damaged",
    FailureReason.NO_SUCH_OBJECT: "not here: never received, rejected, or its file is gone",
    FailureReason.CLASS_CONFLICT: "here under another SOP class",
    FailureReason.CLASS_NOT_SUPPORTED: "of a class that is not stored here",
}
_COLOURS = {CommitmentState.WAITING: "red", CommitmentState.DUE: "yellow", CommitmentState.DELIVERED: "green"}


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def commitment(context: click.Context, as_json: bool) -> None:
    """Storage commitments; without a command: those of which the device has not taken our word."""
    if context.invoked_subcommand is None:
        context.invoke(list_, everything=False, limit=50, as_json=as_json)


@commitment.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are delivered.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_(context: click.Context, everything: bool, limit: int, as_json: bool) -> None:
    """What devices have not been told yet, oldest first; with --all everything, newest first."""
    from bridge.store.commitment import list_commitments

    with opened(settings_of(context)) as database:
        rows = [dict(r._mapping) for r in look(database, lambda c: list_commitments(c, limit, everything=everything))]
    if as_json:
        for row in rows:
            row["instances"], row["failures"] = len(row["instances"]), len(row["failures"])
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        click.echo("No storage commitments." if everything else "Every device has our word.")
        return
    head = f"{'ID':>7}  {'device':<16} {'state':<9} {'asked':<11} {'images':>7} {'failed':>7} {'tries':>5}"
    click.echo(f"{head}  last answer")
    for row in rows:
        click.echo(_line(row, SystemClock().now()))


def _line(row: dict[str, Any], now: datetime) -> str:
    state = click.style(f"{row['state']:<9}", fg=_COLOURS.get(row["state"]))
    failed = len(row["failures"]) if row["checked_at"] else "-"
    return (
        f"{row['id']:>7}  {row['calling_ae_title']:<16} {state} {ago(now, row['asked_at']) + ' ago':<11} "
        f"{len(row['instances']):>7} {failed:>7} {row['attempts']:>5}  {row['last_answer'] or '-'}"
    )


@commitment.command("show")
@click.argument("number", metavar="ID", type=int)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def show_(context: click.Context, number: int, as_json: bool) -> None:
    """One of them: when it was asked, checked and told, and each instance that is not safe here, with the reason."""
    from bridge.store.commitment import get_commitment

    with opened(settings_of(context)) as database:
        row = look(database, lambda c: get_commitment(c, number))
    if row is None:
        raise NotFound("no such commitment", where=f"commitment {number}")
    facts = dict(row._mapping)
    if as_json:
        click.echo(json.dumps(facts, default=str, indent=2))
    else:
        click.echo(render(facts, SystemClock().now()))


def render(facts: dict[str, Any], now: datetime) -> str:
    """Of one row. No patient: the device knows whose images these are."""
    asked, failures = facts["instances"], facts["failures"]

    def when(name: str) -> str:
        at = facts[name]
        return f"{at:%Y-%m-%d %H:%M:%S} UTC, {ago(now, at)} ago" if at else "not yet"

    lines = [
        f"commitment {facts['id']} of {facts['calling_ae_title']}: {facts['state']}",
        f"  transaction  {facts['transaction_uid']}",
        f"  asked        {when('asked_at')}: {len(asked)} instances",
        f"  checked      {when('checked_at')}"
        + (f": {len(asked) - len(failures)} safe, {len(failures)} not" if facts["checked_at"] else ""),
        f"  delivered    {when('delivered_at')}",
    ]
    if facts["state"] in (CommitmentState.ASKED, CommitmentState.DUE, CommitmentState.WAITING):
        lines.append(f"  tries        {facts['attempts']}, last answer: {facts['last_answer'] or 'none'}")
    for _, uid in asked:
        if uid in failures:
            lines.append(f"  ✗ {uid}  {failures[uid]:04X} {WORDS[FailureReason(failures[uid])]}")
    return "\n".join(lines)


@commitment.command("retry")
@click.argument("number", metavar="ID", type=int)
@click.pass_context
def retry_(context: click.Context, number: int) -> None:
    """Check the images anew and tell the device at once, also what it has been told before."""
    from bridge.workflow.committing import Commitments
    from bridge.workflow.context import Context

    settings = settings_of(context)
    with opened(settings) as database:
        done = Commitments(Context(database, settings, SystemClock())).retry(number, who())
    click.echo(f"commitment {number} is checked and told again" if done else f"there is no commitment {number}")
    sys.exit(0 if done else 1)


@commitment.command("drop")
@click.argument("number", metavar="ID", type=int)
@click.option("--reason", required=True, help="Why its device need not hear of it; it stays with the audit row.")
@click.pass_context
def drop_(context: click.Context, number: int, reason: str) -> None:
    """Give up telling a device that is gone for good."""
    from bridge.workflow.committing import Commitments
    from bridge.workflow.context import Context

    settings = settings_of(context)
    with opened(settings) as database:
        done = Commitments(Context(database, settings, SystemClock())).drop(number, who(), reason)
    click.echo(f"commitment {number} is given up" if done else f"commitment {number} is none, or has been delivered")
    sys.exit(0 if done else 1)
