"""The archive folder: objects under names of our own making, each on disk before anybody is told so.

temp file -> fsync -> rename -> fsync of every folder that changed -> (the caller's row). A name is `ab/c/<32 hex>.dcm`
and never holds anything that a peer sent. No pydicom here: the web and worker roles read files through this class.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import struct
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from bridge.domain.study import FileCondition, StoredFile
from bridge.errors import BadValue, BridgeError, NotReadable, StoreBroken, StoreUnavailable

PREAMBLE = 128
_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]/[0-9a-f]{32}\.dcm")
LOOK_BYTES = 16 * 1024**2
SWEEP_NAMES = 500
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class Archive:
    """Stored objects under `root`; `incoming` holds what is not yet whole and is emptied at start."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self.incoming.mkdir(parents=True, exist_ok=True)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def temporary(self) -> Path:
        """A fresh path in `incoming`, for writers that make the file themselves (STOW-RS)."""
        return self.incoming / f"{uuid.uuid4().hex}.part"

    def receive(self, look: Callable[[], None]) -> Incoming:
        """A file for an object that begins to come in; `look` raises `StoreUnavailable` when there is no room."""
        return Incoming(self.temporary(), look)

    def path(self, name: str) -> Path:
        """The file behind a stored name; `BadValue` for anything that we would not have made."""
        if not _NAME.fullmatch(name):
            raise BadValue("not a name of the archive", where="archive")
        return self.root / name

    def commit(self, temporary: Path) -> StoredFile:
        """Keep a whole Part 10 file: preamble zeroed, synced, under its final name, the folders synced.

        `sha256` is that of the data set alone, so that the same object sent again under another file meta is the
        same. Raises `StoreUnavailable` (disk full; nothing is left), `StoreBroken` (a sync failed: end the process),
        `NotReadable` (no Part 10 file).
        """
        identity = uuid.uuid4().hex
        name = f"{identity[:2]}/{identity[2]}/{identity}.dcm"
        try:
            source = self._beside(temporary)
            head, digest, size = _seal(source)
            folders = self._folders(name)
            source.rename(self.root / name)
            for folder in folders:
                _sync(folder)
        except OSError as fault:
            self.remove(name)
            raise _store_error(fault) from None
        return StoredFile(name, size, digest, head)

    def intact(self, file: StoredFile) -> bool:
        """Whether a stored file is there with the size and the bytes that its row names. Reads all of it."""
        try:
            with self.path(file.name).open("rb") as opened:
                return _as_stored(opened, file)
        except (OSError, NotReadable):
            return False

    def condition(self, file: StoredFile) -> FileCondition:
        """What is on the disk of a stored file: synced first, then read past what memory still holds of it.

        For whoever promises that it is safe. Raises `StoreUnavailable` when that cannot be found out now.
        """
        try:
            with self.path(file.name).open("rb") as opened:
                _let_go(opened.fileno())
                return FileCondition.WHOLE if _as_stored(opened, file) else FileCondition.DAMAGED
        except NotReadable:
            return FileCondition.DAMAGED
        except FileNotFoundError:
            if self.incoming.is_dir():
                return FileCondition.GONE
            raise StoreUnavailable("the archive is not there", where="archive") from None
        except OSError as fault:
            if fault.errno == errno.EIO:
                return FileCondition.DAMAGED
            raise StoreUnavailable("the archive cannot be read", where="archive") from None

    def remove(self, name: str) -> None:
        """Take back a file that is not wanted. What cannot be removed now is swept at the next start."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError:
            return

    def sweep(
        self, known: Callable[[list[str]], set[str]], *, before: datetime, stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Remove what was never finished or has no row, if last written `before`; count the removed.

        Younger files may be between their rename and their row (of this role or another): they wait for the next
        start. `known` tells which of some names a row owns. Ends early once `stop` says so.
        """
        limit, removed = before.timestamp(), 0
        for path in self.incoming.iterdir():
            if path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
                removed += 1
        names = (name for name in self.names() if self._age(name) < limit)
        while not stop() and (batch := list(islice(names, SWEEP_NAMES))):
            for name in set(batch) - known(batch):
                self.remove(name)
                removed += 1
        return removed

    def _age(self, name: str) -> float:
        """When it was last written; never for one that has gone meanwhile."""
        try:
            return self.path(name).stat().st_mtime
        except OSError:
            return float("inf")

    def names(self) -> Iterator[str]:
        """Every stored name, folder by folder."""
        for first in sorted(self.root.iterdir()):
            if len(first.name) != 2 or not first.is_dir():
                continue
            for path in sorted(first.glob("*/*.dcm")):
                name = path.relative_to(self.root).as_posix()
                if _NAME.fullmatch(name):
                    yield name

    def _beside(self, temporary: Path) -> Path:
        """The temporary file on the archive's own file system: a rename is whole only there."""
        if temporary.stat().st_dev == self.root.stat().st_dev:
            return temporary
        here = self.temporary()
        try:
            shutil.copyfile(temporary, here)
        except OSError:
            here.unlink(missing_ok=True)
            raise
        temporary.unlink(missing_ok=True)
        return here

    def _folders(self, name: str) -> list[Path]:
        """Make the folders of a name; return those to sync, innermost first: each whose entries have changed."""
        inner = (self.root / name).parent
        changed = [inner]
        for folder in (inner.parent, inner):
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            changed.append(folder.parent)
        return changed


class Incoming:
    """An object's file while the object comes in. What the disk refuses is kept as `fault`, and raised to nobody.

    It is written by the thread that receives, which an exception would end: no status, no word, the file left. So the
    rest of the object is read and dropped, and whoever answers looks at `fault`. `look` raises when there is no room;
    it is asked at the beginning and after each `LOOK_BYTES`, since one object may be larger than what is left.

    What was not committed goes with the last reference to it: pynetdicom drops requests of which nobody hears.
    """

    def __init__(self, path: Path, look: Callable[[], None]) -> None:
        self.name = str(path)
        self.fault: BridgeError | None = None
        self._look = look
        self._unlooked = 0
        self._file: BinaryIO | None = None
        weakref.finalize(self, _unlink, path)
        with self._noting():
            look()
            self._file = path.open("xb")

    @property
    def file(self) -> Incoming:
        """Of a `NamedTemporaryFile`, the file below it."""
        return self

    def write(self, data: bytes | memoryview) -> int:
        with self._noting():
            if self._file is not None:
                self._file.write(data)
                self._unlooked += len(data)
                if self._unlooked >= LOOK_BYTES:
                    self._unlooked = 0
                    self._look()
        return len(data)

    def flush(self) -> None:
        with self._noting():
            if self._file is not None:
                self._file.flush()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with self._noting():
                file.close()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as refused:
            self._give_up(_store_error(refused))
        except BridgeError as refused:
            self._give_up(refused)

    def _give_up(self, fault: BridgeError) -> None:
        self.fault = self.fault or fault
        file, self._file = self._file, None
        _unlink(Path(self.name))
        with suppress(OSError):  # what lay in its buffer finds no room either
            if file is not None:
                file.close()


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def object_head(sop_class: str, sop_instance: str, transfer_syntax: str, writer: tuple[str, str]) -> bytes:
    """Preamble and file meta information (PS3.10 7.1) of an object whose UIDs are UIDs; `writer` is the implementation
    class UID and version name."""
    meta = b"".join(
        (
            b"\2\0\1\0OB\0\0\2\0\0\0\0\1",
            *(_short(tag, b"UI", value, b"\0") for tag, value in ((2, sop_class), (3, sop_instance))),
            *(_short(tag, b"UI", value, b"\0") for tag, value in ((0x10, transfer_syntax), (0x12, writer[0]))),
            _short(0x13, b"SH", writer[1], b" "),
        )
    )
    return bytes(PREAMBLE) + b"DICM" + struct.pack("<I2sHI", 0x00000002, b"UL", 4, len(meta)) + meta


def _short(element: int, vr: bytes, value: str, pad: bytes) -> bytes:
    text = value.encode("ascii")
    text += pad * (len(text) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(text)) + text


def data_set_offset(head: bytes) -> int:
    """Where the data set of a Part 10 file begins, from its first 144 bytes (PS3.10 7.1); `NotReadable` if none."""
    if len(head) < PREAMBLE + 16 or head[PREAMBLE : PREAMBLE + 4] != b"DICM":
        raise NotReadable("not a DICOM Part 10 file", where="file meta")
    tag, vr, length, size = struct.unpack("<I2sHI", head[PREAMBLE + 4 : PREAMBLE + 16])
    if (tag, vr, length) != (0x00000002, b"UL", 4):
        raise NotReadable("the file meta information has no group length", where="(0002,0000)")
    return int(PREAMBLE + 16 + size)


def _seal(path: Path) -> tuple[str, str, int]:
    """Zero the preamble (it may hold a program: CVE-2019-11687), hash, sync: hashes of head and data set, and size."""
    with path.open("r+b") as file:
        data_set_offset(file.read(PREAMBLE + 16))
        file.seek(0)
        file.write(bytes(PREAMBLE))
        head, data = _digests(file)
        size = file.tell()
        file.flush()
        _fsync(file.fileno())
    return head, data, size


def _digests(file: BinaryIO) -> tuple[str, str]:
    """sha256 of what stands before the data set, and of the data set."""
    file.seek(0)
    offset = data_set_offset(file.read(PREAMBLE + 16))
    file.seek(0)
    head, data = hashlib.sha256(file.read(offset)), hashlib.sha256()
    while block := file.read(1 << 20):
        data.update(block)
    return head.hexdigest(), data.hexdigest()


def _as_stored(opened: BinaryIO, file: StoredFile) -> bool:
    """Raises `NotReadable`, `OSError`."""
    if os.fstat(opened.fileno()).st_size != file.size:
        return False
    head, data = _digests(opened)
    return data == file.sha256 and file.head_sha256 in ("", head)


def _let_go(descriptor: int) -> None:
    """So that what is read next comes from the disk: memory drops pages that are on it, once all of them are."""
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync(descriptor: int) -> None:
    # After a failed sync the kernel may have dropped the pages: asking again would lie.
    try:
        os.fsync(descriptor)
    except OSError:
        raise StoreBroken("a sync of the archive failed", where="archive") from None


def _store_error(fault: OSError) -> StoreUnavailable | StoreBroken:
    if fault.errno in _FULL:
        return StoreUnavailable("no room in the archive", where="archive", code="archive-full")
    return StoreUnavailable("the archive cannot be written", where="archive")
