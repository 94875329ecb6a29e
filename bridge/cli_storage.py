"""`bridge rejections`, `bridge retention`, `bridge hold`: what is shown to nobody, what will go, and what must stay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bridge.cli_common import Span, ago, look, opened, printable, settings_of, who
from bridge.clock import SystemClock
from bridge.domain.rejection import TITLES
from bridge.domain.retention import Kept, Planned
from bridge.errors import NotFound

if TYPE_CHECKING:
    from bridge.config import Retention
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


# -- retention --------------------------------------------------------------------------------------------------------


@click.group()
def retention() -> None:
    """What the rules of [retention] delete, and what keeps a study from them."""


@retention.command("plan")
@click.option("--within", type=Span(), default="0s", help="Also what will be due so soon, for example 30d.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def plan_(context: click.Context, within: timedelta, as_json: bool) -> None:
    """What would go now, and what stays although its time is over. Nothing is changed."""
    from bridge.workflow.context import Context
    from bridge.workflow.retiring import plan

    settings, clock = settings_of(context), SystemClock()
    with opened(settings) as database:
        found = list(plan(Context(database, settings, clock), within))
    if as_json:
        rules = [rule.words for rule in settings.retention.rule]
        told = [
            {**asdict(one), "rule": rules[one.rule], "kept": [why.name.lower() for why in one.kept]} for one in found
        ]
        click.echo(json.dumps(told, default=str, indent=2))
    else:
        click.echo(render_plan(found, settings.retention, clock.now()))


def render_plan(found: list[Planned], settings: Retention, now: datetime) -> str:
    """Rule by rule: how much goes now, how much soon; then what stays, by why, with the studies."""
    lines = ["Rules (the first that means a study decides)"]
    for number, rule in enumerate(settings.rule, 1):
        mine = [one for one in found if one.rule == number - 1]
        lines.append(f"  {number}. {rule.words}")
        lines.append(f"       now   {_mass(one for one in mine if one.due_at <= now and not one.kept)}")
        if any(one.due_at > now for one in mine):
            lines.append(f"       later {_mass(one for one in mine if one.due_at > now)}")
    if not settings.rule:
        lines.append("  none: no study is deleted")
    lines += [
        "",
        f"Expired by a note (113039): {'deleted' if settings.expired_notes == 'delete' else 'hidden, and kept'}",
        f"Copies kept aside: {_age(settings.aside_days)}   Audit trail: {_age(settings.audit_days)}",
    ]
    kept = [one for one in found if one.kept and one.due_at <= now]
    if kept:
        lines += ["", f"Their time is over, and they stay: {_mass(kept)}"]
        lines += [f"  {why.value}: {_studies(one for one in kept if why in one.kept)}" for why in _reasons(kept)]
    return "\n".join(lines)


def _reasons(kept: list[Planned]) -> list[Kept]:
    counted = Counter(why for one in kept for why in one.kept)
    return [why for why, _ in counted.most_common()]


def _studies(found: Iterable[Planned], most: int = 12) -> str:
    numbers = [f"study:{one.study_id}" for one in found]
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return " ".join(numbers[:most]) + more


def _mass(found: Iterable[Planned]) -> str:
    these = list(found)
    if not these:
        return "nothing"
    studies, images = len(these), sum(one.instances for one in these)
    first, last = min(one.due_at for one in these), max(one.due_at for one in these)
    when = f"{first:%Y-%m-%d}" if first.date() == last.date() else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    size = _bytes(sum(one.size for one in these))
    return f"{studies} stud{'y' if studies == 1 else 'ies'}, {images} objects, {size}, due {when}"


def _bytes(size: int) -> str:
    """Decimal units, as disks are sold and `df -H` tells."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _age(days: int) -> str:
    return f"go after {days} days" if days else "kept for ever"


@retention.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def retired_(context: click.Context, limit: int, as_json: bool) -> None:
    """What was deleted, newest first."""
    from bridge.store.retirement import list_retirements

    with opened(settings_of(context)) as database:
        rows = look(database, lambda c: list_retirements(c, limit))
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        click.echo("Nothing was deleted by rule.")
        return
    now = SystemClock().now()
    for row in rows:
        state = f"{ago(now, row['ended_at'])} ago" if row["ended_at"] else "going on"
        study = f"study:{row['study_id']}"
        click.echo(
            f"{study:<12} {state:<10} {row['instances']:>7} objects {_bytes(row['bytes']):>9}  {row['rule']}  "
            f"{row['study_instance_uid']}"
        )


@retention.command("holds")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def holds_(context: click.Context, as_json: bool) -> None:
    """Studies that no rule deletes until `bridge unhold`."""
    from bridge.store.retirement import list_holds

    with opened(settings_of(context)) as database:
        rows = look(database, list_holds)
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        click.echo("No study is on hold.")
    now = SystemClock().now()
    for row in rows:
        study = f"study:{row['study_id']}"
        click.echo(f"{study:<12} for {ago(now, row['made_at'])} by {row['made_by']}: {printable(row['reason'])}")


@click.command("hold")
@click.argument("study", metavar="STUDY")
@click.option("--reason", required=True, help="Who needs it, and until when; it stays with the hold.")
@click.pass_context
def hold(context: click.Context, study: str, reason: str) -> None:
    """Keep STUDY (its number, or its Study Instance UID) from every rule that deletes."""
    from bridge.workflow.retiring import hold as keep

    number = change(context, lambda c: keep(c, study, who(), reason))
    click.echo(f"study {number} is on hold; no rule deletes it until: bridge unhold {number}")


@click.command("unhold")
@click.argument("study", metavar="STUDY")
@click.pass_context
def unhold(context: click.Context, study: str) -> None:
    """The rules count again for STUDY."""
    from bridge.workflow.retiring import unhold as let_go

    number = change(context, lambda c: let_go(c, study, who()))
    click.echo(f"study {number} is on hold no more")
