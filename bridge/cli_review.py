"""`bridge review`: what waits for a person, and what they decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli_common import ago, look, opened, settings_of, who
from bridge.cli_reasons import explained, next_commands
from bridge.clock import SystemClock

if TYPE_CHECKING:
    from bridge.workflow.context import Context


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def review(context: click.Context, as_json: bool) -> None:
    """What waits for a person, oldest first."""
    if context.invoked_subcommand:
        return
    from bridge.store.review import open_reviews

    with opened(settings_of(context)) as database:
        entries = look(database, open_reviews)
    click.echo(json.dumps(entries, default=str, indent=2) if as_json else render_reviews(entries, SystemClock().now()))


def render_reviews(entries: list[dict[str, Any]], now: datetime) -> str:
    """The list with each reason in words, the candidates, and what to type next."""
    if not entries:
        return "Nothing waits for a person."
    lines = [f"{len(entries)} waiting, oldest first", ""]
    for entry in entries:
        kind, reason = entry["kind"], entry["reason"]
        lines.append(f"  #{entry['id']:<4} {entry['subject']:<14} {kind:<19} for {ago(now, entry['opened_at'])}")
        lines.append(f"        {reason}: {explained(kind, reason)}")
        for one in entry["details"].get("candidates", []):
            told = ", ".join(f"{what} {verdict}" for what, verdict in one["evidence"])
            lines.append(f"        candidate order {one['order']} by {'+'.join(one['rules'])}: {told}")
    return "\n".join([*lines, "", *(f"  {line}" for line in next_commands({e["kind"] for e in entries}))])


@review.command("link")
@click.argument("study", type=int)
@click.argument("order", type=int)
@click.pass_context
def link_(context: click.Context, study: int, order: int) -> None:
    """Tie STUDY to ORDER (their numbers as `bridge review` prints them)."""
    from bridge.workflow.matching import Matching

    _change(context, lambda c: Matching(c).link(study, order, who()))
    click.echo(f"study {study} is linked to order {order}")


@review.command("unlink")
@click.argument("study", type=int)
@click.option("--reason", required=True)
@click.pass_context
def unlink_(context: click.Context, study: int, reason: str) -> None:
    """Undo the link of STUDY; it waits for review again."""
    from bridge.workflow.matching import Matching

    _change(context, lambda c: Matching(c).unlink(study, who(), reason))
    click.echo(f"study {study} is linked to no order")


@review.command("close")
@click.argument("number", metavar="ENTRY", type=int)
@click.option("--reason", required=True, help="What was done; it stays with the entry.")
@click.pass_context
def close_(context: click.Context, number: int, reason: str) -> None:
    """Take #ENTRY off the list: it was dealt with. One that closes by itself is refused, with what to do instead."""
    from bridge.workflow.reviewing import close_entry

    subject = _change(context, lambda c: close_entry(c, number, who(), reason))
    click.echo(f"entry {number} ({subject}) is closed")


@review.command("accept")
@click.argument("number", metavar="ENTRY", type=int)
@click.option("--reason", required=True, help="How you know that it is the same person; it stays with the entry.")
@click.pass_context
def accept_(context: click.Context, number: int, reason: str) -> None:
    """The parked message or order of #ENTRY is of the patient whose number it carries: a message's next replay takes
    it, an order is on the worklist again."""
    from bridge.workflow.reviewing import accept_patient

    subject = _change(context, lambda c: accept_patient(c, number, who(), reason))
    kind, _, number_of_it = subject.partition(":")
    click.echo(
        f"accepted; now: bridge messages replay {number_of_it} --yes" if kind == "message" else f"accepted: {subject}"
    )


def _change(context: click.Context, act: Callable[[Context], Any]) -> Any:
    """A change by a person, through the store's own door and behind the turnstile like any role's."""
    from bridge.workflow.context import Context

    settings = settings_of(context)
    with opened(settings) as database:
        return act(Context(database, settings, SystemClock()))
