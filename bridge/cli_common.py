"""What the command groups share: faults in plain lines, `7d`, an open database, a progress bar."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bridge.config import Feed, Settings
from bridge.errors import BridgeError, ConfigurationError, NotFound

if TYPE_CHECKING:
    from bridge.store.db import Connection, Database

T = TypeVar("T")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class PlainGroup(click.Group):
    """A fault of the site's making is told in plain lines, not as a trace: status 2 for its files, 1 for the rest.

    One at the root serves every command below it.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as fault:
            for line in fault.faults:
                click.secho(line, fg="red", err=True)
            ctx.exit(2)
        except BridgeError as fault:
            click.secho(f"{fault.code}: {fault}{f' ({fault.where})' if fault.where else ''}", fg="red", err=True)
            ctx.exit(1)


class NoDatabase(NotFound):
    code = "no-database"

    def __init__(self) -> None:
        super().__init__("no database yet: start `bridge run` first")


class Span(click.ParamType[timedelta]):
    """`30s`, `30m`, `12h`, `7d`."""

    name = "30m|12h|7d"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,4})([smhd])", str(value))
        if found is None:
            self.fail("say 30m, 12h or 7d", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


def who() -> str:
    """The person at the keyboard, for the audit trail."""
    return f"cli:{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.getuid()}"


def settings_of(context: click.Context) -> Settings:
    return Settings.load(context.find_root().obj.config)


def feed_of(settings: Settings, name: str) -> Feed:
    """The feed of that name, '' = the first. Raises NotFound."""
    feeds = settings.hl7.feed
    found = next((feed for feed in feeds if name in ("", feed.name)), None)
    if found is None:
        raise NotFound(f"no such feed; there are {', '.join(feed.name for feed in feeds)}", where=name)
    return found


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The site's store. Raises `NoDatabase` before the first `bridge run`: nothing is created."""
    from bridge import app
    from bridge.store.migrate import current

    if not settings.database.url and not (settings.data / "bridge.db").exists():
        raise NoDatabase
    database = app.open_database(settings)
    try:
        if current(database) is None:
            raise NoDatabase
        yield database
    finally:
        database.close()


def look(database: Database, read: Callable[[Connection], T]) -> T:
    with database.read() as connection:
        return read(connection)


def ago(now: datetime, at: datetime) -> str:
    """`3 d`, `1 h`, `5 min`, `12 s`."""
    seconds = max(0, int((now - at).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def printable(text: str) -> str:
    """A peer's text on a terminal: no control byte moves the cursor."""
    return "".join(c if c.isprintable() else "·" for c in text)


def progress(items: Sequence[T], label: str) -> Iterable[T]:
    """The items one by one with a bar on the terminal's error stream; nothing where there is no terminal."""
    if not sys.stderr.isatty() or len(items) < 2:
        yield from items
        return
    with click.progressbar(items, label=label, file=sys.stderr, show_pos=True) as bar:
        yield from bar


def bar(what: str, done: int, total: int) -> None:
    """A step of long work on the terminal's error stream; nothing where there is no terminal. `total` 0: not known."""
    if not sys.stderr.isatty():
        return
    width = max(10, min(40, shutil.get_terminal_size().columns - 48))
    filled = width * done // max(total, 1)
    ended = done >= total > 0
    click.echo(f"\r{what:<22.22} [{'█' * filled}{'·' * (width - filled)}] {done}/{total} ", nl=ended, err=True)
