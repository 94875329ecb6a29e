"""`bridge worklist`: what a scanner would get now, and why an order is not on its list.

The query goes the way of any scanner's: read as keys, answered by the same desk under the same rules, told in the
device's own character set. Nothing is written, and no patient's name is printed unless asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from bridge.cli_common import opened, printable, settings_of
from bridge.clock import SystemClock
from bridge.errors import NotFound, TooLarge

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.config import DicomPeer, Settings, WorklistView
    from bridge.dicom.worklist_user import Told
    from bridge.domain.worklist import WorklistEntry, WorklistKeys
    from bridge.domain.worklist_view import Listing, Reason
    from bridge.mapping.transliteration import Transliteration
    from bridge.workflow.worklist import Explained, WorklistDesk

WORDS = {
    "no-permission": "no [[dicom.peer]] row lets the device ask for a worklist (may, unknown_peers)",
    "placeholder": "only spoken of so far (a cancel, an image, a step): no order for it has come",
    "order-status": "the order is on hold or given up",
    "parked": "it waits on the review list (bridge review)",
    "step-status": "a step of this status is not shown to it (statuses; keep_minutes after its end)",
    "no-show": "its start has passed and nobody was heard of since ([worklist] no_show_hours)",
    "no-start": "it has no day",
    "too-old": "its day is longer ago than [worklist] age_days",
    "day": "the device names no day, patient or order, and is shown today and the hours round now (default_window)",
    "station": "it is another station's (stations)",
    "modality": "it is of another modality (modalities)",
    "location": "neither its place nor the patient's is the device's (locations)",
    "key": "the order has another",
    "not-readable": "the device cannot be told it in its character set, and its row says utf8 = false",
    "limit": "more entries match than limit: refused whole, or cut to the nearest (over_limit), and answered A700",
}
"""What each rule that hides an entry means; names in brackets are of the device's [[worklist.view]]."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A device's query, as it would be sent and as it is understood."""

    settings: Settings
    peer: DicomPeer
    identifier: Any
    keys: WorklistKeys
    table: Transliteration
    asks: datetime | None
    """Since when the device asks for its list as it does; None when it has never asked."""
    own: bool
    """Nothing of the query is told here: it is the device's own."""

    @property
    def allowed(self) -> bool:
        return "worklist" in self.peer.may

    @property
    def rules(self) -> WorklistView:
        return self.settings.worklist.view_of(self.peer.ae_title)

    def tell(self, entry: WorklistEntry) -> Told:
        from bridge.dicom.worklist_user import tell

        return tell(entry, self.identifier, self.peer, self.settings.issuers, self.table)

    def describe(self) -> str:
        """The query in a line, without who a patient is."""
        from bridge.dicom.query import KEY_TAGS, where
        from bridge.domain.worklist_attributes import ATTRIBUTES

        told = [
            f"{where(tag)} {printable(_text(getattr(self.keys, name))) if ATTRIBUTES[name].public else '...'}"
            for name, tag in KEY_TAGS.items()
            if getattr(self.keys, name)
        ]
        return ", ".join(told) or "everything"


def _query_options(command: Any) -> Any:
    """What a query is made of: by default what the scanner last asked itself, else what most ask."""
    for option in reversed(
        [
            click.option("--as", "title", default="", help="The scanner's AE title."),
            click.option(
                "--date", "dates", help="Day or range asked for (YYYYMMDD, '' = any).  [default: its last, or today]"
            ),
            click.option("--station", help="Station ('' = any).  [default: its last, or its title]"),
            click.option("--modality", help="Modality ('' = any).  [default: its last, or any]"),
            click.option("-k", "--key", "keys", multiple=True, metavar="KEYWORD=VALUE", help="Any other key."),
            click.option("--fuzzy", is_flag=True, help="As a device that has negotiated fuzzy matching of names."),
            click.option("--json", "as_json", is_flag=True),
        ]
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_query_options
@click.option("--names", is_flag=True, help="Print patients' names too.")
@click.pass_context
def worklist(context: click.Context, /, as_json: bool, names: bool, **query: Any) -> None:
    """What the worklist of a scanner (--as) shows now. Nothing is written."""
    if context.invoked_subcommand:
        return
    with _asking(context, **query) as (desk, asked):
        listing = _listed(desk, asked)
        told = [(entry, asked.tell(entry)) for entry in listing or ()]
    shown = [_row(entry, names=names) for entry, one in told if not one.withheld]
    withheld = [_row(entry, names=names) | {"because": one.withheld} for entry, one in told if one.withheld]
    if as_json:
        over = listing is None or listing.cut
        found = {"may_ask": asked.allowed, "over_limit": over, "entries": shown, "withheld": withheld}
        found |= {"asks_so_since": asked.asks.isoformat() if asked.asks else None}
        rules = asked.rules.model_dump(mode="json", exclude={"peers"})
        found |= {"view": {name: _plain(value) for name, value in rules.items()}}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _head(asked)
    if not asked.allowed:
        click.secho(f"  ! {WORDS['no-permission']}: it gets nothing; with one it would get:", fg="red")
    if listing is None:
        click.secho(f"  ! more entries match than limit = {asked.rules.limit}: it is refused (A700)", fg="red")
    for row in shown:
        click.echo(_line(row))
    for row in withheld:
        click.secho(f"{_line(row)}  ! withheld: {row['because']}", fg="red")
    if listing is not None and listing.cut:
        click.secho(f"  ! more match than limit = {asked.rules.limit}: the nearest to now, then A700", fg="red")
    click.echo(f"  {len(shown)} shown" + (f", {len(withheld)} withheld" if withheld else ""))


@worklist.command("why")
@click.argument("accession_number", metavar="ACCESSION")
@_query_options
@click.pass_context
def why_(context: click.Context, /, accession_number: str, as_json: bool, **query: Any) -> None:
    """Which key or rule keeps the steps of ACCESSION from a scanner (--as) that asks so; or that it shows them."""
    with _asking(context, **query) as (desk, asked):
        steps = desk.explain(accession_number, asked.keys, asked.peer)
        if not steps:
            raise NotFound(
                "no order has this accession number: bridge messages list, bridge review", where="(0008,0050)"
            )
        listing = _listed(desk, asked)
        listed = None if listing is None else {entry.step_pk for entry in listing}
        found = [(one.entry, [*_all_reasons(asked, one, listed)]) for one in steps]
    if as_json:
        told = [
            _row(entry) | {"shown": not reasons, "reasons": [_as_json(asked, entry, reason) for reason in reasons]}
            for entry, reasons in found
        ]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    _head(asked)
    for entry, reasons in found:
        click.echo(_line(_row(entry)))
        if not reasons:
            click.secho("    shown", fg="green")
        for reason in reasons:
            click.secho(f"    {_words(asked, entry, reason)}", fg="yellow")


@contextmanager
def _asking(
    context: click.Context,
    *,
    title: str,
    dates: str | None,
    station: str | None,
    modality: str | None,
    keys: tuple[str, ...],
    fuzzy: bool,
) -> Iterator[tuple[WorklistDesk, Asked]]:
    """The desk that answers, and the query of the device. Raises `BadValue` as the worklist would refuse it (A900)."""
    from bridge import app
    from bridge.dicom.worklist_user import keys_of, keyword_for_key, question
    from bridge.workflow.context import Context
    from bridge.workflow.worklist import WorklistDesk

    if not title:
        raise click.UsageError("say which scanner asks: --as AE_TITLE")
    if wrong := [key for key in keys if "=" not in key]:
        raise click.UsageError(f"KEYWORD=VALUE, for example PatientID=1001, not {wrong[0]}")
    settings, clock = settings_of(context), SystemClock()
    table, peer = app.load_mappings(settings).transliteration, settings.dicom.peer_of(title)
    with opened(settings) as database:
        desk = WorklistDesk(Context(database, settings, clock), table.plain)
        last = desk.last_asked(title)
        today = f"{clock.now().astimezone(settings.site.zone):%Y%m%d}"
        base = dict(last.keys) if last else {"station_ae_title": title, "start_date": today}
        told = {"station_ae_title": station, "start_date": dates, "modality": modality}
        base |= {name: value for name, value in told.items() if value is not None}
        more = dict(key.split("=", 1) for key in keys)
        identifier = question(keys={keyword_for_key(name): value for name, value in base.items()} | more)
        understood = replace(keys_of(identifier, settings.issuers), fuzzy=fuzzy)
        own = last is not None and not keys and all(value is None for value in told.values())
        yield desk, Asked(settings, peer, identifier, understood, table, last.since if last else None, own)


def _listed(desk: WorklistDesk, asked: Asked) -> Listing | None:
    """What the device would get; None when its query would be refused."""
    try:
        return desk.find(asked.keys, asked.peer)
    except TooLarge:
        return None


def _head(asked: Asked) -> None:
    """Who asks for what, and the site's rules that are not as shipped."""
    from bridge.dicom.charset import chosen

    charset = chosen(asked.peer, asked.identifier) or "ISO 646"
    asks = "asks, as it does itself, for" if asked.own else "asks for"
    click.secho(f"{asked.peer.ae_title} ({charset}) {asks} {asked.describe()}", bold=True)
    if asked.asks is None:
        click.secho("  it has never asked for its list: its own title and today are assumed", fg="yellow")
    rules = asked.rules.model_dump(mode="json", exclude={"peers"}, exclude_defaults=True)
    told = [f"{name} {json.dumps(_plain(value))}" for name, value in rules.items()]
    click.echo(f"  [[worklist.view]] {printable(', '.join(told)) or 'as shipped'}")


def _plain(value: Any) -> Any:
    """A setting as one would write it."""
    if isinstance(value, list):
        return sorted(value) if value and isinstance(value[0], str) else [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _all_reasons(asked: Asked, step: Explained, listed: set[int] | None) -> Iterator[Reason]:
    """Those of the desk, between what is decided before it is asked and after; `listed` None = refused."""
    from bridge.domain.worklist_view import Reason

    if not asked.allowed:
        yield Reason("no-permission")
    yield from step.reasons
    if listed is None or not (step.reasons or step.entry.step_pk in listed):
        yield Reason("limit")
    if withheld := asked.tell(step.entry).withheld:
        yield Reason("not-readable", withheld)


def _words(asked: Asked, entry: WorklistEntry, reason: Reason) -> str:
    if reason.rule != "key":
        return f"{reason.rule}{f' {printable(reason.found)}' if reason.found else ''}: {WORDS[reason.rule]}"
    from bridge.dicom.query import KEY_TAGS, where
    from bridge.dicom.worklist_user import keyword_for_key
    from bridge.domain.worklist_attributes import ATTRIBUTES

    name = reason.found
    attribute, told = ATTRIBUTES[name], f"key {where(KEY_TAGS[name])} {keyword_for_key(name)}"
    if name == "patient_issuer" and not asked.keys.patient_issuer:
        return f"key {where(KEY_TAGS['patient_id'])} PatientID: the order's is of another authority (issuer_of_key)"
    if not attribute.public:
        return f"{told}: the order has another"
    key, has = _text(getattr(asked.keys, name)), attribute.text(entry, asked.settings.issuers)
    if name == "start_date":
        key, has = f"{key} {asked.keys.start_time}".strip(), f"{has} {entry.start_time}".strip()
    return f"{told}: asked {printable(key)}, the order has {printable(has) or 'none'}"


def _as_json(asked: Asked, entry: WorklistEntry, reason: Reason) -> dict[str, str]:
    from bridge.dicom.query import KEY_TAGS, where

    found = where(KEY_TAGS[reason.found]) if reason.rule == "key" else reason.found
    return {"rule": reason.rule, "found": found, "text": _words(asked, entry, reason)}


def _text(value: Any) -> str:
    """A key or value in a line; that of a sequence as `code=CTH scheme=99LOCAL`."""
    if value and isinstance(value, tuple) and isinstance(value[0], tuple):
        return " ".join(f"{name}={_text(inner)}" for name, inner in value)
    return "\\".join(value) if isinstance(value, tuple) else str(value)


def _row(entry: WorklistEntry, *, names: bool = False) -> dict[str, str]:
    row = {
        "start": f"{entry.start_date} {entry.start_time}".strip(),
        "accession_number": entry.accession_number,
        "step_id": entry.step_id,
        "modality": entry.modality,
        "stations": _text(entry.station_ae_titles),
        "status": str(entry.step_status),
    }
    return row | ({"patient_name": entry.patient_name.dicom} if names else {})


def _line(row: dict[str, str]) -> str:
    widths = {"start": 15, "accession_number": 16, "step_id": 16, "modality": 4, "stations": 12, "status": 10}
    told = (printable(text).ljust(widths.get(name, 0)) for name, text in row.items() if name != "because")
    return f"  {'  '.join(told).rstrip()}"
