"""What the faults came to: `make test-full` leaves it as docs/results/faults-YYYYMMDD.json, and as a table to read.

A test belongs to the fault that its name carries (`test_F38_...`). What it measured it says with the `record` fixture.
A run of some faults replaces those in the day's file and leaves the others, each with the commit that it was run at.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Callable
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "results"
PACKAGES = ("pynetdicom", "pydicom", "SQLAlchemy", "psycopg", "hl7apy", "Flask", "cheroot")
PROGRAMS = {"strace": "-V", "nbdkit": "--version", "nbdfuse": "--version", "mkfs.ext4": "-V", "findscu": "--version"}
_ID = re.compile(r"[FR]\d\d?(?=_)")

Record = Callable[..., None]


class Faults:
    """A pytest plugin: it gathers, and writes at the end of a full run."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def record(self, fault: str, what: str, figure: float, limit: float, *, count: int = 1) -> None:
        """`count` more of `what`; the worst figure is kept beside its limit (larger is worse)."""
        measured = self._of(fault)["measured"].setdefault(what, {"count": 0, "worst": 0, "limit": limit})
        measured["count"] += count
        measured["worst"] = max(measured["worst"], round(figure, 3))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        fault = _ID.search(report.nodeid.rpartition("::")[2])
        if fault and (report.when == "call" or not report.passed):
            self._of(fault[0])[report.outcome] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and session.config.getoption("--full"):
            write(self.found, FOLDER)

    def _of(self, fault: str) -> dict[str, Any]:
        return self.found.setdefault(fault, {"passed": 0, "failed": 0, "skipped": 0, "measured": {}})


def write(found: dict[str, dict[str, Any]], folder: Path) -> Path:
    """The day's file, with `found` in place of what it said of these faults before."""
    target = folder / f"faults-{date.today():%Y%m%d}.json"
    before = json.loads(target.read_text())["faults"] if target.exists() else {}
    stamp = {"commit": commit(), "at": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M%z}"}
    faults = before | {fault: stamp | result for fault, result in found.items()}
    whole = {"machine": machine(), "versions": versions(), "faults": dict(sorted(faults.items()))}
    target.write_text(json.dumps(whole, indent=1, sort_keys=False) + "\n")
    target.with_suffix(".md").write_text(table(whole))
    return target


def table(whole: dict[str, Any]) -> str:
    """The same to read: a line a figure."""
    machine = whole["machine"]
    lines = [
        "# Faults, at their full counts",
        "",
        f"{machine['cpus']} × {machine['cpu']}, {machine['memory_gib']} GiB, {machine['system']}. Made by "
        "`make test-full` with the `.json` beside it, which also names the versions.",
        "",
        "| fault | tests | measured | times | worst | limit | commit |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault, result in whole["faults"].items():
        outcome = ", ".join(f"{result[word]} {word}" for word in ("passed", "failed", "skipped") if result[word])
        head = f"| {fault} | {outcome} |"
        for what, one in result["measured"].items() or {"": {"count": "", "worst": "", "limit": ""}}.items():
            lines.append(f"{head} {what} | {one['count']} | {one['worst']} | {one['limit']} | {result['commit']} |")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "memory_gib": round(memory / 1024**3, 1),
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite.sqlite_version}
    found |= {name: version(name) for name in PACKAGES}
    for program, option in PROGRAMS.items():
        try:
            said = subprocess.run([program, option], capture_output=True, text=True, timeout=20, check=False)
        except OSError:
            continue
        number = re.search(r"\d+\.\d+(\.\d+)*", said.stdout + said.stderr)
        found[program] = number[0] if number else ""
    return found


def commit() -> str:
    """The commit, with a + when files differ from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()
