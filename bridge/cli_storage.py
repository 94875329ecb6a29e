"""`bridge rejections`: which images are shown to nobody because somebody rejected them, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bridge.cli_common import ago, look, opened, printable, settings_of, who
from bridge.clock import SystemClock
from bridge.domain.rejection import TITLES
from bridge.errors import NotFound

if TYPE_CHECKING:
    from bridge.workflow.context import Context

T = TypeVar("T")
_CODES = {title: code for code, title in TITLES.items()}
_WORDS = {
    "quality": "rejected for quality reasons",
    "safety": "rejected for patient safety",
    "worklist": "acquired under the wrong worklist entry",
    "retention": "their retention has expired",
}


def change(context: click.Context, act: Callable[[Context], T]) -> T:
    """A change by a person, through the store's own door and behind the turnstile like any role's."""
    from bridge.workflow.context import Context

    settings = settings_of(context)
    with opened(settings) as database:
        return act(Context(database, settings, SystemClock()))


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def rejections(context: click.Context, as_json: bool) -> None:
    """Rejection notes (IOCM) that were applied; without a command: list them."""
    if context.invoked_subcommand is None:
        context.invoke(list_, limit=50, as_json=as_json)


@rejections.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_(context: click.Context, limit: int, as_json: bool) -> None:
    """Newest first: what each note says, who sent it, and how much of what it names has come."""
    from bridge.store.rejection import list_rejections

    with opened(settings_of(context)) as database:
        rows = look(database, lambda c: list_rejections(c, limit))
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
    else:
        click.echo(render_rejections(rows, SystemClock().now()))


def render_rejections(rows: list[dict[str, Any]], now: datetime) -> str:
    """One line a note; the studies are told by `show`."""
    if not rows:
        return "Nothing was rejected."
    lines = [f"{'#':>5}  {'title':<17} {'from':<16} {'age':<7} objects"]
    for row in rows:
        title = f"{row['title']} {_CODES[row['title']]}"
        back = f" · taken back {ago(now, row['lifted_at'])} ago by {row['lifted_by']}" if row["lifted_at"] else ""
        lines.append(
            f"{row['id']:>5}  {title:<17} {row['calling_ae_title']:<16} {ago(now, row['received_at']):<7} "
            f"{_here(row)}{back}"
        )
    return "\n".join([*lines, "", "  bridge rejections show NUMBER"])


def _here(row: dict[str, Any]) -> str:
    missing = row["named"] - row["applied"]
    return f"{row['named']}" + (f", {missing} of them not here yet" if missing else "")


@rejections.command("show")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def show_(context: click.Context, number: int, as_json: bool) -> None:
    """One note: its reason, and the studies that it speaks of."""
    from bridge.store.rejection import get_rejection, studies_of

    with opened(settings_of(context)) as database:
        row = look(database, lambda c: get_rejection(c, number))
        named = look(database, lambda c: studies_of(c, number))
    if row is None:
        raise NotFound("no such rejection", where=f"rejection {number}")
    if as_json:
        click.echo(json.dumps({**row, "studies": named}, default=str, indent=2))
    else:
        click.echo(render_rejection(row, named, SystemClock().now()))


def render_rejection(row: dict[str, Any], named: list[dict[str, Any]], now: datetime) -> str:
    title = row["title"]
    lines = [
        f"rejection {row['id']}: {_WORDS[title]} ({_CODES[title]}), from {row['calling_ae_title']} "
        f"{ago(now, row['received_at'])} ago, note {row['sop_instance_uid']}"
    ]
    if row["reason"]:
        code, scheme, meaning = row["reason"]
        lines.append(f"  reason: {printable(meaning or '-')} ({printable(code)}, {printable(scheme)})")
    for one in named:
        number = f"study:{one['id']}" if one["id"] else "not here"
        lines.append(f"  {number:<12} {one['study_instance_uid']}: {_here(one)}")
    if row["lifted_at"]:
        return "\n".join([*lines, f"  taken back {ago(now, row['lifted_at'])} ago by {row['lifted_by']}"])
    return "\n".join([*lines, "", f"  bridge rejections lift {row['id']} --reason TEXT"])


@rejections.command("lift")
@click.argument("number", type=int)
@click.option("--reason", required=True, help="Why the note was wrong; it stays in the audit trail.")
@click.pass_context
def lift_(context: click.Context, number: int, reason: str) -> None:
    """Take a note back that was sent by mistake: what it alone hid is shown again, at the EHR too."""
    from bridge.workflow.rejecting import lift

    shown = change(context, lambda c: lift(c, number, who(), reason))
    click.echo(f"rejection {number} is taken back: {shown} object{'' if shown == 1 else 's'} shown again")
