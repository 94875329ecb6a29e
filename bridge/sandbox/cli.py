"""`bridge sandbox ...`: the pretend hospital by hand. The only way in which any of it starts outside tests and demo."""

from __future__ import annotations

import importlib.util
import signal
import sys
import threading
from pathlib import Path

import click

from bridge.errors import BridgeError, ConfigurationError


@click.group()
def sandbox() -> None:
    """The pretend hospital for demo and tests (demo data only)."""


@sandbox.command()
@click.option("--port", default=8090, show_default=True, help="Loopback port; 0 takes a free one.")
@click.option("--launch-url", default="", help="The bridge's SMART launch URL, opened by the chart's buttons.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Redirect URI of the bridge; may be repeated.")
@click.option("--client-id", default="imaging-bridge", show_default=True)
def ehr(port: int, launch_url: str, redirect_uris: tuple[str, ...], client_id: str) -> None:
    """Run the pretend EHR until Ctrl-C: charts, FHIR R4 server, SMART authorisation server."""
    _need_extra()
    from bridge.sandbox.ehr import PretendEhr

    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with PretendEhr(port, bridge_launch_url=launch_url, client_id=client_id, redirect_uris=redirect_uris) as running:
        click.echo("Pretend EHR, demo data only. Ctrl-C ends it and everything in it.")
        click.echo(f"  Charts         {running.issuer}/")
        click.echo(f"  FHIR (iss)     {running.fhir_base}")
        click.echo(f"  Discovery      {running.fhir_base}/.well-known/smart-configuration")
        click.echo(f"  Client id      {running.client_id}")
        click.echo(f"  Introspection  {running.issuer}/introspect  password {running.introspection_secret}")
        done.wait()


@sandbox.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--once", is_flag=True, help="Take free ports, end by itself; exit 0 only if the end state is right.")
@click.option("--viewer", type=click.Path(path_type=Path), help="The viewer's files.  [default: FOLDER/viewer]")
def day(folder: Path, once: bool, viewer: Path | None) -> None:
    """Set up a small hospital round the bridge, play its day, stay open until Ctrl-C."""
    _need_extra()
    from bridge.sandbox.day import day as play
    from bridge.sandbox.narrate import Narrator

    try:
        sys.exit(play(folder, once=once, viewer=viewer or folder / "viewer", narrator=Narrator(sys.stdout)))
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from None
    except BridgeError as fault:
        raise click.ClickException(f"{fault} ({fault.where})") from None


def _need_extra() -> None:
    if importlib.util.find_spec("sekmet") is None:
        raise click.ClickException("the sandbox needs its extra: pip install imaging-bridge[sandbox]")
