"""`bridge mappings`: are the tables right, and what would other ones change, what do we take? All only look."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli_common import Span, feed_of, look, opened, progress, settings_of
from bridge.clock import SystemClock
from bridge.config import Feed, Settings
from bridge.mapping import Mappings, default_directory
from bridge.mapping.apply import Section
from bridge.mapping.compare import Change, compare, load_with, numbers

if TYPE_CHECKING:
    from bridge.mapping.explain import Explanation

_ALL = 10_000_000
OverlayFile = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def mappings() -> None:
    """The tables of `mappings/`: check them, and see what a change of them would do."""


@mappings.command("check")
@click.option("--overlay", type=OverlayFile, help="Instead of the site's own overlay.")
@click.pass_context
def check_(context: click.Context, overlay: Path | None) -> None:
    """Read every mapping and table with the site's overlay: all faults with file and line, or what was loaded."""
    from bridge import app

    config = context.find_root().obj.config
    settings = Settings.load(config) if config.exists() else Settings()
    if overlay:
        loaded: list[tuple[list[str], Mappings]] = [([], _with_overlay(settings, None, overlay))]
    else:
        by_feed = app.feed_mappings(settings)
        distinct = {id(one): one for one in by_feed.values()}
        loaded = [([n for n, one in by_feed.items() if one is made], made) for made in distinct.values()]
    for feeds, one in loaded:
        click.secho(" for feed ".join(filter(None, (str(default_directory()), ", ".join(feeds)))), bold=True)
        for line in _summary(one):
            click.echo(f"  {line}")
    click.secho("✓ no faults found", fg="green")


@mappings.command("diff")
@click.option("--overlay", required=True, type=OverlayFile, help="The new overlay, in place of the one in use.")
@click.option("--since", type=Span(), default="7d", show_default=True, help="Messages that came after that.")
@click.option("--feed", default="", help="Only this feed's messages.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def diff_(context: click.Context, overlay: Path, since: timedelta, feed: str, as_json: bool) -> None:
    """Read stored messages by the mapping in use and by a new one, and print what would come out otherwise.

    Nothing is changed, and nothing of it is logged: what is printed holds patients' data. Status 1 when anything
    would change.
    """
    from bridge import app
    from bridge.store import inbox

    settings = settings_of(context)
    feeds = {one.name: one for one in settings.hl7.feed if feed in ("", one.name)} or {feed: feed_of(settings, feed)}
    current = app.feed_mappings(settings)
    new = {name: _with_overlay(settings, one, overlay) for name, one in feeds.items()}
    begin = SystemClock().now() - since
    counts: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    with opened(settings) as database:
        rows = look(database, lambda c: inbox.list_messages(c, feed=feed, since=begin, limit=_ALL, oldest_first=True))
        for row in progress(rows, "messages"):
            if row["feed"] not in feeds:
                counts["of a feed that is not in the settings"] += 1
                continue
            message = look(database, lambda c, i=row["id"]: inbox.get_message(c, i))  # type: ignore[misc]
            if message is None:  # purged meanwhile
                continue
            name = row["feed"]
            changes, explained = _changes(message["raw"], feeds[name], current[name], new[name])
            counts["changed" if changes else "the same"] += 1
            if not changes:
                continue
            fields.update(f"{_plain_heading(change.heading)}.{change.name}" for change in changes)
            counts["orders"] += len({change.heading.partition("(")[2] for change in changes} - {""})
            if as_json:
                found.append({**_head(row), "changes": [asdict(change) for change in changes]})
            else:
                _print_changes(row, changes, explained, settings)
    if as_json:
        told = {"messages": found, "counts": dict(counts), "fields": dict(fields)}
        click.echo(json.dumps(told, default=str, indent=2, ensure_ascii=False))
    else:
        _print_counts(len(rows), counts, fields)
    context.exit(1 if fields else 0)


@mappings.command("statement")
@click.argument("standard", type=click.Choice(["hl7", "dicom"]), default="hl7")
@click.pass_context
def statement_(context: click.Context, standard: str) -> None:
    """Print the conformance statement of the site's settings and mappings (as shipped: docs/conformance-*.md)."""
    from bridge import app
    from bridge.dicom.statement import statement as dicom
    from bridge.hl7.statement import statement as hl7

    config = context.find_root().obj.config
    settings = Settings.load(config) if config.exists() else Settings()
    found = app.load_mappings(settings)
    click.echo(hl7(found) if standard == "hl7" else dicom(settings, found), nl=False)


def _changes(raw: bytes, feed: Feed, current: Mappings, new: Mappings) -> tuple[tuple[Change, ...], Explanation | None]:
    """Most messages come out the same: the explanations, ten times as dear, are made for the others only."""
    from bridge.hl7.explain import explain
    from bridge.hl7.policy import read_raw

    old_reading, new_reading = read_raw(raw, feed, current), read_raw(raw, feed, new)
    if str(old_reading.refusal) == str(new_reading.refusal) and _said(old_reading) == _said(new_reading):
        return (), None
    charsets = {"charset_override": feed.charset_override, "charset_default": feed.charset_default}
    explained = explain(raw, new, **charsets)
    return compare(explain(raw, current, **charsets), explained), explained


def _said(reading: Any) -> tuple[Any, ...]:
    return (*reading.patients, *reading.orders, *reading.reports, *reading.appointments, *reading.warnings)


def _head(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "feed", "received_at", "message_type", "control_id", "fate")}


def _print_changes(
    row: dict[str, Any], changes: tuple[Change, ...], explained: Explanation | None, settings: Settings
) -> None:
    from bridge.preview import printable

    at = row["received_at"].astimezone(settings.site.zone)
    click.secho(
        f"\nmessage {row['id']}  {at:%Y-%m-%d %H:%M:%S}  {row['feed']}  {printable(row['message_type'])}", bold=True
    )
    heading = ""
    for change in changes:
        if change.heading != heading:
            heading = change.heading
            known_by = numbers(explained, heading) if explained else ""
            click.secho(f"  {heading}{f': {printable(known_by)}' if known_by else ''}", fg="cyan")
        old = click.style(printable(change.old) or "(nothing)", fg="red")
        new = click.style(printable(change.new) or "(nothing)", fg="green")
        click.echo(f"    {change.name:<22} {old} -> {new}")
        lines = [line for line in dict.fromkeys((change.old_line, change.new_line)) if line]
        if lines:
            click.secho(f"    {'':<22} {' -> '.join(lines)}", dim=True)


def _print_counts(total: int, counts: Counter[str], fields: Counter[str]) -> None:
    click.echo(
        f"\n{total} messages: {counts['the same']} the same, {counts['changed']} would come out otherwise", nl=False
    )
    click.echo(f" ({counts['orders']} orders)" if counts["orders"] else "")
    for name, count in fields.most_common():
        click.echo(f"  {count:>7}  {name}")
    other = "of a feed that is not in the settings"
    if counts[other]:
        click.echo(f"  {counts[other]:>7}  {other}: not read")


def _plain_heading(heading: str) -> str:
    """Without the number of the group, merge or service."""
    return re.sub(r"( \(.*\)| \d+)$", "", heading)


def _with_overlay(settings: Settings, feed: Feed | None, overlay: Path) -> Mappings:
    """The mappings with a file in place of the overlay in use. Raises ConfigurationError."""
    from bridge import app

    return load_with(default_directory(), overlay, app.mapping_context(settings, feed))


def _sections(loaded: Mappings) -> list[Section]:
    return [one for name in Mappings.__slots__ if isinstance(one := getattr(loaded, name), Section)]


def _rules_by_file(loaded: Mappings) -> Counter[str]:
    """Paths and rows by the file that says them."""
    counted: Counter[str] = Counter()
    for section in _sections(loaded):
        for rule in section.rules:
            counted[rule.mark.file] += 1
            counted.update({mark.file for _, mark in rule.paths} - {rule.mark.file})
    for table in loaded.tables.values():
        counted.update(row.mark.file for row in table.rows)
    return counted


def _summary(loaded: Mappings) -> list[str]:
    by_file = _rules_by_file(loaded)
    width = max(map(len, by_file))
    tables = {row.mark.file: table for table in loaded.tables.values() for row in table.rows}
    lines = []
    for file in sorted(by_file):
        kind = "rows that a site changes" if "/sites/" in file else "codes" if file in tables else "fields"
        lines.append(f"{file.ljust(width)}  {by_file[file]:>4} {kind}")
    fields = sum(len(section.rules) for section in _sections(loaded))
    lines.append(
        f"{len(by_file)} files, {fields} fields in {len(_sections(loaded))} sections, {len(loaded.tables)} code tables"
    )
    return lines
