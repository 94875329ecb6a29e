"""A role ends when it is asked to, whatever goes wrong on the way out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROLE = """
import sys, threading
from pathlib import Path
from bridge.run.role import Ending, run_role

class Web:
    name = "web"
    def start(self):
        threading.Thread(target=threading.Event().wait).start()  # as cheroot's workers, which the interpreter waits for
        return {}
    def stop(self):
        raise OSError("a listener that cannot be stopped")

sys.exit(run_role(Web(), Path(sys.argv[1]), Ending(), pipe=True))
"""


def test_a_role_that_cannot_stop_ends_all_the_same(tmp_path: Path) -> None:
    """Else it keeps its port and its lock, and no other takes its place."""
    done = subprocess.run([sys.executable, "-c", ROLE, str(tmp_path)], input=b"", capture_output=True, timeout=30)
    assert done.returncode == 1 and b"cannot be stopped" in done.stderr
    assert list(tmp_path.iterdir()) == []
