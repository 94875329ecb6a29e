"""`bridge alarms`: what somebody must look at now, and what there was."""

from __future__ import annotations

import json
import sys

import click

from bridge.cli_common import settings_of
from bridge.clock import SystemClock


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those that have ended, newest first.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="With --all.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def alarms(context: click.Context, everything: bool, limit: int, as_json: bool) -> None:
    """Open alarms, oldest first. Exit 1 when there is one."""
    from bridge import report

    settings = settings_of(context)
    found = report.alarm_list(settings, everything=everything, limit=limit)
    if as_json:
        click.echo(json.dumps(found, default=str, indent=2))
    else:
        click.echo(report.render_alarms(found, settings, SystemClock()))
    sys.exit(1 if any(one["ended_at"] is None for one in found) else 0)
