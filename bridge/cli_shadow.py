"""Going live: `bridge shadow` compares with the old worklist, `bridge load` brings in what is open."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli_common import Span, feed_of, progress, settings_of
from bridge.clock import SystemClock
from bridge.config import Feed, Settings
from bridge.errors import BridgeError, NotFound, RemoteUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.hl7.client import MllpClient
    from bridge.hl7.listener import PeerInfo
    from bridge.mapping import Mappings
    from bridge.workflow.preview import Rehearsal
    from bridge.workflow.shadow import Comparison, Entry

Captures = click.Path(exists=True, path_type=Path)
_LABELS = (
    ("PatientName", ""),
    ("PatientID", "id"),
    ("AccessionNumber", "accession"),
    ("ScheduledProcedureStepSequence.ScheduledProcedureStepID", "step"),
    ("ScheduledProcedureStepSequence.Modality", ""),
    ("ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate", ""),
    ("ScheduledProcedureStepSequence.ScheduledProcedureStepStartTime", ""),
)


class Address(click.ParamType[tuple[str, int, str]]):
    """`HOST:PORT/AE`."""

    name = "host:port/ae"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int, str]:
        place, _, title = str(value).partition("/")
        host, _, port = place.rpartition(":")
        if not (host and port.isdigit() and 0 < int(port) < 65536 and 0 < len(title) <= 16):
            self.fail("say HOST:PORT/AE", param, ctx)
        return host.strip("[]"), int(port), title


@click.command()
@click.argument("captures", metavar="[FILE|FOLDER]...", nargs=-1, type=Captures)
@click.option("--old", required=True, type=Address(), help="The worklist in use today.")
@click.option("--ae", "titles", multiple=True, help="Ask as these only.  [default: every peer that may ask]")
@click.option("--dates", default="", help="Scheduled on: YYYYMMDD, or a range with '-'.  [default: from today on]")
@click.option("--feed", default="", help="Read by this feed's settings.  [default: the first]")
@click.option("--listen", type=click.IntRange(0, 65535), help="Take messages of a tap on this port (0 = a free one).")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--for", "duration", type=Span(), help="Listen that long, then compare.  [default: until Ctrl-C]")
@click.option("--silent", is_flag=True, help="Send the tap no answers at all (a mirrored port, not a second sender).")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def shadow(
    context: click.Context,
    captures: tuple[Path, ...],
    old: tuple[str, int, str],
    titles: tuple[str, ...],
    dates: str,
    feed: str,
    listen: int | None,
    host: str,
    duration: timedelta | None,
    silent: bool,
    as_json: bool,
) -> None:
    """Run messages past a bridge that is thrown away, and compare its worklist with the old one.

    The live bridge, its store and the real sender hear nothing of it: messages come from captured files, or from a
    tap that sends a copy. Each AE title asks both worklists for its own list. Status 1 when they differ.
    """
    from bridge import app
    from bridge.workflow.preview import Rehearsal

    if bool(captures) == (listen is not None):
        raise click.UsageError("give files of messages, or --listen")
    settings = settings_of(context)
    one = feed_of(settings, feed)
    mappings = app.load_mappings(settings, one)
    asking = titles or tuple(peer.ae_title for peer in settings.dicom.peer if "worklist" in peer.may)
    if not asking:
        raise NotFound("no [[dicom.peer]] may ask for a worklist: give --ae", where="dicom.peer")
    clock = SystemClock()
    today = clock.now().astimezone(settings.site.zone)
    with Rehearsal(settings, clock) as rehearsal:
        if listen is None:
            fates = _take_files(rehearsal, captures, one, mappings)
        else:
            fates = _take_tap(rehearsal, one, mappings, (host, listen), duration, silent=silent)
        found = _compare(rehearsal, mappings, old, asking, dates or f"{today:%Y%m%d}-")
        parked = rehearsal.parked()
    if as_json:
        told = {
            "messages": dict(fates),
            "parked": [asdict(p) for p in parked],
            "worklists": {title: _as_json(comparison) for title, comparison in found.items()},
        }
        click.echo(json.dumps(told, default=str, indent=2, ensure_ascii=False))
    else:
        click.echo(", ".join(f"{count} {fate}" for fate, count in fates.items()) or "no messages")
        for reason, count in Counter(p.reason for p in parked).items():
            click.secho(f"{count} parked: {reason}", fg="yellow")
        for title, comparison in found.items():
            _print(title, comparison)
    context.exit(0 if all(comparison.agrees for comparison in found.values()) else 1)


def read_files(captures: Sequence[Path]) -> list[bytes]:
    """The messages of files, and of the files of folders by name, in order."""
    from bridge.hl7.capture import read_capture

    files = [
        file
        for given in captures
        for file in (sorted(p for p in given.rglob("*") if p.is_file()) if given.is_dir() else [given])
    ]
    return [message for file in files for message in read_capture(file.read_bytes())]


def _take_files(rehearsal: Rehearsal, captures: Sequence[Path], feed: Feed, mappings: Mappings) -> Counter[str]:
    from bridge.hl7.policy import read_raw
    from bridge.preview import envelope_of

    fates: Counter[str] = Counter()
    for raw in progress(read_files(captures), "messages"):
        outcome = rehearsal.take(envelope_of(raw, feed.name, SystemClock()), read_raw(raw, feed, mappings))
        fates[outcome.fate.value] += 1
    return fates


def _take_tap(
    rehearsal: Rehearsal,
    feed: Feed,
    mappings: Mappings,
    address: tuple[str, int],
    duration: timedelta | None,
    *,
    silent: bool,
) -> Counter[str]:
    """Listen until the time is over or Ctrl-C. A tap gets AA for whatever it sends: it must never hold up its queue."""
    from bridge.hl7.ack import AckCode, write_answers
    from bridge.hl7.header import header_of
    from bridge.hl7.listener import ListenerLimits, MllpListener
    from bridge.hl7.policy import read_raw
    from bridge.preview import envelope_of

    clock, fates, lock = SystemClock(), Counter[str](), threading.Lock()

    def handle(raw: bytes, peer: PeerInfo) -> list[bytes]:
        with lock:  # in the order of arrival
            outcome = rehearsal.take(envelope_of(raw, feed.name, clock, peer.host), read_raw(raw, feed, mappings))
            fates[outcome.fate.value] += 1
        if silent:
            return []
        return write_answers(
            header_of(raw), AckCode.AA, (), new_control_id=lambda: uuid.uuid4().hex[:20], now=clock.now()
        )

    limits = ListenerLimits(message_bytes=feed.max_message_bytes, lenient=True)
    listener = MllpListener(*address, limits, handle, lambda _fault, _peer: None, clock)
    listener.start()
    try:
        click.echo(f"listening on {address[0]}:{listener.port}; Ctrl-C compares", err=True)
        with _interrupted() as ending:
            ending.wait(duration.total_seconds() if duration else None)
    finally:
        listener.stop()
    return fates


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    ending = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda _s, _f: ending.set()) for number in numbers]
    try:
        yield ending
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _compare(
    rehearsal: Rehearsal, mappings: Mappings, old: tuple[str, int, str], titles: Sequence[str], dates: str
) -> dict[str, Comparison]:
    from bridge.dicom.worklist_user import WorklistUser, flatten, question
    from bridge.preview import devices
    from bridge.workflow.shadow import compare

    user = WorklistUser(*old)
    found: dict[str, Comparison] = {}
    for title in progress(titles, "worklists"):
        theirs = [flatten(answer) for answer in user.ask(title, question(station=title, dates=dates))]
        (device,) = devices(rehearsal, mappings, titles=(title,), dates=dates)
        found[title] = compare(theirs, [entry.attributes for entry in device.entries if not entry.withheld])
    return found


def _as_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "same": comparison.same,
        "only_old": comparison.only_old,
        "only_ours": comparison.only_ours,
        "different": [{"entry": d.entry, "attributes": d.attributes} for d in comparison.different],
        "untold_by_old": dict(comparison.untold),
    }


def _print(title: str, comparison: Comparison) -> None:
    from bridge.preview import printable

    click.secho(
        f"\n{title}: {comparison.same} the same, {len(comparison.different)} differ, "
        f"{len(comparison.only_old)} only in the old, {len(comparison.only_ours)} only in ours",
        bold=True,
    )
    for entry in comparison.only_old:
        click.secho(f"  - {_label(entry)}", fg="red")
    for entry in comparison.only_ours:
        click.secho(f"  + {_label(entry)}", fg="green")
    for one in comparison.different:
        click.echo(f"  ~ {_label(one.entry)}")
        for name, (told, ours) in one.attributes.items():
            old_text = click.style(printable(told) or "(nothing)", fg="red")
            new_text = click.style(printable(ours) or "(nothing)", fg="green")
            click.echo(f"      {name}: {old_text} -> {new_text}")
    if comparison.untold:
        told_by_ours = ", ".join(f"{name} ({count})" for name, count in comparison.untold.most_common())
        click.secho(f"  the old one never tells: {told_by_ours}", dim=True)


def _label(entry: Entry) -> str:
    from bridge.preview import printable

    return "  ".join(printable(f"{word} {entry[name]}".strip()) for name, word in _LABELS if entry.get(name))


@click.command()
@click.argument("files", metavar="FILE|FOLDER...", nargs=-1, required=True, type=Captures)
@click.option("--feed", default="", help="The feed that takes them.  [default: the first]")
@click.option("--host", default="", help="Another bridge's address.  [default: this one's]")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: the running bridge's]")
@click.option("--tls-ca", type=click.Path(exists=True, path_type=Path), help="Speak TLS, and trust this authority.")
@click.option(
    "--tls-cert", type=click.Path(exists=True, path_type=Path), help="Our certificate, where one is asked for."
)
@click.option("--tls-key", type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Count the messages and send none.")
@click.pass_context
def load(
    context: click.Context,
    files: tuple[Path, ...],
    feed: str,
    host: str,
    port: int | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    dry_run: bool,
) -> None:
    """Load open orders: send the messages of files to a feed of the running bridge, one after another.

    Files hold messages one after another, MLLP frames, or batches (FHS, BHS). What was sent before is known and has
    no second effect: after an interruption, load the same files again. Status 1 when a message was not accepted.
    """
    from bridge.hl7.client import MllpClient
    from bridge.hl7.tls import client_context

    settings = settings_of(context)
    one = feed_of(settings, feed)
    messages = read_files(files)
    if dry_run:
        click.echo(f"{len(messages)} messages")
        return
    if one.tls and tls_ca is None:
        raise click.UsageError(f"the feed {one.name} speaks TLS: give --tls-ca")
    where = host or ("127.0.0.1" if one.host in ("0.0.0.0", "::") else one.host)  # noqa: S104 - compared only
    tls = client_context(tls_ca, tls_cert, tls_key, what="load") if tls_ca else None
    with MllpClient(where, port or _listening(settings, one), one.ack_seconds, tls=tls) as client:
        codes = _send(messages, client)
    click.echo(", ".join(f"{count} {code}" for code, count in sorted(codes.items())) or "no messages")
    context.exit(0 if all(code in ("AA", "CA") for code in codes) else 1)


def _listening(settings: Settings, feed: Feed) -> int:
    """The port that the running bridge says it listens on."""
    from bridge import app
    from bridge.run.role import read_notice

    for name in ("hl7", "all"):
        notice = read_notice(app.run_folder(settings) / f"{name}.json") or {}
        ports = notice.get("ports")
        if isinstance(ports, dict) and f"hl7.{feed.name}" in ports:
            return int(ports[f"hl7.{feed.name}"])
    raise NotFound("the bridge does not run: start it, or give --port", where=f"hl7.{feed.name}")


def _send(messages: Sequence[bytes], client: MllpClient) -> Counter[str]:
    """Stops at the first message without an answer: whatever is behind it keeps its place."""
    from bridge.hl7.ack import read_ack
    from bridge.hl7.header import header_of
    from bridge.preview import printable

    codes: Counter[str] = Counter()
    for number, raw in enumerate(progress(messages, "messages"), 1):
        name = f"message {number} ({printable(header_of(raw).control_id) or 'no control id'})"
        try:
            ack = read_ack(client.send(raw))
        except RemoteUnavailable:
            click.secho(f"stopped at {name}, of {len(messages)}", fg="red", err=True)
            raise
        except BridgeError as fault:
            click.secho(f"{name}: not sent: {fault}", fg="red", err=True)
            codes["not sent"] += 1
            continue
        codes[ack.code.value] += 1
        if not ack.code.positive:
            click.secho(f"{name}: {ack.code} {printable(ack.text)}", fg="red", err=True)
    return codes
