"""`bridge performed`: what devices began and have not ended, and its end by a person."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from bridge.cli_common import ago, look, opened, settings_of, who
from bridge.cli_reasons import explained
from bridge.clock import SystemClock
from bridge.domain.performed import Fate, OpenStep, PerformedStatus


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def performed(context: click.Context, as_json: bool) -> None:
    """Performed procedure steps (MPPS); without a command those that are IN PROGRESS."""
    if context.invoked_subcommand is None:
        context.invoke(list_, as_json=as_json)


@performed.command("list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """Those that are IN PROGRESS, the one that was silent longest first."""
    from bridge.store.performed import open_steps

    with opened(settings_of(context)) as database:
        steps = look(database, open_steps)
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps], default=str, indent=2))
    else:
        click.echo(render_open(steps, SystemClock().now()))


@performed.command("show")
@click.argument("uid", metavar="UID")
@click.option("--attributes", is_flag=True, help="Also all that the device told, with patient data.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def show_(context: click.Context, uid: str, attributes: bool, as_json: bool) -> None:
    """One exam: how it stands, the orders it belongs to, and what of its images is here. UID: its MPPS UID, or
    `performed:12` as the review list names it."""
    from bridge.store.performed import shown_step

    with opened(settings_of(context)) as database:
        step = look(database, lambda connection: shown_step(connection, uid))
    if step is None:
        raise click.ClickException("no such performed procedure step")
    told = step.pop("attributes")
    if as_json:
        click.echo(json.dumps({**step, **({"attributes": told} if attributes else {})}, default=str, indent=2))
        return
    click.echo(render_step(step, SystemClock().now()))
    if attributes:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))


MEANT = {
    Fate.WRONG_ENTRY: "the wrong worklist entry had been chosen: it waits again, and the study is off its order",
    Fate.AGAIN: "the entry waits again",
    Fate.PROPOSE: "the entry is done with; is the order to be cancelled?",
    Fate.END: "the entry is done with",
}


def render_step(step: dict[str, Any], now: datetime) -> str:
    """Without the patient, like the list."""
    lines = [f"{step['sop_instance_uid']}  ({step['subject']})", f"  {step['status']}"]
    if step["discontinuation"]:
        reasons = ", ".join(" ".join(filter(None, reason)) for reason in step["discontinuation"])
        lines[-1] += f", because: {reasons}"
    if step["fate"]:
        lines.append(f"  {MEANT[step['fate']]}")
    lines += [
        f"  {step['modality']} at {step['station_ae_title'] or '?'}, told by {step['calling_ae_title']};"
        f" begun {ago(now, step['created_at'])} ago, last told of {ago(now, step['updated_at'])} ago",
        f"  images: {step['listed']} listed, {step['missing']} of them not here",
    ]
    for one in step["scheduled"]:
        lines.append(f"  for study {one['study_instance_uid']}")
        lines[-1] += "".join(
            f", {what} {one[key]}"
            for what, key in (("accession number", "accession_number"), ("step", "scheduled_step_id"))
            if one[key]
        )
        lines.append(
            f"    order:{one['order']} step:{one['step']} {one['status']}" if one["step"] else "    no order known"
        )
        if one["scheduled_at"] and step["station_ae_title"] not in one["scheduled_at"]:
            lines[-1] += f", planned for {', '.join(one['scheduled_at'])}"
    for one in step["reviews"]:
        lines.append(f"  review entry {one['id']}, {one['kind']}: {explained(one['kind'], one['reason'])}")
    return "\n".join(lines)


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
