"""`bridge outbound`: what we send to others, and a way on for a message that stands still."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from bridge.cli_common import look, opened, settings_of, who


@click.group()
def outbound() -> None:
    """What we send to others by HL7, a queue for each destination."""


@outbound.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def listing(context: click.Context, limit: int, as_json: bool) -> None:
    """Messages that wait, stand still or are dead, oldest first."""
    from bridge.store.outbound import list_unsent

    with opened(settings_of(context)) as database:
        rows = look(database, lambda c: list_unsent(c, limit))
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    for row in rows:
        what = f"{row['destination']:<14} {row['subject']:<12} {row['event']:<14} {row['state']:<8}"
        click.echo(f"#{row['id']:<6} {what} {row['attempts']} attempts, last answer {row['last_answer'] or 'none'}")
    if not rows:
        click.echo("Nothing waits to be sent.")


@outbound.command()
@click.argument("number", type=int)
@click.pass_context
def retry(context: click.Context, number: int) -> None:
    """Send a stopped or dead message again, as it was."""
    from bridge.workflow.notifying import send_again

    _decide(context, send_again, number, "is due again")


@outbound.command()
@click.argument("number", type=int)
@click.pass_context
def drop(context: click.Context, number: int) -> None:
    """Give a stopped or dead message up; its queue goes on."""
    from bridge.workflow.notifying import drop_outbound

    _decide(context, drop_outbound, number, "is given up")


def _decide(context: click.Context, act: Callable[[Any, int, str], bool], number: int, done: str) -> None:
    from bridge.app import machine_clock
    from bridge.workflow.context import Context

    settings = settings_of(context)
    with opened(settings) as database:
        changed = act(Context(database, settings, machine_clock(settings, database)), number, who())
    click.echo(f"message {number} {done}" if changed else f"message {number} is neither stopped nor dead")
    sys.exit(0 if changed else 1)
