"""Processes: one supervisor a folder, roles that are started again, and none left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError, StoreUnavailable
from bridge.run import supervisor
from bridge.run.ports import Place, wait_free
from bridge.run.role import Ending, read_notice, run_role, write_notice
from bridge.run.scheduler import Ticker
from bridge.run.supervisor import DataFolderLock, Supervisor
from bridge.run.worker import Loop

# A role that notes its pid and ends when its standard input does, as real ones do.
ROLE = "import os, sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); sys.stdin.read()"
DIES = "import os, sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); sys.exit(3)"
SUPERVISE = """
import sys
from bridge.run.supervisor import Supervisor
sys.exit(Supervisor({"one": [sys.executable, "-c", %r, sys.argv[1]]}).run())
"""


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    noted = tmp_path / "pids"
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE % ROLE, str(noted)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(pids(noted)) == 1)
        yield process, noted
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def signals() -> Iterator[None]:
    kept = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_role_that_is_killed_is_started_again(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    _, noted = supervised
    os.kill(pids(noted)[0], signal.SIGKILL)
    until(lambda: len(pids(noted)) == 2)
    assert lives(pids(noted)[1])


def test_sigterm_ends_the_roles_first_and_then_the_service(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, noted = supervised
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not lives(pids(noted)[0])


def test_a_supervisor_that_is_killed_leaves_no_orphan(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, noted = supervised
    process.kill()
    process.wait()
    until(lambda: not lives(pids(noted)[0]))


@pytest.mark.usefixtures("signals")
def test_a_role_that_cannot_live_ends_the_service_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    noted, other = tmp_path / "pids", tmp_path / "other"
    status = Supervisor(
        {"bad": [sys.executable, "-c", DIES, str(noted)], "good": [sys.executable, "-c", ROLE, str(other)]}
    ).run()
    assert (status, len(pids(noted))) == (1, supervisor.DEATHS)
    assert not any(lives(pid) for pid in pids(other))


def test_waiting_between_starts_doubles_up_to_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "DEATHS", 99)
    service = Supervisor({"bad": [sys.executable, "-c", "pass"]})
    (child,) = service._children
    waits = []
    for _ in range(8):
        child.start()
        assert child.process is not None
        child.process.wait()
        before = time.monotonic()
        service._look_after(child)
        waits.append(round(child.due - before, 1))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_second_bridge_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = DataFolderLock(tmp_path)
    with pytest.raises(ConfigurationError, match="another bridge"):
        DataFolderLock(tmp_path)
    first.close()
    DataFolderLock(tmp_path).close()


def test_a_notice_of_a_process_that_is_gone_counts_for_nothing(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    notice = tmp_path / "hl7.json"
    write_notice(notice, {"pid": ended.pid, "ports": {}})
    assert read_notice(notice) is None
    write_notice(notice, {"pid": os.getpid(), "ports": {"hl7.ris": 2575}})
    assert read_notice(notice) == {"pid": os.getpid(), "ports": {"hl7.ris": 2575}}


@pytest.mark.parametrize("text", ["", "{", "{}", '{"pid": "x"}'])
def test_a_notice_that_cannot_be_read_counts_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "hl7.json").write_text(text)
    assert read_notice(tmp_path / "hl7.json") is None


class Pretend:
    name = "pretend"

    def __init__(self) -> None:
        self.stopped = False

    def start(self) -> dict[str, int]:
        return {"pretend": 1}

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.usefixtures("signals")
def test_a_role_says_where_it_listens_and_takes_its_notice_down(tmp_path: Path) -> None:
    role, ending, seen = Pretend(), Ending(), []

    def look() -> None:
        until((tmp_path / "pretend.json").exists)
        seen.append(json.loads((tmp_path / "pretend.json").read_text())["ports"])
        ending.ask()

    looker = threading.Thread(target=look)
    looker.start()
    assert run_role(role, tmp_path, ending, pipe=False) == 0
    looker.join()
    assert (seen, role.stopped, (tmp_path / "pretend.json").exists()) == ([{"pretend": 1}], True, False)


def test_a_role_whose_store_is_broken_ends_without_another_word(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bridge.run.role import Ending, run_role, STORE_BROKEN\n"
        "class R:\n name='r'\n def start(self): return {}\n def stop(self): print('flushed')\n"
        "e = Ending(); e.ask(STORE_BROKEN); run_role(R(), Path(sys.argv[1]), e, pipe=False)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (70, b"")


# -- the worker's loop --------------------------------------------------------------------------------------------


def test_a_loop_goes_on_while_there_is_work_and_rests_without(tmp_path: Path) -> None:
    left, asked = [3], []

    def step() -> int:
        asked.append(left[0])
        done = min(left[0], 1)
        left[0] -= done
        return done

    loop = Loop("test", (step,), idle_seconds=60)
    loop.start()
    until(lambda: asked == [3, 2, 1, 0])
    loop.wake()
    until(lambda: asked == [3, 2, 1, 0, 0])
    loop.stop()


@pytest.mark.parametrize("fault", [StoreUnavailable("away"), RuntimeError("ours")])
def test_a_step_that_fails_holds_up_neither_the_others_nor_the_next_round(fault: Exception) -> None:
    rounds: list[str] = []

    def bad() -> int:
        rounds.append("bad")
        raise fault

    def good() -> int:
        rounds.append("good")
        return 0

    loop = Loop("test", (bad, good), idle_seconds=0.01)
    loop.start()
    until(lambda: len(rounds) >= 4)
    loop.stop()
    assert rounds[:4] == ["bad", "good", "bad", "good"]


def test_a_tick_wakes(tmp_path: Path) -> None:
    ticker, woken = Ticker(), threading.Event()
    ticker.every(0.05, woken.set)
    ticker.start()
    assert woken.wait(20)
    ticker.stop()


def test_a_role_runs_once_on_a_data_folder(tmp_path: Path) -> None:
    first = DataFolderLock(tmp_path, "role-worker")
    with pytest.raises(ConfigurationError):
        DataFolderLock(tmp_path, "role-worker")
    DataFolderLock(tmp_path, "role-web").close()
    first.close()
    DataFolderLock(tmp_path, "role-worker").close()


def test_a_port_that_stays_taken_is_a_fault_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = Place("hl7", "hl7 feed ris", "127.0.0.1", taken.getsockname()[1])
        (fault,) = wait_free((place,), 0)
    assert fault.startswith(f"hl7 feed ris: port {place.port} on 127.0.0.1 cannot be taken")
    assert wait_free((place,), 0) == []


def test_a_port_that_is_given_up_meanwhile_is_waited_for() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    place = Place("hl7", "hl7 feed ris", "127.0.0.1", taken.getsockname()[1])
    threading.Timer(0.3, taken.close).start()
    assert wait_free((place,), 20) == []
