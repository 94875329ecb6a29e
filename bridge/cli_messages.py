"""`bridge messages`: what came in, what became of it, and running it again after the cause was mended."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from bridge.cli_common import Span, look, opened, printable, settings_of, who
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.domain.message import Fate
from bridge.errors import BridgeError, NotFound

if TYPE_CHECKING:
    from bridge.store.db import Connection, Database
    from bridge.workflow.replaying import Replayed, Replaying

_FATES = click.Choice([fate.value for fate in Fate])
_HEADS = f"{'ID':>8}  {'received':<19}  {'feed':<10} {'type':<16} {'control id':<20} {'fate':<11} answer  reasons"
_COLOURS = {Fate.PARKED: "yellow", Fate.REFUSED: "red", Fate.QUARANTINED: "red"}


@click.group()
def messages() -> None:
    """Messages received: list them, look into one, run them again."""


@messages.command("list")
@click.option("--feed", default="")
@click.option("--fate", "fates", multiple=True, type=_FATES)
@click.option("--errors", is_flag=True, help="Parked, refused and quarantined only.")
@click.option("--since", type=Span())
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_(
    context: click.Context,
    feed: str,
    fates: tuple[str, ...],
    errors: bool,
    since: timedelta | None,
    limit: int,
    as_json: bool,
) -> None:
    """The newest messages first."""
    from bridge.store import inbox

    begin = SystemClock().now() - since if since else None
    settings = settings_of(context)
    with opened(settings) as database:
        rows = look(
            database,
            lambda c: inbox.list_messages(c, fates=fates, feed=feed, since=begin, errors=errors, limit=limit),
        )
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        click.echo("no such messages")
        return
    click.echo(_HEADS)
    for row in rows:
        click.echo(_line(row, settings))


def _line(row: dict[str, Any], settings: Settings) -> str:
    at: datetime = row["received_at"].astimezone(settings.site.zone)
    fate = click.style(f"{row['fate']:<11}", fg=_COLOURS.get(row["fate"]))
    replays = f" (replayed {row['replays']}x)" if row["replays"] else ""
    kind, control = printable(row["message_type"]), printable(row["control_id"] or "-")
    return (
        f"{row['id']:>8}  {at:%Y-%m-%d %H:%M:%S}  {row['feed']:<10} {kind:<16} {control:<20} {fate} "
        f"{row['ack_code'] or '-':<6}  {'; '.join(row['reasons'])}{replays}"
    )


@messages.command("show")
@click.argument("message_id", metavar="ID", type=int)
@click.option("--raw", is_flag=True, help="The bytes as they came, to standard output.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def show_(context: click.Context, message_id: int, raw: bool, as_json: bool) -> None:
    """One message: its segments and fields by name, its fate, and the answer that its sender got.

    It shows a patient's data, so that looking is audited.
    """
    from bridge.hl7.show import show_acks, show_message
    from bridge.store import audit, inbox

    def read(connection: Connection) -> dict[str, Any] | None:
        found = inbox.get_message(connection, message_id)
        if found is not None:
            audit.write_audit(
                connection,
                at=SystemClock().now(),
                who=who(),
                action="message-read",
                subject=f"message:{message_id}",
            )
        return found

    settings = settings_of(context)
    with opened(settings) as database:
        row = database.write(read)
    if row is None:
        raise NotFound("no such message", where=f"message {message_id}")
    if raw:
        click.echo(row["raw"], nl=False)
        return
    feed = next((f for f in settings.hl7.feed if f.name == row["feed"]), None)
    segments = show_message(row["raw"], feed)
    acks = show_acks(row["ack"] or b"")
    if as_json:
        told = {k: v for k, v in row.items() if k not in ("raw", "ack")}
        click.echo(
            json.dumps({**told, "segments": segments, "answers": acks}, default=str, indent=2, ensure_ascii=False)
        )
        return
    click.echo(_line({**row, "size": len(row["raw"])}, settings))
    click.echo(f"from {row['peer']}, {len(row['raw'])} bytes, SHA-256 {row['sha256'][:16]}…\n")
    for segment in segments:
        _print_segment(segment)
    for number, ack in enumerate(acks, 1):
        click.secho(f"\nanswer {number}", bold=True)
        for segment in ack:
            _print_segment(segment)
    if not acks:
        click.secho("\nno answer was given", bold=True)


def _print_segment(segment: dict[str, Any]) -> None:
    click.secho(f"{segment['segment']}  {segment['name']}".rstrip(), fg="cyan")
    for field in segment["fields"]:
        label = f"{segment['segment']}-{field['field']}"
        click.echo(f"  {label:<8} {field['name']:<34.34} {field['value']}")


@messages.command("replay")
@click.argument("message_ids", metavar="[ID]...", nargs=-1, type=int)
@click.option("--fate", "fates", multiple=True, type=_FATES, help="All messages of this fate.")
@click.option("--parked", is_flag=True, help="All whose orders are parked: after the station table was mended.")
@click.option("--feed", default="")
@click.option("--since", type=Span())
@click.option("--limit", default=10_000, show_default=True, type=click.IntRange(1, 1_000_000))
@click.option("--yes", is_flag=True, help="Do it. Without it nothing changes, and what would change is printed.")
@click.option("--dry-run", is_flag=True, help="The default.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def replay_(
    context: click.Context,
    message_ids: tuple[int, ...],
    fates: tuple[str, ...],
    parked: bool,
    feed: str,
    since: timedelta | None,
    limit: int,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run messages again through today's mapping and workflow, oldest first, each in a transaction of its own.

    Their senders hear nothing of it. One that was applied stays as it is. A dry run tries each message by itself: what
    one of them would change, the next does not see.
    """
    wanted = (*fates, *((Fate.PARKED.value,) if parked else ()))
    if bool(message_ids) == bool(wanted):
        raise click.UsageError("give numbers of messages, or --fate or --parked")
    if yes and dry_run:
        raise click.UsageError("--yes and --dry-run exclude each other")
    begin = SystemClock().now() - since if since else None
    settings = settings_of(context)
    with opened(settings) as database:
        replaying = _replaying(database, settings)
        ids = sorted(set(message_ids)) or replaying.find(fates=wanted, feed=feed, since=begin, limit=limit)
        done = [_replay(replaying, one, dry_run=not yes, quiet=as_json) for one in ids]
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    changed = sum(1 for one in done if one.get("acts") or one.get("before") != one.get("after"))
    word = "changed" if yes else "would change (nothing was: --yes does it)"
    click.echo(f"{len(done)} messages, {changed} {word}")


def _replay(replaying: Replaying, message_id: int, *, dry_run: bool, quiet: bool) -> dict[str, Any]:
    try:
        one = replaying.replay(message_id, who(), dry_run=dry_run)
    except BridgeError as fault:
        if not quiet:
            click.secho(f"{message_id:>8}  {fault.code}: {fault}", fg="red")
        return {"message": message_id, "error": fault.code}
    if not quiet:
        _print_replayed(one)
    return {
        "message": message_id,
        "before": one.before,
        "after": one.after,
        "told": list(one.told),
        "acts": [list(act) for act in one.acts],
    }


def _print_replayed(one: Replayed) -> None:
    after = click.style(one.after, fg=_COLOURS.get(one.after, "green"))
    click.echo(f"{one.message_id:>8}  {one.before} → {after}  {'; '.join(one.told)}")
    for action, subject in one.acts:
        click.echo(f"          {action} {subject}")


def _replaying(database: Database, settings: Settings) -> Replaying:
    from bridge import app
    from bridge.hl7.policy import read_raw
    from bridge.workflow.context import Context
    from bridge.workflow.replaying import Replaying

    mappings = app.feed_mappings(settings)
    feeds = {feed.name: feed for feed in settings.hl7.feed}

    def read(envelope: Any) -> Any:
        if envelope.feed not in feeds:
            raise NotFound("its feed is not in the settings", where=envelope.feed)
        return read_raw(envelope.raw, feeds[envelope.feed], mappings[envelope.feed])

    return Replaying(Context(database, settings, SystemClock()), read)
