"""Who holds a lease: `host:pid`, so that nobody need wait for the lease of a process of this host that is gone."""

from __future__ import annotations

import os
import socket


def this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def has_ended(owner: str) -> bool:
    """Whether the process behind `host:pid` was one of this host and has ended."""
    host, _, pid = owner.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
