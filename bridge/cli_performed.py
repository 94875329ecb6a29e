"""`bridge performed`: what devices began and have not ended, and its end by a person."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

import click

from bridge.cli_common import ago, look, opened, settings_of, who
from bridge.clock import SystemClock
from bridge.domain.performed import OpenStep, PerformedStatus


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def performed(context: click.Context, as_json: bool) -> None:
    """Performed procedure steps that are IN PROGRESS, the one that was silent longest first."""
    if context.invoked_subcommand:
        return
    from bridge.store.performed import open_steps

    with opened(settings_of(context)) as database:
        steps = look(database, open_steps)
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps], default=str, indent=2))
    else:
        click.echo(render_open(steps, SystemClock().now()))


def render_open(steps: list[OpenStep], now: datetime) -> str:
    """One line a step. Without the patient: the device knows whom it examined."""
    if not steps:
        return "No device has an exam in progress."
    lines = [f"{len(steps)} in progress, silent longest first", ""]
    lines += [
        f"  {one.calling_ae_title:<16} {one.modality:<4} begun {ago(now, one.created_at)} ago,"
        f" last heard of {ago(now, one.last_at)} ago: {one.sop_instance_uid}"
        for one in steps
    ]
    return "\n".join([*lines, "", "  bridge performed finish UID --status COMPLETED --reason TEXT"])


@performed.command("finish")
@click.argument("uid", metavar="UID")
@click.option("--status", required=True, type=click.Choice([PerformedStatus.COMPLETED, PerformedStatus.DISCONTINUED]))
@click.option("--reason", required=True, help="How you know; it stays with the step.")
@click.pass_context
def finish_(context: click.Context, uid: str, status: str, reason: str) -> None:
    """End a step that its device will not end: step, order and whoever asked for it follow as if it had."""
    from bridge.workflow.context import Context
    from bridge.workflow.performing import PerformedSteps

    settings = settings_of(context)
    with opened(settings) as database:
        steps = PerformedSteps(Context(database, settings, SystemClock()))
        steps.finish(uid, PerformedStatus(status), who(), reason)
    click.echo(f"the step is {status}; a later word of its device is refused (0110, A710)")
