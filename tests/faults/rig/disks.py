"""Disks for the fault tests: one whose power can be cut, and small ones that are soon full. They need root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.sandbox.hospital import wait_for
from tests.peers.available import need, not_here

PLUGIN = Path(__file__).with_name("volatile_disk.py")
MIB = 1024**2


def need_mounts() -> None:
    """Skip, loudly, where nobody may mount. No failure even under CI: no package can provide a kernel's devices."""
    if os.geteuid() or not Path("/dev/loop-control").exists():
        not_here("mounting needs root and loop devices")
    need("mkfs.ext4")


def need_power() -> None:
    """As `need_mounts`; what a package provides (nbdkit, nbdfuse) is an error under CI, as every peer is."""
    need_mounts()
    if not Path("/dev/fuse").exists():
        not_here("the power-cut rig needs FUSE (/dev/fuse)")
    for program in ("nbdkit", "nbdfuse", "fusermount3"):
        need(program)


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()


class PowerDisk:
    """An ext4 file system at `mount`. Its writes survive a cut only if they were synced before it.

    commit=300: ext4's own journal commit each 5 s would save what nobody has synced.
    """

    def __init__(self, folder: Path, mount: Path, mebibytes: int) -> None:
        folder.mkdir()
        self._durable, self._mount = folder / "durable.img", mount
        self._fuse, socket = folder / "fuse", folder / "disk.sock"
        self._fuse.mkdir()
        mount.mkdir(exist_ok=True)
        environment = {**os.environ, "VOL_IMG": str(self._durable), "VOL_SIZE": str(mebibytes * MIB)}
        self._undo: list[tuple[object, ...]] = []
        self._disk = subprocess.Popen(["nbdkit", "-f", "-U", str(socket), "python", str(PLUGIN)], env=environment)
        self._shown: subprocess.Popen[bytes] | None = None
        try:
            assert wait_for(socket.exists, 20), "nbdkit does not start"
            self._shown = subprocess.Popen(["nbdfuse", f"{self._fuse}/", f"nbd+unix://?socket={socket}"])
            shown = self._fuse / "nbd"
            assert wait_for(lambda: shown.exists() and shown.stat().st_size, 20), "nbdfuse does not start"
            self._undo.append(("fusermount3", "-u", self._fuse))
            device = run("losetup", "-f", "--show", shown)
            self._undo.append(("losetup", "-d", device))
            run("mkfs.ext4", "-q", "-F", device)
            run("mount", "-o", "commit=300", device, mount)
            self._undo.append(("umount", mount))
            run("sync", "-f", mount)
        except BaseException:
            self.close()
            raise

    def cut(self, image: Path) -> None:
        """Keep in `image` what is durable at this moment, while whoever writes goes on."""
        # The copy is not one moment else: a flush caught half way is fair, two flushes are not.
        self._disk.send_signal(signal.SIGSTOP)
        try:
            shutil.copyfile(self._durable, image)
        finally:
            self._disk.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Take down what was put up, by what it is called here and the processes that were started here."""
        for command in reversed(self._undo):
            subprocess.run([str(part) for part in command], capture_output=True, timeout=60, check=False)
        for process in (self._shown, self._disk):
            if process is not None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def power_disk(folder: Path, mount: Path, mebibytes: int = 128) -> Iterator[PowerDisk]:
    disk = PowerDisk(folder, mount, mebibytes)
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def mounted(image: Path, mount: Path) -> Iterator[None]:
    """The file system of an image file; mounting replays its journal, as the start after a power cut does."""
    mount.mkdir(parents=True, exist_ok=True)
    run("mount", "-o", "loop", image, mount)
    try:
        yield
    finally:
        run("umount", mount)


class SmallDisk:
    """A file system of a few MiB at `mount`: it can be filled, freed, and made read-only."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._ballast = mount / "ballast"

    def fill(self) -> None:
        """Take the last block."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        self._ballast.unlink()

    def set_read_only(self, on: bool) -> None:
        """By hand. The kernel refuses while any file is open for writing."""
        run("mount", "-o", f"remount,{'ro' if on else 'rw'}", self._mount)

    def fail(self) -> None:
        """As ext4 does when its disk fails: read-only at once, whatever is open, until it is unmounted and checked."""
        run("mount", "-o", "remount,abort", self._mount)


def repair(image: Path) -> None:
    """What a person does with a file system that failed, once it is unmounted."""
    done = subprocess.run(["e2fsck", "-fp", str(image)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stdout


@contextmanager
def small_disk(image: Path, mount: Path, mebibytes: int = 64) -> Iterator[SmallDisk]:
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(mebibytes * MIB)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
    with mounted(image, mount):
        yield SmallDisk(mount)
