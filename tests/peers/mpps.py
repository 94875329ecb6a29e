"""A modality that is not ours: dcmjs-dimse (Node) as MPPS SCU and echo SCU."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from tests.peers.available import DIMSE, need


def mpps(
    port: int,
    verb: str,
    uid: str = "",
    attributes: Mapping[str, Any] | None = None,
    *,
    host: str = "127.0.0.1",
    calling: str = "MODALITY",
    called: str = "BRIDGE",
) -> dict[str, Any]:
    """`verb` is create, set or echo; attributes by keyword. Answers {"status": 0, ...} or {"error": "..."}."""
    need("dimse")
    command = [need("node"), str(DIMSE / "mpps.js"), host, str(port), calling, called, verb]
    if verb != "echo":
        command += [uid, "-"]
    run = subprocess.run(command, input=json.dumps(attributes or {}), capture_output=True, text=True, timeout=60)
    if not run.stdout:
        raise RuntimeError(f"mpps.js said nothing: {run.stderr[-500:]}")
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer
